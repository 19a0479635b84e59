"""How often a binary check passes and fails, exactly: every table of gains and losses is summed.

What the judge says of a binary metric depends on gains, losses and documents alone, and is
monotone in the losses. So for each number of gains there is a largest number of losses that
passes and a smallest that fails, and the judge is asked only to find these two.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from trials import CONFIDENCE, counted, judged

from gate.result_records import Outcome
from gate.stats.proportions import tango_z

_Z = NormalDist().inv_cdf(CONFIDENCE)
_NEGLIGIBLE = 1e-10

Outcomes = Callable[[int, int], Outcome]
"""The outcome of so many gains and losses."""


class Region(NamedTuple):
    """Where a check of n documents passes and fails.

    Attributes:
        n: documents.
        gains: the numbers of gains that were asked about.
        passing: for each of them the most losses that pass, -1 where none do.
        failing: for each of them the fewest losses that fail.
    """

    n: int
    gains: range
    passing: NDArray[np.int64]
    failing: NDArray[np.int64]


class Rates(NamedTuple):
    """Probabilities of the two outcomes that claim something."""

    passed: float
    failed: float


def judged_outcomes(n: int, margin: float, *, is_look: bool = False) -> Outcomes:
    """The real judge's verdict on a table of n documents, alone or as a look of a sequence."""
    looks = {"task": (n,)} if is_look else None

    def outcome(gains: int, losses: int) -> Outcome:
        (result,) = judged([counted(gains, losses, n)], margin, looks=looks)
        return result.outcome

    return outcome


def family_outcomes(n: int, margin: float, *, checks: int) -> Outcomes:
    """The real judge's verdict on one table among so many checks, of which the others pass."""
    others = [counted(0, 0, n, task=f"task {number}") for number in range(1, checks)]

    def outcome(gains: int, losses: int) -> Outcome:
        result, *_ = judged([counted(gains, losses, n), *others], margin)
        return result.outcome

    return outcome


def tango_outcomes(n: int, margin: float) -> Outcomes:
    """Tango's interval alone, without the judge's floor on the number of documents."""

    def outcome(gains: int, losses: int) -> Outcome:
        return _by_z(tango_z(gains, losses, n=n, difference=-margin))

    return outcome


def wald_outcomes(n: int, margin: float) -> Outcomes:
    """Wald's interval, which the gate does not use: it has no width where nothing changed."""

    def outcome(gains: int, losses: int) -> Outcome:
        difference = (gains - losses) / n
        error = math.sqrt(max((gains + losses) / n - difference**2, 0.0) / n)
        distance = difference + margin
        return _by_z(distance / error if error else math.copysign(math.inf, distance))

    return outcome


def _by_z(z: float) -> Outcome:
    if z > _Z:
        return "pass"
    return "fail" if z < -_Z else "inconclusive"


def most_gains(n: int, share: float) -> int:
    """Gains that are exceeded with negligible probability."""
    from scipy.stats import binom

    return int(binom.isf(_NEGLIGIBLE, n, share)) + 1


def region(n: int, outcome: Outcomes, *, gains: range) -> Region:
    """Where outcomes change, for each of these numbers of gains."""
    passing, failing = [-1], [0]
    for gained in gains:
        most = n - gained
        passing.append(
            _walk(passing[-1], most, lambda losses, g=gained: outcome(g, losses) == "pass")
        )
        start = max(failing[-1], passing[-1] + 1) - 1
        failing.append(
            _walk(start, most, lambda losses, g=gained: outcome(g, losses) != "fail") + 1
        )
    return Region(n, gains, np.array(passing[1:]), np.array(failing[1:]))


def _walk(start: int, most: int, holds: Callable[[int], bool]) -> int:
    """The last losses from `start` on for which it holds; it holds at `start`."""
    step = 1
    while start + step <= most and holds(start + step):
        start, step = start + step, 2 * step
    beyond = min(start + step, most + 1)
    while beyond - start > 1:
        middle = (start + beyond) // 2
        start, beyond = (middle, beyond) if holds(middle) else (start, middle)
    return start


def rates(where: Region, *, flip_rate: float, change: float) -> Rates:
    """The probabilities of passing and failing.

    Args:
        where: the region, of all gains that are probable.
        flip_rate: share of documents that change, in either direction.
        change: true change in the share right; minus the margin is the boundary.
    """
    from scipy.stats import binom

    gain_share, loss_share = (flip_rate + change) / 2, (flip_rate - change) / 2
    gains = np.array(where.gains)
    weight = binom.pmf(gains, where.n, gain_share)
    rest = where.n - gains
    share = loss_share / (1 - gain_share)
    return Rates(
        passed=float(weight @ binom.cdf(where.passing, rest, share)),
        failed=float(weight @ binom.sf(where.failing - 1, rest, share)),
    )


def losses_only(margin: float, sizes: Iterable[int]) -> Iterator[tuple[int, float]]:
    """How probably a check passes whose every flip is a loss, exactly at the margin.

    Args:
        margin: the loss allowed, which is also the true one.
        sizes: numbers of documents, growing.

    Yields:
        Each number of documents with the probability.
    """
    from scipy.stats import binom

    losses = -1
    for n in sizes:
        outcome = judged_outcomes(n, margin)
        losses = _walk(losses, n, lambda more, outcome=outcome: outcome(0, more) == "pass")
        yield n, float(binom.cdf(losses, n, margin))
