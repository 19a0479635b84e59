"""How much documents vary between two variants: as earlier runs saw it, or assumed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from gate.planning.past_runs import PastRun
from gate.result_records import CheckResult, Estimate
from gate.stats import sample_size
from gate.terms import Check, Kind, ResolvedCheck, Variant

ASSUMED_FLIP_RATES: Mapping[Kind, float] = {
    "adapter": 0.10,
    "merged": 0.01,
    "bridge": 0.01,
    "quantized": 0.04,
}
"""Share of documents whose answer changes on the step to each kind, where no run has told it."""

_FEWEST = 2
"""Documents, below which nothing is told of how they vary."""


class Spread(NamedTuple):
    """How much the change of one document varies between two variants.

    Attributes:
        variance: of one document's change; of a metric that is right or wrong, the flip rate (of
            documents that share clusters, the rate at which independent ones would vary as much).
        is_share: whether the metric is right or wrong on each document.
        source: an earlier run of the pair, the engine's own noise where that is more, or a guess.
        difference: the change of the metric that was seen; 0 where none was.
    """

    variance: float
    is_share: bool
    source: Literal["seen", "noise", "assumed"]
    difference: float = 0.0


def spread_of(
    one: ResolvedCheck, variants: Iterable[Variant], runs: Sequence[PastRun], *, is_share: bool
) -> Spread | None:
    """How much a document will vary, from earlier runs or else assumed; at least an engine's noise.

    A run of variants of these names tells it, the newest first; failing that the newest run of
    variants of these kinds, by the pair that varied most.

    Args:
        one: the check of one pair on one task.
        variants: those of the plan.
        runs: earlier ones, the newest first.
        is_share: the metric is right or wrong on each document.

    Returns:
        The spread; None where the metric is no share and no run tells it.
    """
    by_name = {variant.name: variant for variant in variants}
    pair = by_name[one.variant], by_name.get(one.reference, by_name[one.variant])
    seen = _seen(one, pair, runs)
    if seen is None and is_share:
        kind = pair[0].kind if one.reference in by_name else "adapter"  # released: trained anew
        seen = Spread(ASSUMED_FLIP_RATES.get(kind, 0.04), is_share=True, source="assumed")
    if seen is None or not seen.is_share:
        return seen
    noise = max(_noise(one.task, {variant.backend.name for variant in pair}, runs), default=0.0)
    return seen._replace(variance=noise, source="noise") if noise > seen.variance else seen


def _seen(
    one: ResolvedCheck, pair: tuple[Variant, Variant], runs: Sequence[PastRun]
) -> Spread | None:
    names = one.variant, one.reference
    kinds = pair[0].kind, pair[1].kind
    for run in runs:
        found = [result for result in run.results if (result.variant, result.reference) == names]
        spreads = list(_spreads(found, one))
        if spreads:
            return max(spreads)
    for run in runs:
        kind_of = {variant.name: variant.kind for variant in run.variants}
        found = [
            result
            for result in run.results
            if (kind_of.get(result.variant), kind_of.get(result.reference)) == kinds
        ]
        spreads = list(_spreads(found, one))
        if spreads:
            return max(spreads)
    return None


def _spreads(results: Iterable[CheckResult], one: ResolvedCheck) -> Iterator[Spread]:
    """What changes of the metric on this task varied by."""
    for result in results:
        estimate, check = result.estimate, result.check
        if estimate is None or estimate.n < _FEWEST or check.compare.name != "delta":
            continue
        if (result.task, check.slice) == (one.task, one.check.slice):
            yield _spread(estimate, check)


def _spread(estimate: Estimate, check: Check) -> Spread:
    """One answer that changes at the least: none in so many is not none in any number."""
    n, error = estimate.n, estimate.standard_error
    if estimate.flips is not None:
        rate = max(1, estimate.flips.gains + estimate.flips.losses) / n
        if estimate.clusters is not None and error is not None:
            rate = max(rate, n * error**2)
        return Spread(rate, is_share=True, source="seen", difference=estimate.value)
    variance = (
        n * error**2
        if error is not None
        else sample_size.implied_variance(
            estimate.value - estimate.low, n, confidence=check.confidence
        )
    )
    return Spread(variance, is_share=False, source="seen", difference=estimate.value)


def _noise(task: str, engines: set[str], runs: Sequence[PastRun]) -> Iterator[float]:
    """Share of answers that each engine changed by itself, in the newest run that tells."""
    for engine in engines:
        rates = [
            (one.delta.flips.gains + one.delta.flips.losses) / one.delta.n
            for run in runs
            for one in run.noise
            if (one.engine, one.task) == (engine, task) and one.delta.flips is not None
        ]
        yield from rates[:1]
