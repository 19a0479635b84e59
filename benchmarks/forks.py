"""What forking children saves: a gate run with children that are forked and started, in turn.

python benchmarks/forks.py --base models/smollm2-135m-instruct --adapter evalsuites/demo/adapter
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from choice_task import NAME, write_task

from gate.configuring.config import load_config
from gate.errors import StageError
from gate.jobs import RunBatch
from gate.presentation import size
from gate.records import Record
from gate.running.children import run_in_child
from gate.running.runner import run_gate
from gate.store import Store

_CONFIG = """\
release: benchmark
candidate: {{base: {base}, adapters: {{tuned: {adapter}}}}}
variants:
  adapter: {{}}
  merged: {{merge: stream}}
  rtn8: {{merge: stream, quantize: {{name: rtn, bits: 8, group_size: 64}}}}
  rtn4: {{merge: stream, quantize: {{name: rtn, bits: 4, group_size: 64}}}}
backend: hf
ship: [merged]
suite: suite.yaml
workers: {workers}
"""
_SUITE = f"""\
tasks:
  - {{name: {NAME}, metric: acc, path: {NAME}.yaml}}
checks:
  - {{of: merged, against: adapter, compare: delta, margin: 0.05, two_sided: true}}
  - {{of: quantized, against: merged, compare: delta, margin: 0.1}}
"""
_WAYS: dict[str, RunBatch | None] = {"started": run_in_child, "forked": None}


class Taken(NamedTuple):
    """One run: its seconds from config to report, and its record."""

    seconds: float
    record: Record


def main() -> None:
    """Print seconds of whole runs, then seconds and memory of each stage of the last two."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.work, prefix="gate-forks-") as name:
        folder = Path(name)
        write_task(folder, documents=options.documents)
        (folder / "suite.yaml").write_text(_SUITE, encoding="utf-8")
        config = _CONFIG.format(
            base=options.base.resolve(),
            adapter=options.adapter.resolve(),
            workers=options.workers,
        )
        (folder / "gate.yaml").write_text(config, encoding="utf-8")
        rounds = [_round(folder, number) for number in range(options.rounds)]
    _show(rounds)


def _round(folder: Path, number: int) -> dict[str, Taken]:
    """One run of each way, each with an empty store; who begins changes with the round."""
    ways = list(_WAYS.items())
    return {way: _run(folder, f"{number}-{way}", how) for way, how in ways[:: (-1) ** number]}


def _run(folder: Path, name: str, run_batch: RunBatch | None) -> Taken:
    begun = time.perf_counter()
    config = load_config(folder / "gate.yaml")
    store, reports = Store(folder / name / "store"), folder / name / "reports"
    record = run_gate(config, store=store, reports=reports, run_batch=run_batch).record
    failed = [stage.label for stage in record.stages if stage.error]
    if failed:
        raise StageError(f"{name}: {', '.join(failed)} failed")
    return Taken(time.perf_counter() - begun, record)


def _show(rounds: list[dict[str, Taken]]) -> None:
    print("| children | seconds, least | median |")
    print("| --- | --- | --- |")
    for way in _WAYS:
        seconds = [one[way].seconds for one in rounds]
        print(f"| {way} | {min(seconds):.1f} | {median(seconds):.1f} |")
    print()
    print("| stage | started: seconds | memory | forked: seconds | memory |")
    print("| --- | --- | --- | --- | --- |")
    both = (rounds[-1][way].record.stages for way in _WAYS)
    for started, forked in zip(*both, strict=True):
        cells = [
            cell
            for stage in (started, forked)
            for cell in (f"{stage.seconds:.2f}", size(stage.peak_memory_bytes))
        ]
        print(f"| {started.label} | {' | '.join(cells)} |")


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--base", type=Path, required=True)
    options.add_argument("--adapter", type=Path, required=True)
    options.add_argument("--documents", type=int, default=40)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--work", type=Path, help="a folder for models and stores")
    return options.parse_args()


if __name__ == "__main__":
    main()
