"""What judging takes: ten checks of 100,000 paired documents each, in seconds and memory.

python benchmarks/judging.py
"""

import argparse
import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.judging.judge import judge
from gate.presentation import size
from gate.result_records import CheckResult
from gate.terms import Check, ResolvedCheck, Use

_SEED = 1234
_SHARE_RIGHT = 0.8
_FLIP_RATE = 0.02
_CLUSTER = 10
_CHECKS = {
    "binary": (
        ("delta", 0.005),
        ("delta", 0.01),
        ("delta", 0.02),
        ("delta", 0.03),
        ("flips", 0.03),
    ),
    "continuous": (("delta", 0.005), ("delta", 0.01), ("delta", 0.02)),
    "clustered": (("delta", 0.01),),
    "perplexity": (("delta", 0.5),),
}
"""{task: its checks, each a comparison with its bound}; all of them are kept."""


class Usage(NamedTuple):
    """What one call of the judge took; memory is None where the system does not tell."""

    seconds: float
    cpu_seconds: float
    added_bytes: int | None
    results: tuple[CheckResult, ...]


class Run(NamedTuple):
    """What the judge is given."""

    checks: list[ResolvedCheck]
    scores: dict[tuple[str, str], Score]
    corpora: dict[str, Corpus]


def main() -> None:
    """Print a table: every check, then all of them in one call."""
    options = _options()
    run = make_run(options.documents)
    held = _memory("VmRSS")
    print(f"{options.documents:,} paired documents in each check")
    print()
    print("| checks | seconds | CPU seconds | memory added |")
    print("| --- | --- | --- | --- |")
    for task in _CHECKS:
        chosen = run._replace(checks=[one for one in run.checks if one.task == task])
        print(f"| {len(chosen.checks)} {task} | {_row(measure(chosen))} |")
    usage = measure(run)
    print(f"| **all {len(run.checks)}, one call** | {_row(usage)} |")
    print()
    outcomes = [result.outcome for result in usage.results]
    print(f"* {outcomes.count('pass')} of {len(outcomes)} pass, as they should")
    print(f"* the scores themselves hold {_told(held)} ({len(run.scores)} arms)")


def make_run(documents: int) -> Run:
    """Ten checks of one candidate on four tasks, each with so many documents."""
    random = np.random.default_rng(_SEED)
    checks = [
        ResolvedCheck(
            check=Check(
                of="candidate",
                against="reference",
                compare=Use(name=name),
                at_least=-bound if name == "delta" else None,
                at_most=None if name == "delta" else bound,
            ),
            variant="candidate",
            reference="reference",
            task=task,
        )
        for task, asked in _CHECKS.items()
        for name, bound in asked
    ]
    scores = {
        (variant, task): Score(
            variant=variant,
            task=task,
            metric="acc",
            higher_is_better=task != "perplexity",
            is_binary=task in ("binary", "clustered"),
            aggregate="word_perplexity" if task == "perplexity" else "mean",
            available=documents,
            samples=samples,
        )
        for task in _CHECKS
        for variant, samples in zip(
            ("reference", "candidate"), _arms(task, documents, random), strict=True
        )
    }
    return Run(checks, scores, {task: _corpus(task, documents) for task in _CHECKS})


def measure(run: Run) -> Usage:
    """Judge once, with the garbage of what was before collected."""
    gc.collect()
    before = _memory("VmRSS")
    _forget_peak()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    results = judge(run.checks, run.scores, run.corpora, {})
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - begun_cpu
    peak = _memory("VmHWM")
    added = None if before is None or peak is None else max(0, peak - before)
    return Usage(seconds, cpu_seconds, added, results)


def _arms(task: str, n: int, random: Generator) -> Iterator[tuple[Sample, ...]]:
    """The samples of reference and candidate, differing in few documents, by no net loss."""
    if task in ("binary", "clustered"):
        is_right = random.random(n) < _SHARE_RIGHT
        share = np.where(is_right, _SHARE_RIGHT, 1 - _SHARE_RIGHT)
        flips = random.random(n) < _FLIP_RATE / 2 / share
        yield from (_samples(task, values.astype(float)) for values in (is_right, is_right ^ flips))
    elif task == "continuous":
        before = random.random(n)
        after = before + 0.05 * random.standard_t(5, n)
        yield from (_samples(task, values) for values in (before, after))
    else:
        words = random.integers(50, 500, n).astype(np.float64)
        nats = words * random.normal(3.0, 0.2, n)
        for total in (nats, nats * random.normal(1.0, 0.01, n)):
            yield _samples(task, total / words, statistics=np.stack([-total, words], axis=1))


def _samples(
    task: str, values: NDArray[np.float64], *, statistics: NDArray[np.float64] | None = None
) -> tuple[Sample, ...]:
    sums = [()] * len(values) if statistics is None else map(tuple, statistics.tolist())
    return tuple(
        Sample(
            id=i,
            hash=f"{i:064x}",
            value=value,
            answer=str(value),
            request_hash=f"{i:064x}",
            place=i,
            cluster=str(i // _CLUSTER) if task == "clustered" else None,
            statistics=statistic,
        )
        for i, (value, statistic) in enumerate(zip(values.tolist(), sums, strict=True))
    )


def _corpus(task: str, n: int) -> Corpus:
    documents = (
        Document(id=i, hash=f"{i:064x}", prompt="?", target="a", choices=("a", "b", "c", "d"))
        for i in range(n)
    )
    return Corpus(task=task, documents=tuple(documents))


def _row(usage: Usage) -> str:
    return f"{usage.seconds:.2f} | {usage.cpu_seconds:.2f} | {_told(usage.added_bytes)}"


def _told(found: int | None) -> str:
    return "n/a" if found is None else size(found)


def _memory(field: str) -> int | None:
    """Bytes of this process by a field of /proc/self/status; None on a system without it."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return 1024 * int(fields[field].split()[0])


def _forget_peak() -> None:
    """Begin a new high-water mark of memory, where the system lets a process do so."""
    file = Path("/proc/self/clear_refs")
    if file.is_file():
        file.write_text("5")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
