"""Means of paired differences: Student's interval, the bootstrap's, and none where none varies."""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gate.stats.intervals import Interval

_NORMAL = NormalDist()
_RESAMPLES = 9_999
_DRAWS_AT_ONCE = 1_000_000
_MANY = 1_000
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

    Below 1,000 documents it resamples 9,999 times; asked again for the same differences it draws
    nothing anew. From 1,000 on it is computed in closed form (`abc_interval`), which lay
    within 0.015 standard errors of 150,000 resamples at 0.95 for normal, exponential, log-normal,
    Student's t (3 and 1.5) and 2 % non-zero differences; 9,999 resamples are off by 0.03 by
    chance. Where every
    resampled mean lies on one side of the mean (all differences equal, for one) the correction
    does not exist, and Student's interval is given.

    Source: Efron (1987), JASA 82:171-185; the acceleration in closed form, as the jackknife of
    a mean is linear. Agrees with scipy.stats.bootstrap(method="BCa") but for the random draws.
    """
    if len(differences) >= _MANY:
        return abc_interval(differences, confidence=confidence)
    mean = differences.mean()
    means = _resampled_means(differences.tobytes(), seed)
    share_below = float(((means < mean).mean() + (means <= mean).mean()) / 2)
    if not 0.0 < share_below < 1.0 or not (differences - mean).any():
        return paired_t_interval(differences, confidence=confidence)
    bias, acceleration = _NORMAL.inv_cdf(share_below), _acceleration(differences - mean)

    def end(z: float) -> float:
        shifted = bias + z
        left = 1 - acceleration * shifted
        level = _NORMAL.cdf(bias + shifted / left) if left > 0 else float(shifted > 0)
        return float(np.quantile(means, level))

    z = _NORMAL.inv_cdf(confidence)
    return Interval(end(-z), end(z))


def abc_interval(differences: NDArray[np.float64], *, confidence: float) -> Interval:
    """The bootstrap's BCa interval for the mean without resampling, for many documents.

    mean + SE w / (1 - a w)^2 with w = a + z and the acceleration a, between the smallest and the
    largest difference. Differences that are all equal give it no width.

    Source: DiCiccio and Efron (1992), Biometrika 79:231-245 (approximate bootstrap confidence
    intervals); for a mean their bias correction is a, and their quadratic term 0.
    """
    mean = float(differences.mean())
    residuals = differences - mean
    error = math.sqrt(float(residuals @ residuals)) / len(differences)
    if error == 0.0:
        return Interval(mean, mean)
    acceleration = _acceleration(residuals)
    least, most = float(differences.min()), float(differences.max())

    def end(z: float) -> float:
        shifted = acceleration + z
        pull = acceleration * shifted
        if pull >= 1:
            return most if shifted > 0 else least
        if pull < -1:  # beyond it the formula turns back
            shifted, pull = -1 / acceleration, -1.0
        return min(max(mean + error * shifted / (1 - pull) ** 2, least), most)

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


def _acceleration(residuals: NDArray[np.float64]) -> float:
    """A sixth of the skewness of the mean; between -1/6 and 1/6."""
    squares = residuals**2
    return float(squares @ residuals) / (6 * math.sqrt(float(squares.sum())) ** 3)


@lru_cache(maxsize=64)
def _resampled_means(content: bytes, seed: int) -> NDArray[np.float64]:
    """Means of resamples of these values, remembered by the values' bytes."""
    values = np.frombuffer(content, dtype=np.float64)
    random = np.random.default_rng(seed)
    rows = max(1, _DRAWS_AT_ONCE // len(values))
    drawn = (
        values[random.integers(len(values), size=(min(rows, _RESAMPLES - done), len(values)))]
        for done in range(0, _RESAMPLES, rows)
    )
    return np.concatenate([block.mean(axis=1) for block in drawn])
