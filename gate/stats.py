"""Paired intervals, tests and power: arrays in, numbers out.

`confidence` is one-sided everywhere: 0.95 gives both ends of the two-sided 90 % interval.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_NORMAL = NormalDist()
_ROOT_TOLERANCE = 1e-13
_RESAMPLES = (999, 9_999)
_DRAWS = 10_000_000
_DRAWS_AT_ONCE = 1_000_000
_EQUAL = 1e-12


class Interval(NamedTuple):
    """The two ends of an interval, each a one-sided bound at the same confidence."""

    low: float
    high: float


def tango_z(gains: int, losses: int, *, n: int, difference: float) -> float:
    """Tango's score statistic of 'the share right changes by `difference`', in standard errors.

    It falls as `difference` rises, and is zero at (gains - losses) / n.

    Args:
        gains: documents wrong under the reference and right under the candidate.
        losses: documents right under the reference and wrong under the candidate.
        n: paired documents.
        difference: the change in the share right under the null hypothesis, in [-1, 1].

    Source: Tango (1998), Statistics in Medicine 17:891-908, section 3.
    """
    a = 2 * n
    b = (2 * n - gains + losses) * difference - gains - losses
    c = -losses * difference * (1 - difference)
    loss_share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    distance = gains - losses - n * difference
    variance = n * (2 * loss_share + difference * (1 - difference))
    if variance <= 0.0:
        return 0.0 if distance == 0.0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def tango_interval(gains: int, losses: int, *, n: int, confidence: float) -> Interval:
    """Tango's score interval for the change in the share right, in [-1, 1].

    Unlike Wald's it keeps its width where no document changed: z^2 / (n + z^2) on each side.

    Source: Tango (1998), Statistics in Medicine 17:891-908; the roots of tango_z = z and -z.
    """
    z = _NORMAL.inv_cdf(confidence)
    middle = (gains - losses) / n

    def statistic(difference: float) -> float:
        return tango_z(gains, losses, n=n, difference=difference)

    low = -1.0 if losses == n else _root(lambda x: statistic(x) - z, Interval(-1.0, middle))
    high = 1.0 if gains == n else _root(lambda x: statistic(x) + z, Interval(middle, 1.0))
    return Interval(low, high)


def mid_p_mcnemar(gains: int, losses: int) -> float:
    """Two-sided mid-p value of McNemar's test that gains and losses are equally likely.

    It is 1 where nothing changed.

    Source: Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91.
    """
    from scipy.special import bdtr

    changed, fewer = gains + losses, min(gains, losses)
    if gains == losses:
        return 1.0
    below = bdtr(fewer - 1, changed, 0.5) if fewer else 0.0
    return float(bdtr(fewer, changed, 0.5) + below)


def clopper_pearson(successes: int, n: int, *, confidence: float) -> Interval:
    """Clopper and Pearson's exact interval for a share, in [0, 1].

    Source: Clopper and Pearson (1934), Biometrika 26:404-413, by quantiles of the beta.
    """
    from scipy.special import betaincinv

    low = betaincinv(successes, n - successes + 1, 1 - confidence) if successes else 0.0
    high = betaincinv(successes + 1, n - successes, confidence) if successes < n else 1.0
    return Interval(float(low), float(high))


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


def above_chance_p_value(correct: int, n: int, *, chance: float) -> float:
    """One-sided exact binomial p-value of 'the share right is what guessing gives'.

    `chance` is the mean over documents of the probability of guessing right. Where it differs
    between documents the sum varies less than a binomial, so the test errs to the careful side.
    With a chance of 0 one right answer is proof.

    Source: Hoeffding (1956), Annals of Mathematical Statistics 27:713-721.
    """
    from scipy.special import bdtrc

    return float(bdtrc(correct - 1, n, chance)) if correct else 1.0


def floor_documents(margin: float, *, confidence: float) -> int:
    """The fewest documents that can prove a binary metric loses less than the margin.

    The smallest n with (1 - margin)^n <= 1 - confidence: with fewer, a loss of exactly the
    margin would too often change no document at all. 598, 299 and 149 for margins of 0.5, 1 and
    2 points at 0.95.

    Args:
        margin: share of documents, above 0.
        confidence: one-sided confidence.
    """
    if margin >= 1.0:
        return 1
    return math.ceil(math.log(1 - confidence) / math.log1p(-margin))


def minimum_detectable_effect(
    n: float, *, flip_rate: float, confidence: float, power: float = 0.8
) -> float:
    """The smallest change in the share right that n documents find with the given power.

    Args:
        n: paired documents.
        flip_rate: share of documents expected to change, in either direction.
        confidence: one-sided confidence; 0.975 for a two-sided test at 0.05.
        power: probability of finding it.

    Source: Connor (1987), Biometrics 43:207-211, his sample size for McNemar's test solved for
    the difference d: z_confidence sqrt(flip_rate) + z_power sqrt(flip_rate - d^2) = d sqrt(n).
    """
    z_power = _NORMAL.inv_cdf(power)
    null = _NORMAL.inv_cdf(confidence) * math.sqrt(flip_rate)
    a, half_b, c = n + z_power**2, null * math.sqrt(n), null**2 - z_power**2 * flip_rate
    return (half_b + math.sqrt(max(half_b**2 - a * c, 0.0))) / a


def documents_for_power(
    *,
    margin: float,
    flip_rate: float,
    confidence: float,
    difference: float = 0.0,
    power: float = 0.8,
) -> int | None:
    """Documents that a paired binary metric needs to prove non-inferiority with this power.

    (z_confidence + z_power)^2 (flip_rate - difference^2) / (margin + difference)^2, and
    `floor_documents` at the least where the margin is above 0.

    Args:
        margin: loss allowed, as a share of documents; below 0 for a gain asked for.
        flip_rate: share of documents that change, in either direction.
        confidence: one-sided confidence.
        difference: true change in the share right; negative for a loss.
        power: probability of a proof.

    Returns:
        Documents; None where the difference is at or beyond the margin, so that none suffice.
    """
    variance = max(flip_rate - difference**2, 0.0)
    documents = documents_needed(margin + difference, variance, confidence=confidence, power=power)
    if documents is None or margin <= 0.0:
        return documents
    return max(documents, floor_documents(margin, confidence=confidence))


def documents_needed(
    distance: float, variance: float, *, confidence: float, power: float = 0.8
) -> int | None:
    """Documents at which a mean this far inside a bound is proved inside, with this power.

    Args:
        distance: from the bound to the mean; positive inside.
        variance: of one document.
        confidence: one-sided confidence.
        power: probability of a proof.

    Returns:
        Documents, 1 at the least; None where the mean is at or beyond the bound.
    """
    if distance <= 0.0:
        return None
    z_sum = _NORMAL.inv_cdf(confidence) + _NORMAL.inv_cdf(power)
    return max(1, math.ceil(z_sum**2 * variance / distance**2))


def implied_variance(half_width: float, n: int, *, confidence: float) -> float:
    """The variance of one document that gives the mean of n of them this distance to its bound."""
    return n * (half_width / _NORMAL.inv_cdf(confidence)) ** 2


def _root(falling: Callable[[float], float], bracket: Interval) -> float:
    """Where a falling function crosses zero, by bisection."""
    low, high = bracket
    while high - low > _ROOT_TOLERANCE:
        middle = (low + high) / 2
        if falling(middle) > 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


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
