"""The change of a metric from reference to candidate, paired by document, better being positive."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gate.aggregates import PERPLEXITIES, aggregate_of, statistics_of
from gate.evaluation_records import Score
from gate.paired import at_look, clusters_of, orientation, oriented_values
from gate.result_records import DIFFERENCE_OF_SHARES, Estimate, Flips
from gate.stats import bootstrap, clusters, means, proportions, ratios, sequential
from gate.stats.intervals import Interval
from gate.stats.sequential import Looks

PACKAGES = ("numpy", "scipy")

MEASURES = "difference"
"""The estimate is a change, so that judge speaks of losing and gaining."""

LN_PERPLEXITY = "ln perplexity"
"""The unit of the logarithm of a ratio of perplexities: 0.01 is about 1 %."""

_ANYTIME = "anytime-valid confidence sequence (e-process)"
_BITS = "bits_per_byte"
_TANGO = "Tango score interval"
_FEWEST_TO_RESAMPLE = 30
_RULE_OF_THREE = "rule of three over the metric's range"


def compare(
    reference: Score, candidate: Score, *, confidence: float, looks: Looks | None = None
) -> Estimate:
    """How much better the candidate does than the reference, paired by document.

    * A binary metric gets Tango's score interval; where all changes go one way, the outer
      envelope with Clopper and Pearson's of their share.
    * A continuous one gets the outer envelope of Student's interval and the BCa bootstrap's, so
      that a bound is kept or broken only where both say so.
    * Where documents share clusters, Student's t with one degree of freedom less than there are
      clusters, and the larger of the clustered and the plain standard error: clusters never make
      an interval narrower. From 30 clusters on, the outer envelope with the bootstrap of whole
      clusters; of a binary metric, with Tango's interval, which keeps its width where next to
      nothing changed, of as many documents as `clusters.least_design_effect` leaves.
    * A metric of the whole corpus gets the paired bootstrap of the recomputed metric; perplexities
      the ratio estimator of their logarithms' difference.

    Where every document (or cluster) changed by the same amount, what their number leaves open:
    see `means.unvarying_interval`, over the range of the values seen and 0, or 1.

    Args:
        reference: one sample per document.
        candidate: the same documents in the same order; one at the least.
        confidence: one-sided confidence of each end of the interval.
        looks: of a sequential check: a binary metric without clusters then gets the confidence
            sequence that holds at any look, any other O'Brien and Fleming's at this one.
    """
    groups = clusters_of(reference, is_look=looks is not None)
    if reference.is_binary and groups is None and reference.aggregate == "mean":
        differences = oriented_values(candidate) - oriented_values(reference)
        return _binary(differences, confidence=confidence, looks=looks)
    level = looks.confidence_at(confidence) if looks else confidence
    if reference.aggregate in (*PERPLEXITIES, _BITS):
        estimate = _likelihood(reference, candidate, groups, confidence=level)
    elif reference.aggregate != "mean":
        estimate = _corpus(reference, candidate, groups, confidence=level)
    elif groups is None:
        estimate = _continuous(reference, candidate, confidence=level)
    else:
        estimate = _clustered(reference, candidate, groups, confidence=level)
    return at_look(estimate, looks, confidence=confidence) if looks else estimate


def interval(
    gains: int, losses: int, *, n: int, confidence: float, looks: Looks | None = None
) -> Interval:
    """The interval that so many gains and losses of a binary metric would have.

    Args:
        gains: documents wrong under the reference and right under the candidate.
        losses: documents right under the reference and wrong under the candidate.
        n: paired documents, none of which share a cluster.
        confidence: one-sided.
        looks: of a sequential check.
    """
    if looks is None:
        return proportions.paired_interval(gains, losses, n=n, confidence=confidence)
    return sequential.anytime_interval(gains, losses, n=n, confidence=confidence)


def _binary(
    differences: NDArray[np.float64], *, confidence: float, looks: Looks | None
) -> Estimate:
    n, flips = len(differences), _flips(differences)
    low, high = interval(flips.gains, flips.losses, n=n, confidence=confidence, looks=looks)
    return Estimate(
        value=(flips.gains - flips.losses) / n,
        low=low,
        high=high,
        n=n,
        unit=DIFFERENCE_OF_SHARES,
        method=_method(flips) if looks is None else _ANYTIME,
        flips=flips,
    )


def _method(flips: Flips) -> str:
    if flips.gains and flips.losses:
        return _TANGO
    return f"{_TANGO} and Clopper-Pearson interval of changes one way, outer envelope"


def _flips(differences: NDArray[np.float64]) -> Flips:
    gains = int(np.count_nonzero(differences > 0))
    losses = int(np.count_nonzero(differences < 0))
    return Flips(gains=gains, losses=losses, mid_p=proportions.mid_p_mcnemar(gains, losses))


def _continuous(reference: Score, candidate: Score, *, confidence: float) -> Estimate:
    before, after = oriented_values(reference), oriented_values(candidate)
    differences, value_range = after - before, _range(before, after)
    n, mean = len(differences), float(differences.mean())
    error: float | None = _standard_error(differences)
    if means.is_unvarying(differences, value_range=value_range):
        method, error = _RULE_OF_THREE, None
        found = means.unvarying_interval(mean, n, value_range=value_range, confidence=confidence)
    else:
        method = "paired t and BCa bootstrap, outer envelope"
        student = means.paired_t_interval(differences, confidence=confidence)
        found = _envelope([student, means.bca_interval(differences, confidence=confidence)])
    return Estimate(
        value=mean,
        low=found.low,
        high=found.high,
        n=n,
        unit="mean difference",
        method=method,
        standard_error=error,
    )


def _clustered(
    reference: Score, candidate: Score, groups: Sequence[str], *, confidence: float
) -> Estimate:
    before, after = oriented_values(reference), oriented_values(candidate)
    differences, count = after - before, _independent(reference, groups)
    value_range = 1.0 if reference.is_binary else _range(before, after)
    mean, error = float(differences.mean()), None
    is_unvarying = means.is_unvarying(differences, value_range=value_range)
    if count == 1 or (is_unvarying and not reference.is_binary):
        method = f"{_RULE_OF_THREE}, over clusters"
        found = means.unvarying_interval(
            mean, count, value_range=value_range, confidence=confidence
        )
    else:
        alike = clusters.cluster_interval(differences, groups, confidence=confidence)
        error = max(alike.standard_error, _standard_error(differences)) or None
        intervals = {"t over clusters": _student(mean, error or 0.0, count, confidence=confidence)}
        if count >= _FEWEST_TO_RESAMPLE:
            intervals["cluster bootstrap"] = clusters.cluster_bootstrap_interval(
                differences, groups, confidence=confidence
            )
        if reference.is_binary:
            intervals[f"{_TANGO} of the effective documents"] = _effective_tango(
                _flips(differences), groups, confidence=confidence
            )
        found, method = _envelope(intervals.values()), _listed(intervals)
    if reference.is_binary:
        found = Interval(max(-1.0, found.low), min(1.0, found.high))
    return Estimate(
        value=mean,
        low=found.low,
        high=found.high,
        n=len(differences),
        unit=DIFFERENCE_OF_SHARES if reference.is_binary else "mean difference",
        method=method,
        flips=_flips(differences) if reference.is_binary else None,
        clusters=count,
        standard_error=error,
    )


def _effective_tango(flips: Flips, groups: Sequence[str], *, confidence: float) -> Interval:
    """Tango's interval of what so many documents in clusters are worth."""
    effect = clusters.least_design_effect(groups)
    return proportions.paired_interval(
        flips.gains / effect, flips.losses / effect, n=len(groups) / effect, confidence=confidence
    )


