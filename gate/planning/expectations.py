"""What a check can show before it is run: documents that can pass, change they find, power."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

from gate.planning.spreads import Spread
from gate.stats import proportions, sample_size, sequential
from gate.terms import Check

POWER = 0.9
"""Probability with which so many documents find a change, or prove that there is none."""

_NORMAL = NormalDist()
_MOST_DOCUMENTS = 10_000_000
_TOLERANCE = 1e-6


class Expectation(NamedTuple):
    """What a check of so many documents can show; None stands for what cannot be told.

    Attributes:
        documents: how many the task has, or is limited to.
        fewest: that can pass, if not one answer changes; None where no loss is allowed.
        detectable: the smallest change that so many documents tell from none with 90 % power, in
            the metric's own unit.
        needed: documents that prove a change harmless with 90 % power: of none where a loss is
            bounded, of the one seen where a gain is asked for.
        spread: what the last two rest on.
    """

    documents: int | None
    fewest: int | None
    detectable: float | None
    needed: int | None
    spread: Spread | None

    @property
    def can_pass(self) -> bool:
        """False where the documents there are cannot prove it even if no answer changes."""
        return self.documents is None or self.fewest is None or self.documents >= self.fewest


def expect(
    check: Check, documents: int | None, spread: Spread | None, *, is_sequential: bool
) -> Expectation | None:
    """What a check of answers can show; None for a comparison that has no such arithmetic.

    Args:
        check: with its bounds.
        documents: how many there will be; None where that is not known yet.
        spread: how much a document varies; None where the metric is no share and no run tells it.
        is_sequential: judged at several looks, so that a share is held to the e-process.
    """
    if check.compare.name == "flips":
        return _expect_flips(check, documents, spread)
    if check.compare.name != "delta":
        return None
    return Expectation(
        documents,
        fewest=_fewest(check, is_sequential=is_sequential) if _is_share(spread) else None,
        detectable=_detectable(check, documents, spread, is_sequential=is_sequential),
        needed=_needed(check, spread, is_sequential=is_sequential),
        spread=spread,
    )


def smallest_margin(check: Check) -> float | None:
    """The smallest change for the worse, or either way, that a check must rule out, above 0."""
    return min((one for one in _allowed(check) if one > 0), default=None)


def _is_share(spread: Spread | None) -> bool:
    return spread is not None and spread.is_share


def _allowed(check: Check) -> list[float]:
    """What each bound allows; 0 or less where it asks for a change."""
    bounds = (None if check.at_least is None else -check.at_least, check.at_most)
    return [bound for bound in bounds if bound is not None]


def _expect_flips(check: Check, documents: int | None, spread: Spread | None) -> Expectation | None:
    """A share of documents that changed, held below a bound by Clopper and Pearson's interval."""
    if check.at_most is None or not 0 < check.at_most < 1 or not _is_share(spread):
        return None
    fewest = proportions.floor_documents(check.at_most, confidence=check.confidence)
    needed = None
    if spread is not None:
        rate = spread.variance
        needed = sample_size.documents_needed(
            check.at_most - rate, rate * (1 - rate), confidence=check.confidence, power=POWER
        )
    return Expectation(documents, fewest, None, needed and max(needed, fewest), spread)


def _fewest(check: Check, *, is_sequential: bool) -> int | None:
    margin = smallest_margin(check)
    if margin is None:
        return None
    if not is_sequential or margin >= 1:
        return proportions.floor_documents(margin, confidence=check.confidence)
    return _first(lambda n: _has_proof(check, margin, 0, 0, n))


def _has_proof(check: Check, margin: float, gains: int, losses: int, n: int) -> bool:
    evidence = sequential.e_value(gains, losses, n=n, margin=margin, is_loss=False)
    return evidence >= 1 / (1 - check.confidence)


def _needed(check: Check, spread: Spread | None, *, is_sequential: bool) -> int | None:
    """Documents at which every bound is proved kept with the power asked for."""
    if spread is None:
        return None
    allowed = _allowed(check)
    power = 1 - (1 - POWER) / len(allowed)
    needed = []
    for sign, limit in zip(_signs(check), allowed, strict=True):
        change = 0.0 if limit > 0 else sign * spread.difference
        needed.append(_proof(check, limit, change, spread, power, is_sequential=is_sequential))
    return None if None in needed else max(one for one in needed if one is not None)


def _signs(check: Check) -> list[int]:
    """Of each bound, which way is the better: up for at_least, down for at_most."""
    return [1] * (check.at_least is not None) + [-1] * (check.at_most is not None)


def _proof(
    check: Check,
    limit: float,
    change: float,
    spread: Spread,
    power: float,
    *,
    is_sequential: bool,
) -> int | None:
    """Documents that prove one bound kept if the change is this, towards the better."""
    confidence = check.confidence
    if not spread.is_share:
        return sample_size.documents_needed(
            limit + change, spread.variance, confidence=confidence, power=power
        )
    if is_sequential and 0 < limit < 1:
        return _sequential_proof(check, limit, spread.variance, power)
    return sample_size.documents_for_power(
        margin=limit,
        flip_rate=max(spread.variance, abs(change)),
        confidence=confidence,
        difference=change,
        power=power,
    )


def _sequential_proof(check: Check, margin: float, flip_rate: float, power: float) -> int | None:
    """Documents at which the e-process proves a harmless change with this power.

    It may do so sooner, at an earlier look, so that they are rather too many.
    """

    def proves(n: int) -> bool:
        flipped = flip_rate * n
        unlucky = min(_NORMAL.inv_cdf(power) * math.sqrt(flipped), flipped)
        gains, losses = round((flipped - unlucky) / 2), round((flipped + unlucky) / 2)
        return _has_proof(check, margin, gains, losses, n)

    return _first(proves)


def _first(is_enough: Callable[[int], bool]) -> int | None:
    """The smallest number that is enough, where every larger one is; None beyond ten million."""
    high = 1
    while not is_enough(high):
        high *= 2
        if high > _MOST_DOCUMENTS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _detectable(
    check: Check, documents: int | None, spread: Spread | None, *, is_sequential: bool
) -> float | None:
    """The smallest change told from none; of a share, with as many flips at the least as that."""
    if documents is None or spread is None:
        return None
    if not spread.is_share:
        z_sum = _NORMAL.inv_cdf(check.confidence) + _NORMAL.inv_cdf(POWER)
        return z_sum * math.sqrt(spread.variance / documents)
    low, high = 0.0, 1.0
    while high - low > _TOLERANCE:
        change = (low + high) / 2
        flip_rate = max(spread.variance, change)
        shows = (
            _shows(check, change, flip_rate, documents)
            if is_sequential
            else change
            >= sample_size.minimum_detectable_effect(
                documents, flip_rate=flip_rate, confidence=check.confidence, power=POWER
            )
        )
        low, high = (low, change) if shows else (change, high)
    return high


def _shows(check: Check, change: float, flip_rate: float, n: int) -> bool:
    """Whether the e-process tells a loss of this size from none, with the power asked for."""
    unlucky = _NORMAL.inv_cdf(POWER) * math.sqrt(max(flip_rate - change**2, 0.0) * n)
    lost = max(change * n - unlucky, 0.0)
    gains, losses = round((flip_rate * n - lost) / 2), round((flip_rate * n + lost) / 2)
    evidence = sequential.e_value(gains, losses, n=n, margin=0.0, is_loss=True)
    return evidence >= 1 / (1 - check.confidence)
