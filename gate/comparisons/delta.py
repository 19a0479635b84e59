"""The change of a metric from reference to candidate, paired by document, better being positive."""

import numpy as np
from numpy.typing import NDArray

from gate.evaluation_records import Score
from gate.result_records import DIFFERENCE_OF_SHARES, Estimate, Flips
from gate.stats import means, proportions

PACKAGES = ("numpy", "scipy")

MEASURES = "difference"
"""The estimate is a change, so that judge speaks of losing and gaining."""


def compare(reference: Score, candidate: Score, *, confidence: float) -> Estimate:
    """How much better the candidate does than the reference, paired by document.

    A binary metric gets Tango's score interval. A continuous one gets the outer envelope of
    Student's interval and the BCa bootstrap's, so that a bound is kept or broken only where both
    say so; where every document changed by the same amount, what the number of documents
    leaves open (see `means.unvarying_interval`; the range is of the values seen and 0, or 1).

    Args:
        reference: one sample per document.
        candidate: the same documents in the same order; one at the least.
        confidence: one-sided confidence of each end of the interval.
    """
    before, after = _oriented(reference), _oriented(candidate)
    if reference.is_binary:
        return _binary(after - before, confidence)
    value_range = float(np.ptp(np.concatenate([before, after, [0.0]]))) or 1.0
    return _continuous(after - before, value_range=value_range, confidence=confidence)


def _oriented(score: Score) -> NDArray[np.float64]:
    """The metric's values, turned so that larger is better."""
    sign = 1.0 if score.higher_is_better else -1.0
    return sign * np.array([sample.value for sample in score.samples], dtype=np.float64)


def _binary(differences: NDArray[np.float64], confidence: float) -> Estimate:
    n = len(differences)
    gains = int(np.count_nonzero(differences > 0))
    losses = int(np.count_nonzero(differences < 0))
    low, high = proportions.tango_interval(gains, losses, n=n, confidence=confidence)
    return Estimate(
        value=(gains - losses) / n,
        low=low,
        high=high,
        n=n,
        unit=DIFFERENCE_OF_SHARES,
        method="Tango score interval",
        flips=Flips(gains=gains, losses=losses, mid_p=proportions.mid_p_mcnemar(gains, losses)),
    )


def _continuous(
    differences: NDArray[np.float64], *, value_range: float, confidence: float
) -> Estimate:
    n, mean = len(differences), float(differences.mean())
    if means.is_unvarying(differences, value_range=value_range):
        method = "rule of three over the metric's range"
        low, high = means.unvarying_interval(
            mean, n, value_range=value_range, confidence=confidence
        )
    else:
        method = "paired t and BCa bootstrap, outer envelope"
        student = means.paired_t_interval(differences, confidence=confidence)
        bootstrap = means.bca_interval(differences, confidence=confidence)
        low, high = min(student.low, bootstrap.low), max(student.high, bootstrap.high)
    return Estimate(value=mean, low=low, high=high, n=n, unit="mean difference", method=method)
