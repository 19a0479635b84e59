"""A variant's change of a metric, split into what training, merge, runtime and quantization did."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, reduce
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gate import extensions
from gate.comparisons import delta
from gate.errors import GateError
from gate.evaluation_records import Score
from gate.judging.pairing import pair_scores, with_samples
from gate.lineage_records import Cause, Lineage, LineageStep
from gate.result_records import Estimate
from gate.terms import ResolvedCheck, Task, Variant, read_use

_CONFIDENCE = 0.95


def lineages(
    tasks: Sequence[Task],
    variants: Sequence[Variant],
    checks: Sequence[ResolvedCheck],
    scores: Mapping[tuple[str, str], Score],
) -> tuple[Lineage, ...]:
    """The line from base to each merged and each quantized variant, on every task.

    A line is of the variants that were evaluated on the task: base, adapter on base (the task's
    own where it names one), merged, bridge where the checks go over one, quantized. All of its
    steps are of the documents that every one of them was asked, and have intervals of their own
    at 95 % one-sided, by the method and seed of `delta`. Where a variant is missing, the step
    over its place says all that it changes; a line of one variant is none, and neither is one
    whose variants were given different documents or tokens, which the checks tell.

    Args:
        tasks: those of the suite.
        variants: those of the plan, bridges and single adapters included.
        checks: those of the plan; what they compare with chooses among several of a kind.
        scores: {(variant, task): score}.
    """
    return tuple(
        lineage
        for variant in variants
        if variant.merge is not None and not variant.is_bridge
        for task in tasks
        if (variant.name, task.name) in scores
        for lineage in _lineage(_line(variant, task, variants, checks, scores), task.name, scores)
    )


def _line(
    variant: Variant,
    task: Task,
    variants: Sequence[Variant],
    checks: Sequence[ResolvedCheck],
    scores: Mapping[tuple[str, str], Score],
) -> list[Variant]:
    """The variants on the way from base to this one that have a score, itself last."""
    reached = _reached(variant.name, [one for one in checks if one.task == task.name])
    present = [one for one in variants if (one.name, task.name) in scores]
    own = variant.adapters if task.adapter is None else (task.adapter,)
    adapter = [one for one in present if one.kind == "adapter" and one.adapters == own]
    adapter = _likeliest(adapter, reached, beside=variant)
    base = [one for one in present if one.kind == "base"]
    base = _likeliest(base, reached, beside=adapter[0] if adapter else variant)
    unquantized = [one for one in present if _is_of_merge(one, variant) and one != variant]
    merged = [one for one in unquantized if one.kind == "merged" and variant.kind != "merged"]
    merged = _likeliest(merged, reached, beside=variant)
    bridges = [one for one in unquantized if one.name in reached and not _has_engine(merged, one)]
    before = _likeliest(
        [one for one in bridges if _has_engine(adapter, one)], reached, beside=variant
    )
    after = [one for one in bridges if _has_engine([variant], one) and _is_quantized(variant)]
    if _has_engine(before, variant):
        merged, after = [], []  # there and back again: the line need not leave its runtime
    return [*base, *adapter, *before, *merged, *after[:1], variant]


def _likeliest(found: Sequence[Variant], reached: set[str], *, beside: Variant) -> list[Variant]:
    """Of several of one kind the one that checks lead to, rather in the runtime of a neighbour."""

    def fit(one: Variant) -> tuple[bool, bool]:
        return one.name in reached, _engine(one) == _engine(beside)

    return [max(found, key=fit)] if found else []


def _is_of_merge(one: Variant, variant: Variant) -> bool:
    """Whether it is what the variant was made from: the same merge, not quantized."""
    made = (variant.adapters, variant.merge)
    return (one.adapters, one.merge) == made and not _is_quantized(one)


def _reached(start: str, checks: Sequence[ResolvedCheck]) -> set[str]:
    """Every variant that this one is compared with, over others or at once."""
    reached, open_names = {start}, [start]
    while open_names:
        name = open_names.pop()
        found = {one.reference for one in checks if one.variant == name} - reached
        reached |= found
        open_names += found
    return reached


def _engine(variant: Variant) -> str:
    return variant.backend.name


def _has_engine(variants: Sequence[Variant], one: Variant) -> bool:
    return any(_engine(other) == _engine(one) for other in variants)


def _is_quantized(variant: Variant) -> bool:
    """Whether its weights are, and not only written in the file format of a runtime."""
    if variant.quantize is None or variant.is_bridge:
        return False
    module = extensions.find("backends", variant.backend.name).module
    unquantized = getattr(module, "BRIDGE", None)
    return unquantized is None or read_use(unquantized) != variant.quantize


def _lineage(
    line: Sequence[Variant], task: str, scores: Mapping[tuple[str, str], Score]
) -> Iterator[Lineage]:
    arms = _common({one.name: scores[one.name, task] for one in line})
    documents = min(len(score.samples) for score in arms.values())
    if len(line) == 1 or documents == 0:
        return
    by_place = {(name, task): score for name, score in arms.items()}

    @cache
    def change(reference: str, candidate: str) -> Estimate:
        pair = pair_scores(by_place, {}, reference=reference, candidate=candidate, task=task)
        return delta.compare(pair.reference, pair.candidate, confidence=_CONFIDENCE)

    try:
        steps = tuple(
            _step(before, after, change(before.name, after.name))
            for before, after in pairwise(line)
        )
        total = change(line[0].name, line[-1].name)
    except (GateError, ArithmeticError, ValueError):
        return
    yield Lineage(variant=line[-1].name, task=task, steps=steps, total=total, documents=documents)


def _step(reference: Variant, variant: Variant, change: Estimate) -> LineageStep:
    cause, *also = _causes(reference, variant)
    return LineageStep(
        cause=cause,
        also=tuple(also),
        reference=reference.name,
        variant=variant.name,
        change=change,
    )


def _causes(reference: Variant, variant: Variant) -> Iterator[Cause]:
    """What is different of two variants of a line, in the order of the line."""
    if variant.adapters and not reference.adapters:
        yield "training"
    if variant.merge is not None and reference.merge is None:
        yield "merge"
    if _engine(variant) != _engine(reference):
        yield "runtime"
    if _is_quantized(variant) and not _is_quantized(reference):
        yield "quantization"


def _common(arms: Mapping[str, Score]) -> dict[str, Score]:
    """The scores on the documents that all of them have: the shortest prefix of places."""
    ids = reduce(np.intersect1d, [score.samples.column("id") for score in arms.values()])
    return {name: _cut(score, ids) for name, score in arms.items()}


def _cut(score: Score, ids: NDArray[np.int64]) -> Score:
    if len(score.samples) == len(ids):
        return score
    return with_samples(score, score.samples.take(np.isin(score.samples.column("id"), ids)))
