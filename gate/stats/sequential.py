"""Bounds that hold at every look at a growing number of documents, not at one alone."""

import math
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.stats.intervals import Interval

_NORMAL = NormalDist()
_STAKES = np.linspace(0.02, 0.98, 49)
_ROOT_TOLERANCE = 1e-12
_LARGEST_EXPONENT = 709.0

_SURE = 1 - 1e-12
_STEPS_PER_DEVIATION = 6
_COARSEST_STEP = 0.05
_END_WEIGHTS = np.array([3 / 8, 7 / 6, 23 / 24])  # Gregory's, where the density is cut off
_LOWEST = -8.0
_ROOM = 1e-3
_BOUNDARY_TOLERANCE = 1e-9


def e_value(gains: int, losses: int, *, n: int, margin: float, is_loss: bool) -> float:
    """Evidence that a binary metric loses less than the margin, or that it loses more.

    The wealth of 49 bettors, in the mean, who each stake a fixed share on every document, at
    odds that are fair or worse where the change in the share right is at the margin or beyond
    it. Whatever the number of looks, the probability that it ever reaches 1 / alpha is alpha at
    most where the claim is false. It depends on the counts alone, not on their order.

    Args:
        gains: documents wrong under the reference and right under the candidate.
        losses: documents right under the reference and wrong under the candidate.
        n: paired documents so far.
        margin: loss at which the claim is tested, in (-1, 1); negative for a gain asked for.
        is_loss: the evidence that more than the margin is lost, rather than less.

    Returns:
        Above 0, infinite where it is too large for a float; 1 before the first document.

    Raises:
        ValueError: a margin that is no change in a share.

    Source: Waudby-Smith and Ramdas (2024), JRSS B 86:1-27, section 4 (betting martingales), for
    differences in {-1, 0, 1}: the mean over lambda = 0.02, 0.04, ..., 0.98 times
    1 / (1 - margin) of (1 + lambda margin)^unchanged (1 + lambda (1 + margin))^gains
    (1 - lambda (1 - margin))^losses, and for a loss -lambda, times 1 / (1 + margin).
    """
    if not -1.0 < margin < 1.0:
        raise ValueError(f"a margin of {margin:g}: it is a share of documents, between -1 and 1")
    if is_loss:
        gains, losses, null = losses, gains, margin
    else:
        null = -margin
    log = _log_mean(log_wealth(gains, losses, n=n, null=null))
    return math.exp(log) if log < _LARGEST_EXPONENT else math.inf


def log_wealth(
    gains: int,
    losses: int,
    *,
    n: int,
    null: float,
    stakes: NDArray[np.float64] = _STAKES,
) -> NDArray[np.float64]:
    """Logarithm of what 1 has become by bets that the change in the share right is above `null`.

    Args:
        gains: documents wrong under the reference and right under the candidate.
        losses: documents right under the reference and wrong under the candidate.
        n: paired documents so far.
        null: the change bet against, in (-1, 1).
        stakes: share of the wealth that a loss costs, one per bettor, in (0, 1): lambda (1 + null).

    Returns:
        One value per bettor.

    Source: Waudby-Smith and Ramdas (2024), JRSS B 86:1-27, equation 18.
    """
    odds = stakes / (1 + null)
    logs: NDArray[np.float64] = gains * np.log1p(odds * (1 - null)) + losses * np.log1p(-stakes)
    logs += (n - gains - losses) * np.log1p(-odds * null)
    return logs


def anytime_interval(gains: int, losses: int, *, n: int, confidence: float) -> Interval:
    """The interval for the change in the share right that holds at every look at once.

    Its low end is above -margin exactly where `e_value` for less than the margin has reached
    1 / (1 - confidence), and its high end below -margin exactly where that for more has: both
    fall steadily as the margin moves towards the change that was seen. Each end by itself is
    crossed by the truth with a probability of 1 - confidence at most, over all looks.

    Args:
        gains: documents wrong under the reference and right under the candidate.
        losses: documents right under the reference and wrong under the candidate.
        n: paired documents so far; with none the interval is (-1, 1).
        confidence: one-sided confidence of each end of the interval.

    Source: Waudby-Smith and Ramdas (2024), JRSS B 86:1-27, theorem 1 (Ville's inequality for the
    betting martingale of every mean).
    """
    low = _lowest_mean(gains, losses, n=n, confidence=confidence)
    high = -_lowest_mean(losses, gains, n=n, confidence=confidence)
    return Interval(low, high)


def mcnemar_e_value(gains: int, losses: int) -> float:
    """Evidence that gains and losses are not equally likely, valid at any number of looks.

    Returns:
        Above 0, infinite where it is too large for a float; 1 where nothing changed.

    Source: the mixture over a uniform share of gains, B(gains + 1, losses + 1) 2^changed.
    """
    from scipy.special import betaln

    log = float(betaln(gains + 1, losses + 1)) + (gains + losses) * math.log(2.0)
    return math.exp(log) if log < _LARGEST_EXPONENT else math.inf


