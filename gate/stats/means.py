"""Means of paired differences: Student's interval, the bootstrap's, and none where none varies."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gate.stats.intervals import Interval

_NORMAL = NormalDist()
_RESAMPLES = (999, 9_999)
_DRAWS = 10_000_000
_DRAWS_AT_ONCE = 1_000_000
_EQUAL = 1e-12


def paired_t_interval(differences: NDArray[np.float64], *, confidence: float) -> Interval:
    """Student's interval for the mean of paired differences; two documents at the least.

    Differences that are all equal give it no width: ask `is_unvarying` first.
    """
    from scipy.special import stdtrit

    n = len(differences)
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    reach = float(stdtrit(n - 1, confidence)) * error
    return Interval(mean - reach, mean + reach)


def bca_interval(
    differences: NDArray[np.float64], *, confidence: float, seed: int = 1234
) -> Interval:
    """The bias-corrected and accelerated bootstrap interval for the mean of paired differences.

    It resamples 9,999 times, and less often (never below 999) above 1,000 documents, where the
    mean is close to normal anyway. Where every resampled mean lies on one side of the mean (all
    differences equal, for one) the correction does not exist, and Student's interval is given.

    Source: Efron (1987), JASA 82:171-185; the acceleration in closed form, as the jackknife of
    a mean is linear. Agrees with scipy.stats.bootstrap(method="BCa") but for the random draws.
    """
    mean = differences.mean()
    means = _resampled_means(differences, seed)
    share_below = float(((means < mean).mean() + (means <= mean).mean()) / 2)
    residuals = differences - mean
    if not 0.0 < share_below < 1.0 or not residuals.any():
        return paired_t_interval(differences, confidence=confidence)
    bias = _NORMAL.inv_cdf(share_below)
    acceleration = float((residuals**3).sum() / (6 * (residuals**2).sum() ** 1.5))

    def end(z: float) -> float:
        shifted = bias + z
        level = _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))
        return float(np.quantile(means, level))

    z = _NORMAL.inv_cdf(confidence)
    return Interval(end(-z), end(z))


def is_unvarying(differences: NDArray[np.float64], *, value_range: float) -> bool:
    """Whether the differences are all equal, up to rounding: no spread to take an error from."""
    return bool(np.ptp(differences) <= _EQUAL * value_range)


def unvarying_interval(
    difference: float, n: int, *, value_range: float, confidence: float
) -> Interval:
    """An interval for a mean difference that came out the same in every document.

    n documents without an exception leave room for a share 1 - (1 - confidence)^(1/n) of
    exceptions, of which each can move the metric by its range at most. For a metric in [0, 1] a
    margin then needs the same number of documents as a binary one: `floor_documents`.

    Source: Clopper and Pearson's bound at zero (the "rule of three"), times the range.
    """
    reach = value_range * (1 - (1 - confidence) ** (1 / n))
    return Interval(difference - reach, difference + reach)


def _resampled_means(differences: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    n = len(differences)
    fewest, most = _RESAMPLES
    resamples = min(most, max(fewest, _DRAWS // n))
    rows = max(1, _DRAWS_AT_ONCE // n)
    random = np.random.default_rng(seed)
    blocks = [
        differences[random.integers(n, size=(min(rows, resamples - done), n))].mean(axis=1)
        for done in range(0, resamples, rows)
    ]
    return np.concatenate(blocks)
