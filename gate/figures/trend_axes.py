"""The axes that the views of a trend share: runs from left to right, values upwards."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import altair

_ROOM = 50
"""Pixels at the left of a view, where the labels of its vertical axis stand inside it."""

_SLACK = 0.14


class Span(NamedTuple):
    """From where to where an axis reaches."""

    low: float
    high: float


def span(ends: Iterable[float], *, least: float | None = None) -> Span:
    """A span that holds all of these with some room, but for what would be below `least`."""
    ends = tuple(ends)
    low, high = min(ends), max(ends)
    room = (high - low) * _SLACK or abs(high) * _SLACK or 1.0
    return Span(low - room if least is None else max(low - room, least), high + room)


def across(
    runs: Sequence[str], *, is_named: bool, gap: float = 0.3, band_position: float = 0.5
) -> "altair.X":
    """The runs, the oldest at the left.

    All charts of one view have the same names and gaps.

    Args:
        runs: a name for each.
        is_named: whether the names stand below.
        gap: share of a run's room that is kept clear.
        band_position: where in its room a mark stands, from 0 at the left to 1.
    """
    import altair

    axis = altair.Axis(
        title=None,
        labels=is_named,
        labelAngle=-35,
        labelLimit=96,
        labelPadding=4,
        labelOverlap="parity",
        ticks=False,
        grid=False,
    )
    scale = altair.Scale(
        domain=list(runs),
        type="band",
        paddingInner=gap,
        paddingOuter=gap / 2,
        range=[_ROOM, {"expr": "width"}],
    )
    return altair.X("run:O", sort=None, scale=scale, axis=axis, bandPosition=band_position)


def upwards(field: str, reach: Span, suffix: str = "") -> "altair.Y":
    """Values, labelled inside the view, each above its line."""
    import altair

    axis = altair.Axis(
        title=None,
        tickCount=4,
        ticks=False,
        domain=False,
        labelAlign="left",
        labelBaseline="bottom",
        labelPadding=0,
        labelOffset=-1,
        labelExpr=f"datum.label + '{suffix}'",
    )
    scale = altair.Scale(domain=list(reach), zero=False, nice=False)
    return altair.Y(f"{field}:Q", scale=scale, axis=axis)
