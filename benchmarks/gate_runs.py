"""What a gate takes against lm_eval once for each variant: seconds, CPU seconds, peak memory.

python benchmarks/gate_runs.py --base models/smollm2-135m-instruct --adapter evalsuites/demo/adapter
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from choice_task import CHOICES, NAME, write_task
from processes import Usage, measure

from gate.presentation import duration, size
from gate.records import Record
from gate.reporting.report_files import read_record
from gate.terms import Task

_GATE = """
from gate.cli import main
try:
    main()
except SystemExit as ended:
    raise SystemExit(0 if ended.code in (0, 1, 4) else ended.code)
"""
"""The command `gate`, a verdict of any kind being a success."""

_CONFIG = """\
release: benchmark
candidate: {{base: {base}, adapters: {{tuned: {adapter}}}}}
variants:
  adapter: {{}}
  merged: {{merge: stream}}
{quantized}
backend: {{name: hf, batch_size: {batch_size}}}
ship: [merged]
suite: suite.yaml
"""
_SUITE = """\
tasks:
  - {{name: {name}, metric: acc, path: {name}.yaml}}
checks:
  - {{of: merged, against: adapter, compare: delta, margin: 0.05, two_sided: true}}
  - {{of: quantized, against: merged, compare: delta, margin: 0.1}}
"""
_QUANTIZED = {"rtn8": 8, "rtn4": 4}
_NEW = {"rtn6": 6}
_REPEATS = 3
_SHARE_DOCUMENTS = 50


class Setting(NamedTuple):
    """What both are asked: the same models, documents, type and batch."""

    base: Path
    adapter: Path
    work: Path
    batch_size: int
    workers: str = "1"


class Alone(NamedTuple):
    """lm_eval on one variant: what it took, and the accuracy that it found."""

    variant: str
    usage: Usage
    accuracy: float


def main() -> None:
    """Print the table; every row is measured in this one call, the gate before lm_eval."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.work, prefix="gate-runs-") as folder:
        setting = Setting(
            *(options.base.resolve(), options.adapter.resolve()),
            *(Path(folder), options.batch_size, options.workers),
        )
        write_task(setting.work, documents=options.documents)
        suite = _SUITE.format(name=NAME)
        (setting.work / "suite.yaml").write_text(suite, encoding="utf-8")
        print(
            f"{options.documents} documents of {CHOICES} choices, batch {options.batch_size}, "
            f"{options.workers} workers"
        )
        print()
        print("| what | seconds | CPU seconds | peak memory |")
        print("| --- | --- | --- | --- |", flush=True)
        _compare(setting)


def _compare(setting: Setting) -> None:
    """Each row is printed when it is measured, the ratios of them below."""
    whole = _show("gate run, empty store", _run_gate(setting, _QUANTIZED))
    first = _found(setting)
    alone = [_ask_lm_eval(setting, variant, first) for variant in first.accuracies]
    added = _show("gate run, one variant more", _run_gate(setting, _QUANTIZED | _NEW))
    own = sum(stage.seconds for stage in _found(setting).record.stages if not stage.is_cached)
    idle = [_run_gate(setting, _QUANTIZED | _NEW) for _ in range(_REPEATS)]
    _show(f"gate run, nothing to run, best of {_REPEATS}", min(idle, key=_seconds))
    told = [run_command(setting, "gate --help", "--help") for _ in range(_REPEATS)]
    _show(f"gate --help, best of {_REPEATS}", min(told, key=_seconds))
    total = sum(one.usage.seconds for one in alone)
    stages = sum(stage.seconds for stage in first.record.stages)
    asked = [stage.seconds for stage in first.record.stages if stage.kind == "evaluate"]
    loading, share = _model_share(setting)
    outside = whole.seconds - share * sum(seconds - loading for seconds in asked)
    print()
    print(
        f"* {len(alone)} lm_eval: {total:.1f} s; the gate over all: {whole.seconds / total:.2f} x"
    )
    print(f"* one variant more: {added.seconds / own:.2f} x its own stages")
    print(
        f"* stages of the first run: {stages:.1f} s, if one after the other, of {whole.seconds:.1f}"
    )
    print(
        f"* outside of the models: {outside:.1f} s, {outside / whole.seconds:.1%}, of which "
        f"{stages - sum(asked):.1f} s make and audit checkpoints and {loading * len(asked):.1f} s "
        f"load them; the model takes {share:.1%} of an evaluation of {_SHARE_DOCUMENTS} documents"
    )
    for stage in first.record.stages:
        print(f"  * {stage.label}: {duration(stage.seconds)}, {size(stage.peak_memory_bytes)}")
    for one in alone:
        there = first.accuracies[one.variant]
        print(f"* accuracy of {one.variant}: lm_eval {one.accuracy:.4f}, gate {there:.4f}")


class Found(NamedTuple):
    """What a run of the gate left: its record, and the accuracy of each variant."""

    record: Record
    accuracies: Mapping[str, float]


