"""A check's bounds, held against an estimate: kept, broken, or what it would take to tell."""

from collections.abc import Sequence
from typing import NamedTuple

from gate.result_records import Estimate
from gate.stats import proportions, sample_size
from gate.terms import Check


class Bound(NamedTuple):
    """One bound of a check and the interval that is held against it.

    It is kept where the whole interval lies inside it and broken where the whole interval lies
    beyond it; an end of the interval on the bound itself keeps and breaks nothing.

    Attributes:
        limit: the bound as written.
        sign: 1 for at_least, -1 for at_most.
        near: the end of the interval that decides whether the bound is kept.
        far: the end that decides whether it is broken.
    """

    limit: float
    sign: int
    near: float
    far: float

    @property
    def is_kept(self) -> bool:
        """Whether the whole interval lies inside."""
        return self.sign * (self.near - self.limit) > 0

    @property
    def is_broken(self) -> bool:
        """Whether the whole interval lies beyond."""
        return self.sign * (self.far - self.limit) < 0

    @property
    def margin(self) -> float:
        """The change for the worse that the bound allows; negative where it asks for a gain."""
        return -self.sign * self.limit


def bounds_of(check: Check, estimate: Estimate) -> tuple[Bound, ...]:
    """The bounds that the check sets, at_least first."""
    low, high = estimate.low, estimate.high
    bounds = []
    if check.at_least is not None:
        bounds.append(Bound(check.at_least, 1, near=low, far=high))
    if check.at_most is not None:
        bounds.append(Bound(check.at_most, -1, near=high, far=low))
    return tuple(bounds)


def documents_needed(
    bounds: Sequence[Bound], estimate: Estimate, *, confidence: float
) -> int | None:
    """Documents, in all, that would probably prove every undecided bound kept.

    Returns:
        More documents than there are; None where the estimate is not inside all bounds, so that
        more hardly help.
    """
    undecided = [bound for bound in bounds if not bound.is_kept]
    needed = [documents_to_keep(bound, estimate, confidence=confidence) for bound in undecided]
    if None in needed:
        return None
    return max(estimate.n + 1, *(one for one in needed if one is not None))


def documents_to_break(bound: Bound, estimate: Estimate, *, confidence: float) -> int | None:
    """Documents, in all, that would probably prove a bound broken at this confidence.

    With a power of 0.8, if the change is what was seen, and varies as much.

    Returns:
        Documents; None where the estimate is not beyond the bound.
    """
    variance = sample_size.implied_variance(
        abs(estimate.value - bound.far), estimate.n, confidence=confidence
    )
    distance = bound.sign * (bound.limit - estimate.value)
    return sample_size.documents_needed(distance, variance, confidence=confidence)


def documents_to_keep(bound: Bound, estimate: Estimate, *, confidence: float) -> int | None:
    """Documents, in all, that would probably prove an undecided bound kept.

    With a power of 0.8, if the change is what was seen but no gain where a loss is bounded, and
    flips (where the estimate has them, and no clusters) are as many as their own upper bound
    allows.

    Returns:
        Documents; None where the estimate is not inside the bound, so that more hardly help.
    """
    change = bound.sign * estimate.value
    if estimate.flips is None or estimate.clusters is not None:
        half_width = abs(estimate.value - bound.near)
        variance = sample_size.implied_variance(half_width, estimate.n, confidence=confidence)
        return sample_size.documents_needed(bound.margin + change, variance, confidence=confidence)
    flipped = estimate.flips.gains + estimate.flips.losses
    return sample_size.documents_for_power(
        margin=bound.margin,
        flip_rate=proportions.clopper_pearson(flipped, estimate.n, confidence=confidence).high,
        difference=min(change, 0.0) if bound.margin > 0 else change,
        confidence=confidence,
    )
