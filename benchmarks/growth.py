"""How CPU time and memory grow with documents, variants and choices, the models taking no time.

python benchmarks/growth.py
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from choice_task import NAME, write_task
from instant_engine import Instant
from report_records import Size, make_record

from gate.evaluation_records import Corpus, Document, Evaluation, Sample, Score
from gate.judging.judge import judge, verdict_of
from gate.presentation import size
from gate.provenance import peak_memory_bytes
from gate.records import Record
from gate.reporting.report_files import write_run
from gate.result_records import CheckResult
from gate.running.found import score_of
from gate.running.sharing import Shared
from gate.terms import Check, ResolvedCheck, Task, Use, Variant

DOCUMENTS = (100, 1_000, 10_000, 100_000)
VARIANTS = (2, 4, 8, 12)
CHOICES = (2, 4, 10, 20)
STEPS = ("ask", "keep", "read", "judge", "report")

_SEED = 1234
_SHARE_RIGHT, _FLIP_RATE = 0.8, 0.02
_MOST_ASKED = 10_000


class Shape(NamedTuple):
    """How much there is of everything; one of them grows, the others stay."""

    documents: int = 2_000
    variants: int = 3
    choices: int = 4


_SMALLEST = Shape(20, 2, 2)


def main() -> None:
    """Print a table for each of the three, or, as a child, one line of JSON."""
    options = _options()
    if options.shape:
        measure_here(_SMALLEST)  # what is imported or started once
        sys.stdout.write(json.dumps(measure_here(Shape(*options.shape))))
        return
    for axis, sizes in (
        ("documents", options.documents),
        ("variants", options.variants),
        ("choices", options.choices),
    ):
        print(f"| {axis} | {' | '.join(STEPS)} | peak memory |")
        print("| --- |" + " --- |" * (len(STEPS) + 1))
        found = {}
        for number in sizes:
            found[number] = _measure(Shape()._replace(**{axis: number}))
            print(tell_row(number, found[number]), flush=True)
        print(tell_slopes(found))
        print()


def measure_here(shape: Shape) -> dict[str, float]:
    """{step: CPU seconds} of each step, and {"peak": bytes} of the parent's: reading to reporting.

    What a worker does is done in a process of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as worker:
            taken = worker.submit(_work, shape, Path(folder)).result()
        scores: dict[tuple[str, str], Score] = {}
        corpora: dict[str, Corpus] = {}
        results: list[CheckResult] = []
        taken["read"] = _seconds(lambda: _read(Path(folder), scores, corpora))
        taken["judge"] = _seconds(lambda: results.extend(_judge(shape, scores, corpora)))
        record = _record(scores, corpora, results)
        taken["report"] = _seconds(lambda: _report(record))
    return taken | {"peak": float(peak_memory_bytes())}


def _work(shape: Shape, folder: Path) -> dict[str, float]:
    taken = {}
    if shape.documents <= _MOST_ASKED:
        _ask(_SMALLEST)  # what is imported or compiled once
        taken["ask"] = _seconds(lambda: _ask(shape))
    taken["keep"] = 0.0
    for number, evaluation in enumerate(_evaluations(shape)):
        file = folder / f"v{number}.json"
        taken["keep"] += _seconds(partial(_keep, evaluation, file))
    return taken


def _ask(shape: Shape) -> None:
    """One variant asked all documents, each answer kept on the way."""
    from gate.engines.language_models import GateLM
    from gate.evaluate import evaluate_task

    with tempfile.TemporaryDirectory() as folder:
        path = write_task(Path(folder), documents=shape.documents, choices=shape.choices)
        chunks = Path(folder) / "chunks"
        chunks.mkdir()
        task = Task(name=NAME, metric="acc", path=str(path))
        evaluate_task(GateLM(Instant()), task, on_progress=lambda *_: None, partial=chunks)


def _evaluations(shape: Shape) -> Iterator[Evaluation]:
    """An evaluation of each variant; few documents change from each to the next."""
    chance = random.Random(_SEED)
    documents = tuple(
        Document(id=i, hash=f"{i:064x}", prompt=f"{i} ?" * 100, target="0", choices=_answers(shape))
        for i in range(shape.documents)
    )
    is_right = [chance.random() < _SHARE_RIGHT for _ in range(shape.documents)]
    for _ in range(shape.variants):
        is_right = [one ^ (chance.random() < _FLIP_RATE) for one in is_right]
        samples = tuple(_sample(shape, i, one, chance) for i, one in enumerate(is_right))
        yield Evaluation(
            task=NAME,
            metric="acc",
            higher_is_better=True,
            is_binary=True,
            available=shape.documents,
            documents=documents,
            samples=samples,
        )