def _found(setting: Setting) -> Found:
    newest = sorted((setting.work / "reports" / "benchmark").glob("*/record.json"))[-1]
    record = read_record(newest)
    return Found(
        record, {one.variant: _mean(s.value for s in one.samples) for one in record.scores}
    )


class Timed:
    """An engine whose time is taken while it scores; all else is the engine's own."""

    def __init__(self, engine: Any) -> None:
        """Nothing has been asked yet."""
        self.seconds = 0.0
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        """What the engine has."""
        return getattr(self._engine, name)

    def score(self, rows: Any) -> Iterator[Any]:
        """As the engine scores."""
        answers = iter(self._engine.score(rows))
        end = object()
        while True:
            begun = time.perf_counter()
            answer = next(answers, end)
            self.seconds += time.perf_counter() - begun
            if answer is end:
                return
            yield answer


def _model_share(setting: Setting) -> tuple[float, float]:
    """The seconds of loading the base, and the part of its evaluation that the model takes then."""
    import lm_eval.evaluator  # noqa: F401 - imported once, as for a run's stages
    import torch  # noqa: F401
    import transformers.modeling_utils  # noqa: F401

    from gate.backends.hf import open_model
    from gate.engines.language_models import GateLM
    from gate.evaluate import evaluate_task

    task = Task(
        name=NAME,
        metric="acc",
        path=str(setting.work / f"{NAME}.yaml"),
        limit=_SHARE_DOCUMENTS,
    )
    begun = time.perf_counter()
    with open_model(setting.base, (), batch_size=setting.batch_size, device="cpu") as lm:
        loaded = time.perf_counter()
        timed = Timed(lm.engine)
        evaluate_task(GateLM(timed), task, on_progress=lambda *_: None)
        return loaded - begun, timed.seconds / (time.perf_counter() - loaded)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _run_gate(setting: Setting, quantized: Mapping[str, int]) -> Usage:
    lines = [
        f"  {name}: {{merge: stream, quantize: {{name: rtn, bits: {bits}, group_size: 64}}}}"
        for name, bits in quantized.items()
    ]
    config = _CONFIG.format(
        base=setting.base,
        adapter=setting.adapter,
        quantized="\n".join(lines),
        batch_size=setting.batch_size,
    )
    (setting.work / "gate.yaml").write_text(config, encoding="utf-8")
    given = ("--store", str(setting.work / "store"), "--reports", str(setting.work / "reports"))
    given += ("--workers", setting.workers)
    return run_command(setting, "gate run", "run", str(setting.work / "gate.yaml"), *given)


def run_command(setting: Setting, name: str, *arguments: str) -> Usage:
    """What the command `gate` takes with these arguments, whatever its verdict.

    Raises:
        StageError: it ended otherwise than with a verdict.
    """
    command = (sys.executable, "-c", _GATE, *arguments)
    return measure(command, name=name, log=setting.work / "log", environment=_environment())


def _ask_lm_eval(setting: Setting, variant: str, run: Found) -> Alone:
    """lm_eval's command on what the gate made of a variant."""
    made = {one.variant: one.path for one in run.record.artifacts}
    model = f"pretrained={made.get(variant, setting.base)},dtype=bfloat16"
    if variant not in made:
        model += f",peft={setting.adapter}"
    results = setting.work / f"lm-eval-{variant}"
    script = "from lm_eval.__main__ import cli_evaluate; cli_evaluate()"
    usage = measure(
        (
            *(sys.executable, "-c", script, "run", "--model", "hf", "--model_args", model),
            *("--tasks", NAME, "--include_path", str(setting.work), "--device", "cpu"),
            *("--batch_size", str(setting.batch_size), "--output_path", str(results)),
        ),
        name=f"lm_eval {variant}",
        log=setting.work / "log",
        environment=_environment(),
    )
    _show(f"lm_eval, {variant}", usage)
    (file,) = results.rglob("results_*.json")
    found = json.loads(file.read_text(encoding="utf-8"))["results"][NAME]
    return Alone(variant, usage, float(found["acc,none"]))


def _environment() -> dict[str, str]:
    """Both on the same terms: no hub, and threads that do not spin while they wait."""
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "HF_HUB_OFFLINE": "1"}


def _seconds(usage: Usage) -> float:
    return usage.seconds


def _show(what: str, usage: Usage) -> Usage:
    memory = size(usage.peak_anonymous_bytes)
    print(f"| {what} | {usage.seconds:.2f} | {usage.cpu_seconds:.2f} | {memory} |", flush=True)
    return usage


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="a checkpoint's directory")
    parser.add_argument("--adapter", type=Path, required=True, help="a LoRA adapter of it")
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", default="1", help="of the gate, as its command takes them")
    parser.add_argument("--work", type=Path, help="where some GB are free for a while")
    return parser.parse_args()


if __name__ == "__main__":
    main()