def _likelihood(
    reference: Score, candidate: Score, groups: Sequence[str] | None, *, confidence: float
) -> Estimate:
    """Logarithms of perplexities, which are ratios of sums: log-likelihood over words or bytes."""
    before, after = statistics_of(reference), statistics_of(candidate)
    gains, weights = after[:, 0] - before[:, 0], before[:, 1]
    count = _independent(reference, groups)
    value_range = _range(before[:, 0] / weights, after[:, 0] / weights)
    ratio, error = float(gains.sum() / weights.sum()), None
    if count == 1 or means.is_unvarying(gains / weights, value_range=value_range):
        method = _RULE_OF_THREE
        ends = means.unvarying_interval(
            ratio, count, value_range=value_range, confidence=confidence
        )
    else:
        method = f"ratio estimator over {'documents' if groups is None else 'clusters'}"
        found = ratios.ratio_interval(gains, weights, confidence=confidence, clusters=groups)
        ends, error = found.interval, found.standard_error
    is_bits = reference.aggregate == _BITS
    scale = 1 / math.log(2) if is_bits else 1.0
    return Estimate(
        value=scale * ratio,
        low=scale * ends.low,
        high=scale * ends.high,
        n=len(gains),
        unit="bits a byte" if is_bits else LN_PERPLEXITY,
        method=method,
        clusters=None if groups is None else count,
        standard_error=None if error is None else scale * error,
    )


def _corpus(
    reference: Score, candidate: Score, groups: Sequence[str] | None, *, confidence: float
) -> Estimate:
    """A metric of the whole corpus, recomputed for every resample of its documents."""
    before, after = statistics_of(reference), statistics_of(candidate)
    aggregate, sign = aggregate_of(reference.aggregate), orientation(reference)
    values = [float(aggregate(one.sum(axis=0))) for one in (before, after)]
    change, count = sign * (values[1] - values[0]), _independent(reference, groups)
    if count == 1 or np.array_equal(before, after):
        method = _RULE_OF_THREE
        ends = means.unvarying_interval(
            change, count, value_range=max(map(abs, values)) or 1.0, confidence=confidence
        )
    else:
        method = f"paired bootstrap of {'documents' if groups is None else 'clusters'}"
        found = bootstrap.aggregate_interval(
            before, after, aggregate, confidence=confidence, clusters=groups
        )
        ends = Interval(*sorted((sign * found.low, sign * found.high)))
    return Estimate(
        value=change,
        low=ends.low,
        high=ends.high,
        n=len(before),
        unit=f"difference of {reference.aggregate}",
        method=method,
        clusters=None if groups is None else count,
    )


def _independent(score: Score, groups: Sequence[str] | None) -> int:
    """How many documents, or clusters of them, vary independently."""
    return len(score.samples) if groups is None else len(set(groups))


def _range(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Of the values seen and 0; 1 where all of them are 0."""
    return float(np.ptp(np.concatenate([before, after, [0.0]]))) or 1.0


def _standard_error(differences: NDArray[np.float64]) -> float:
    n = len(differences)
    return float(differences.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0


def _student(mean: float, error: float, count: int, *, confidence: float) -> Interval:
    from scipy.special import stdtrit

    reach = float(stdtrit(count - 1, confidence)) * error
    return Interval(mean - reach, mean + reach)


def _envelope(intervals: Iterable[Interval]) -> Interval:
    lows, highs = zip(*intervals, strict=True)
    return Interval(min(lows), max(highs))


def _listed(methods: Iterable[str]) -> str:
    *rest, last = methods
    return f"{', '.join(rest)} and {last}, outer envelope" if rest else last
