"""Axes of the figures: what they span, where their ticks are, what lies beyond them."""

import math
from collections.abc import Iterable
from typing import Literal

from gate import presentation
from gate.result_records import Estimate

_MOST_SPANS = 4
"""How far an axis reaches beyond its bounds and no difference: multiples of what is between."""


def beyond(value: float, low: float, high: float) -> Literal["left", "right"] | None:
    """The side on which a value lies off an axis; None where it is on it."""
    return "left" if value < low else "right" if value > high else None


def span(
    bounds: Iterable[float], estimates: Iterable[Estimate], *, neutral: float = 0.0
) -> tuple[float, float]:
    """What an axis spans: every bound and interval, and the value of no difference if it is near.

    Where an estimate is far beyond the bounds, the axis ends before it, so that the others can
    still be told from their bounds.

    Args:
        bounds: those of a check.
        estimates: what was measured for it.
        neutral: the value of no difference.
    """
    bounds = list(bounds)
    values = [*bounds, *(end for e in estimates for end in (e.low, e.value, e.high))] or [neutral]
    nearest, farthest = min([*bounds, neutral]), max([*bounds, neutral])
    most = _MOST_SPANS * (farthest - nearest) or math.inf
    low, high = max(min(values), nearest - most), min(max(values), farthest + most)
    reach = (high - low) or abs(high) or 1.0
    if low - reach / 4 <= neutral <= high + reach / 4:
        low, high = min(low, neutral), max(high, neutral)
    margin = 0.08 * ((high - low) or 1.0)
    return low - margin, high + margin


def ticks(low: float, high: float, unit: str) -> Iterable[tuple[float, str]]:
    """Three to six round numbers between the ends of an axis."""
    magnitude = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = max(s for s in (1, 2, 5) if s * magnitude <= (high - low) / 3) * magnitude
    for index in range(math.ceil(low / step), math.floor(high / step) + 1):
        value = float(f"{index * step:.12g}")
        label = presentation.exact(value, presentation.short_unit(unit))
        yield value, label.removesuffix(" points")