def _answers(shape: Shape) -> tuple[str, ...]:
    return tuple(map(str, range(shape.choices)))


def _sample(shape: Shape, i: int, is_right: bool, chance: random.Random) -> Sample:
    return Sample(
        id=i,
        hash=f"{i:064x}",
        value=float(is_right),
        answer="0" if is_right else "1",
        request_hash=f"{i:064x}",
        loglikelihoods=tuple(-20 * chance.random() for _ in range(shape.choices)),
        place=i,
    )


def _keep(evaluation: Evaluation, file: Path) -> None:
    file.write_text(evaluation.model_dump_json(), encoding="utf-8")


def _read(
    folder: Path,
    scores: dict[tuple[str, str], Score],
    corpora: dict[str, Corpus],
) -> None:
    """What the parent reads of the store: each evaluation as a score, the documents once."""
    shared = Shared()
    for file in sorted(folder.glob("v*.json"), key=lambda one: int(one.stem[1:])):
        evaluation = shared.read(file)
        score = score_of(file.stem, evaluation)
        scores[score.variant, NAME] = score
        corpora.setdefault(NAME, Corpus(task=NAME, documents=evaluation.documents))


def _judge(
    shape: Shape, scores: Mapping[tuple[str, str], Score], corpora: Mapping[str, Corpus]
) -> tuple[CheckResult, ...]:
    """Two checks of each variant against the one before it."""
    checks = [
        ResolvedCheck(
            check=Check(of=f"v{number}", against=f"v{number - 1}", compare=Use(name=name), **bound),
            variant=f"v{number}",
            reference=f"v{number - 1}",
            task=NAME,
        )
        for number in range(1, shape.variants)
        for name, bound in (("delta", {"at_least": -0.02}), ("flips", {"at_most": 0.1}))
    ]
    return judge(checks, scores, corpora, {})


def _record(
    scores: Mapping[tuple[str, str], Score],
    corpora: Mapping[str, Corpus],
    results: Sequence[CheckResult],
) -> Record:
    """A record of the benchmark of reports, with these scores."""
    model = make_record(Size(documents=20, changed=0.1))
    names = [variant for variant, _ in scores]
    verdicts = tuple(verdict_of(name, (), results) for name in names[-1:])
    return model.model_copy(
        update={
            "variants": tuple(
                Variant(name=name, adapters=(), backend=Use(name="hf")) for name in names
            ),
            "ship": tuple(names[-1:]),
            "tasks": (Task(name=NAME, metric="acc"),),
            "corpora": tuple(corpora.values()),
            "scores": tuple(scores.values()),
            "results": tuple(results),
            "verdicts": verdicts,
            "lineages": (),
            "artifacts": (),
            "policy": None,
        }
    )


def _report(record: Record) -> None:
    """A run's folder, with all that is written of it; nothing of it drawn before."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        write_run(record, Path(folder) / "reports")


def _seconds(step: Callable[[], object]) -> float:
    begun = time.process_time()  # of the processor: others may use the machine
    step()
    return time.process_time() - begun


def _measure(shape: Shape) -> dict[str, float]:
    """As `measure_here`, in a process of its own."""
    command = [sys.executable, __file__, "--shape", *map(str, shape)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def tell_row(number: int, found: Mapping[str, float]) -> str:
    """A line of a table: seconds of each step that was measured, and the peak memory."""
    cells = [f"{found[step]:.2f}" if step in found else "" for step in STEPS]
    return f"| {number:,} | {' | '.join(cells)} | {size(int(found['peak']))} |"


def tell_slopes(found: Mapping[int, Mapping[str, float]]) -> str:
    """How each step grows over the last interval: 1 is in proportion."""
    cells = []
    for step in (*STEPS, "peak"):
        known = [number for number in found if step in found[number]]
        steps = list(pairwise(known))
        told = _slope(*steps[-1], step, found) if steps else None
        cells.append("" if told is None else f"{told:.2f}")
    return f"| slope at the end | {' | '.join(cells)} |"


def _slope(one: int, other: int, step: str, found: Mapping[int, Mapping[str, float]]) -> float:
    return math.log(found[other][step] / found[one][step]) / math.log(other / one)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, nargs="+", default=DOCUMENTS)
    parser.add_argument("--variants", type=int, nargs="+", default=VARIANTS)
    parser.add_argument("--choices", type=int, nargs="+", default=CHOICES)
    parser.add_argument("--shape", type=int, nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