class Looks(NamedTuple):
    """The looks planned at a growing number of documents, and the one that is taken.

    Attributes:
        sizes: documents at each planned look, growing; the last is all of them.
        at: index of the look that is taken.
    """

    sizes: tuple[int, ...]
    at: int

    def confidence_at(self, confidence: float) -> float:
        """The one-sided confidence of an interval that is taken at this look.

        O'Brien and Fleming's boundary: strict at first, and close to the confidence asked for at
        the last look. If no look is added to those planned, an interval of a statistic that is
        close to normal misses the truth at any of them with a probability of 1 - confidence in
        all. It is 1 - 1e-12 at most.

        Raises:
            ValueError: sizes that do not grow, or none.

        Source: O'Brien and Fleming (1979), Biometrics 35:549-556; the constant for these looks by
        recursive integration (Armitage, McPherson and Rowe 1969, JRSS A 132:235-244).
        """
        if not self.sizes or list(self.sizes) != sorted({0, *self.sizes})[1:]:
            raise ValueError(f"looks at {list(self.sizes)} documents: each must have more")
        share = self.sizes[self.at] / self.sizes[-1]
        boundary = _obrien_fleming(self.sizes, 1 - confidence)
        return min(_NORMAL.cdf(boundary / math.sqrt(share)), _SURE)


def _log_mean(logs: NDArray[np.float64]) -> float:
    """Logarithm of the mean of what these are the logarithms of."""
    largest = float(logs.max())
    return largest + math.log(float(np.exp(logs - largest).mean()))


def _lowest_mean(gains: int, losses: int, *, n: int, confidence: float) -> float:
    """The largest null that the bets against it refute; -1 where they refute none.

    The wealth falls as the null rises, and is at most 1 where the null is the mean seen.
    """
    from scipy.optimize import brentq

    def excess(null: float) -> float:
        wealth = log_wealth(gains, losses, n=n, null=null)
        return _log_mean(wealth) + math.log(1 - confidence)

    lowest = _ROOT_TOLERANCE - 1
    if excess(lowest) < 0:
        return -1.0
    return float(brentq(excess, lowest, (gains - losses) / n, xtol=_ROOT_TOLERANCE))


@cache
def _obrien_fleming(sizes: tuple[int, ...], alpha: float) -> float:
    """The boundary of the score process at these looks, in standard errors of the last one."""
    from scipy.optimize import brentq

    shares = np.array(sizes) / sizes[-1]
    one_look, endless_looks = _NORMAL.inv_cdf(1 - alpha), _NORMAL.inv_cdf(1 - alpha / 2)
    return float(
        brentq(
            lambda boundary: _crossing_probability(shares, boundary) - alpha,
            one_look - _ROOM,
            endless_looks + _ROOM,
            xtol=_BOUNDARY_TOLERANCE,
        )
    )


def _crossing_probability(shares: NDArray[np.float64], boundary: float) -> float:
    """How probably Brownian motion is above the boundary at any of these times, the last being 1.

    The density of paths that have not crossed is carried from look to look on an even grid.
    """
    steps = np.diff(shares, prepend=0.0)
    width = min(_COARSEST_STEP, math.sqrt(float(steps.min())) / _STEPS_PER_DEVIATION)
    points = boundary - width * np.arange(math.ceil((boundary - _LOWEST) / width))
    density = _normal_density(points, steps[0])
    offsets = width * np.arange(1 - len(points), len(points))
    for step in steps[1:]:
        density[: len(_END_WEIGHTS)] *= _END_WEIGHTS
        kernel = _normal_density(offsets, step)
        density = width * _convolved(kernel, density)
    density[: len(_END_WEIGHTS)] *= _END_WEIGHTS
    return 1 - float(density.sum()) * width


def _normal_density(points: NDArray[np.floating], variance: float) -> NDArray[np.float64]:
    heights = np.exp(-(points**2) / (2 * variance))
    return np.asarray(heights / math.sqrt(2 * math.pi * variance), dtype=np.float64)


def _convolved(kernel: NDArray[np.float64], density: NDArray[np.float64]) -> NDArray[np.float64]:
    """The convolution where the kernel, of 2 n - 1 points, covers all of the density's n.

    What the transform wraps around falls on the points before.
    """
    n, size = len(density), 2 ** len(kernel).bit_length()
    wrapped = np.fft.irfft(np.fft.rfft(kernel, size) * np.fft.rfft(density, size), size)
    return np.asarray(wrapped[n - 1 : 2 * n - 1], dtype=np.float64)
