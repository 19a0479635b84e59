"""The figure of a lineage: from the base to what ships, a bar for each step and one for all."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from gate import axes
from gate.lineage_records import Lineage
from gate.presentation import interval_text, unit_label
from gate.records import Record
from gate.result_records import Estimate

WIDTH = 480
"""The figure's own units; a page scales it."""

LEFT, RIGHT = 8.0, 472.0
"""Where the axis begins and ends."""

_TOP, _ROW, _BAR, _BELOW = 8.0, 44.0, 12.0, 46.0
_CUT = 2.5
"""The axis leaves out the way from zero where that is so many times what happens at its end."""


class Bar(NamedTuple):
    """One step, or all of them: a bar from the level before it to the level after it.

    Attributes:
        label: the step's causes; 'total' for all.
        text: the change with its interval.
        kind: whether the metric rose or fell; 'whole' for the total.
        y: the top of the bar.
        x: its left end.
        width: its width.
        low_x: the lower end of the interval around the level after it.
        value_x: that level.
        high_x: the upper end.
        is_cut: whether it begins before the axis does.
    """

    label: str
    text: str
    kind: Literal["gain", "loss", "whole"]
    y: float
    x: float
    width: float
    low_x: float
    value_x: float
    high_x: float
    is_cut: bool


class Tick(NamedTuple):
    """A labelled place on the axis."""

    at: float
    label: str


class Waterfall(NamedTuple):
    """The lineage of one variant on one task.

    Attributes:
        title: which one.
        summary: the same in words, for who cannot see it.
        bars: one a step from the first of the line on, the last for all of them.
        ticks: places on the axis.
        zero_x: where the first of the line stands; None where the axis leaves that out.
        axis_y: where the axis lies.
        axis_label: what it counts.
        height: of the figure.
    """

    title: str
    summary: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    zero_x: float | None
    axis_y: float
    axis_label: str
    height: float


class _Level(NamedTuple):
    """A step between two levels of the metric, both told from the first of the line."""

    label: str
    start: float
    change: Estimate

    @property
    def ends(self) -> tuple[float, float, float]:
        """The interval around the level after it, and that level in the middle."""
        change = self.change
        return self.start + change.low, self.start + change.value, self.start + change.high


class _Scale(NamedTuple):
    low: float
    high: float

    def x(self, value: float) -> float:
        share = (max(value, self.low) - self.low) / (self.high - self.low)
        return round(LEFT + (RIGHT - LEFT) * share, 1)


def draw_waterfalls(record: Record) -> tuple[Waterfall, ...]:
    """A figure for each lineage of more than one step; those of one task share its axis."""
    drawn = [one for one in record.lineages if len(one.steps) > 1]
    scales = {
        task: _scale([level for one in drawn if one.task == task for level in _levels(one)])
        for task in {one.task for one in drawn}
    }
    return tuple(_waterfall(one, scales[one.task]) for one in drawn)


def _waterfall(one: Lineage, scale: _Scale) -> Waterfall:
    levels = list(_levels(one))
    axis_y = _TOP + _ROW * len(levels)
    unit = one.total.unit
    first = one.steps[0].reference
    return Waterfall(
        title=f"{one.variant} on {one.task}",
        summary="; ".join(f"{level.label} {interval_text(level.change)}" for level in levels),
        bars=tuple(_bar(level, place, scale) for place, level in enumerate(levels)),
        ticks=tuple(Tick(scale.x(at), text) for at, text in axes.ticks(*scale, unit)),
        zero_x=scale.x(0.0) if scale.low <= 0.0 <= scale.high else None,
        axis_y=axis_y,
        axis_label=f"{unit_label(unit)}, from {first}",
        height=axis_y + _BELOW,
    )


def _levels(one: Lineage) -> Iterator[_Level]:
    level = 0.0
    for step in one.steps:
        yield _Level(step.causes, level, step.change)
        level += step.change.value
    yield _Level("total", 0.0, one.total)


def _scale(levels: Sequence[_Level]) -> _Scale:
    """From zero to the last level, or around that level alone where zero is far from it."""
    ends = [end for level in levels for end in level.ends]
    low, high = min(ends), max(ends)
    reach = (high - low) or abs(high) or 1.0
    is_far = min(abs(low), abs(high)) > _CUT * reach and low * high > 0
    if not is_far:
        low, high = min(low, 0.0), max(high, 0.0)
        reach = high - low
    margin = 0.06 * (reach or 1.0)
    start = margin if not is_far else 0.3 * reach
    rises = high > abs(low)
    return _Scale(low - (start if rises else margin), high + (margin if rises else start))


def _bar(level: _Level, place: int, scale: _Scale) -> Bar:
    low, after, high = level.ends
    start, end = (scale.x(min(value, scale.high)) for value in (level.start, after))
    kind: Literal["gain", "loss", "whole"] = "gain" if level.change.value >= 0 else "loss"
    return Bar(
        label=level.label,
        text=interval_text(level.change),
        kind="whole" if level.label == "total" else kind,
        y=_TOP + _ROW * place + 20,
        x=min(start, end),
        width=round(abs(end - start), 1),
        low_x=scale.x(low),
        value_x=end,
        high_x=scale.x(high),
        is_cut=not scale.low <= level.start <= scale.high,
    )
