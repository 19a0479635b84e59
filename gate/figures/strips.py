"""Strips: intervals against their bounds, in rows below a heading and above an axis."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Literal, NamedTuple

from gate import axes
from gate.figures.lettering import typeset
from gate.figures.sheet import (
    LETTER,
    Area,
    Band,
    Level,
    Mark,
    Rule,
    Sheet,
    State,
    Told,
    Words,
    join,
)
from gate.figures.theme import COLOURS, PALETTE
from gate.presentation import MISSING, bounds, exact, no_difference, short_unit
from gate.result_records import Estimate
from gate.terms import Check

_ROW, _LABEL = 32.0, 16.0
_HEAD, _FOOT, _GAP = 46.0, 20.0, 22.0
"""Heights in pixels: of a row, of its label where that stands above it, of a panel's ends."""

_CLOSE = 50.0
"""Percent of the plot; two bounds nearer than this leave no room for both labels between them."""

_NEAR_LEFT, _NEAR_RIGHT = 30.0, 70.0
"""Percent of the plot; a label beyond is not centred, or it would reach out of the plot."""

_SPREAD = (0.32, 0.68)
"""From where to where an interval's end lines go, in a row."""


class Limits(NamedTuple):
    """What a value has to keep to; None where there is no bound."""

    at_least: float | None
    at_most: float | None


class Axis(NamedTuple):
    """What intervals are drawn on, from 0 at its left end to 100 at its right."""

    unit: str
    low: float
    high: float

    def x(self, value: float) -> float:
        """The place of a value, or the end of the axis that it lies beyond."""
        return min(100.0, max(0.0, self.place(value)))

    def place(self, value: float) -> float:
        """The place of a value; below 0 or above 100 where it is off the axis."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def has(self, value: float) -> bool:
        """Whether a value is on the axis."""
        return self.low <= value <= self.high


class Strip(NamedTuple):
    """One interval.

    Attributes:
        name: whose it is.
        detail: of what, in a second line.
        short: both, where there is room for one line only.
        estimate: the interval; None where nothing was measured.
        limits: what it has to keep to.
        state: the shape and colour of its mark.
        found: the estimate and its interval in words.
        value: the estimate alone.
        words: what it comes to.
        facts: what is told of it when it is pointed at.
    """

    name: str
    detail: str
    short: str
    estimate: Estimate | None
    limits: Limits
    state: State
    found: str
    value: str
    words: str
    facts: Mapping[str, str]


class Panel(NamedTuple):
    """Strips on one axis.

    Attributes:
        title: what they have in common.
        short: the same, where there is less room.
        aside: what the axis counts.
        axis: theirs.
        bounds: those that all of them have, to be written over the plot.
        strips: from the first to the last.
    """

    title: str
    short: str
    aside: str
    axis: Axis
    bounds: Limits
    strips: tuple[Strip, ...]


def span(check: Check, found: Iterable[Estimate], unit: str, *, is_whole: bool = False) -> Axis:
    """An axis for a check's bounds and the estimates near them, or all of them."""
    found = tuple(found)
    ends = [end for one in found for end in (one.low, one.high)] if is_whole else []
    low, high = axes.span((*bounds(check), *ends), found, neutral=no_difference(unit))
    return Axis(unit, low, high)


def height_of(panels: Iterable[Panel]) -> float:
    """How high the panels are below each other, in pixels."""
    heights = [_HEAD + _ROW * len(panel.strips) + _FOOT for panel in panels]
    return sum(heights) + _GAP * (len(heights) - 1)


def draw_panels(panels: Iterable[Panel], *, top: float = 0.0) -> Sheet:
    """The panels below each other, from a height on."""
    drawn = []
    for panel in panels:
        drawn.append(_panel(panel, top))
        top = drawn[-1].height + _GAP
    return join(drawn)


def _panel(panel: Panel, top: float) -> Sheet:
    """A panel's heading, its strips and its ticks."""
    first = top + _HEAD
    end = first + _ROW * len(panel.strips)
    heading = (*_heading(panel, top), *_bound_labels(panel, first - 9))
    rows = (
        _strip(strip, panel.axis, first + _ROW * place) for place, strip in enumerate(panel.strips)
    )
    grounds = _grounds(panel, first)
    return join((Sheet(end, words=heading), *grounds, *rows, _ticks(panel.axis, end)))


def _heading(panel: Panel, top: float) -> Iterable[Words]:
    ink, lines = PALETTE["ink"], Level(top + 8, top + 8)
    free = LETTER * len(panel.aside) + 24
    yield Words(0, lines, panel.title, panel.short, "left", colour=ink, is_bold=True, free=free)
    below = Level(top + 8, top + 23)
    yield Words(0, below, panel.aside, "", "right", "right")
    yield Words(0, below, "", panel.aside, "left")


def _bound_labels(panel: Panel, y: float) -> Iterable[Words]:
    """The bounds in words; of two that are close, turned away from each other."""
    words = (("at least", panel.bounds.at_least), ("at most", panel.bounds.at_most))
    there = [(word, bound) for word, bound in words if bound is not None]
    places = [panel.axis.x(bound) for _, bound in there]
    sides = [_side(x) for x in places]
    if len(places) > 1 and places[1] - places[0] <= _CLOSE:
        sides = ["right", "left"]
    for (word, bound), x, side in zip(there, places, sides, strict=True):
        text = typeset(f"{word} {exact(bound, short_unit(panel.axis.unit))}")
        yield Words(x, Level(y, y), text, text, align=side, colour=PALETTE["ink"])


def _side(x: float) -> Literal["left", "center", "right"]:
    return "left" if x < _NEAR_LEFT else "right" if x > _NEAR_RIGHT else "center"


def _ticks(axis: Axis, y: float) -> Sheet:
    marked = list(axes.ticks(axis.low, axis.high, axis.unit))
    lines = (
        Rule(axis.x(at), axis.x(at), Level(y, y), Level(y + 4, y + 4), PALETTE["soft"], 1)
        for at, _ in marked
    )
    labels = (
        Words(axis.x(at), Level(y + 13, y + 13), typeset(text), typeset(text), align="center")
        for at, text in marked
    )
    return Sheet(y + _FOOT, rules=tuple(lines), words=tuple(labels))


def _strip(strip: Strip, axis: Axis, top: float) -> Sheet:
    """The label, the interval and what was found."""
    said = Sheet(
        top + _ROW,
        bands=(Band(top, top + _LABEL),),
        words=tuple(_labels(strip, top)),
        told=(Told(top, top + _ROW, strip.facts),),
    )
    return join((said, _interval(strip, axis, top)))


def _labels(strip: Strip, top: float) -> Iterable[Words]:
    ink, narrow = PALETTE["ink"], top + _LABEL / 2 - 1.5
    first, second = Level(top + 9.5, narrow), Level(top + 23.5, narrow)
    yield Words(0, first, strip.name, strip.short, "left", colour=ink, is_label=True)
    yield Words(0, second, strip.detail, "", "left", is_label=True)
    yield Words(0, first, strip.found, strip.value, "right", "right", colour=ink)
    colour = COLOURS[strip.state]
    yield Words(0, second, strip.words, "", "right", "right", colour=colour)


def _at(top: float, share: float) -> Level:
    """A height in a row's plot, which lies beside its label or below it."""
    return Level(top + _ROW * share, top + _LABEL + (_ROW - _LABEL) * share)


def _grounds(panel: Panel, top: float) -> Iterable[Sheet]:
    """What the intervals stand on: one stretch for strips in succession with the same limits."""
    for limits, strips in groupby(panel.strips, key=lambda strip: strip.limits):
        bottom = top + _ROW * len(tuple(strips))
        yield _ground(limits, panel.axis, top, bottom)
        top = bottom


def _ground(limits: Limits, axis: Axis, top: float, bottom: float) -> Sheet:
    """The allowed region, the bounds and the line of no difference."""
    start, end = Level(top, top), Level(bottom, bottom)
    rules = []
    neutral = no_difference(axis.unit)
    if axis.has(neutral):
        x = axis.x(neutral)
        rules.append(Rule(x, x, start, end, PALETTE["soft"], 1.5, (1, 3)))
    bounds = [bound for bound in limits if bound is not None]
    rules += [Rule(axis.x(b), axis.x(b), start, end, PALETTE["ink"]) for b in bounds]
    if not bounds:
        return Sheet(bottom, rules=tuple(rules))
    left = 0.0 if limits.at_least is None else axis.x(limits.at_least)
    right = 100.0 if limits.at_most is None else axis.x(limits.at_most)
    return Sheet(bottom, areas=(Area(left, right, start, end),), rules=tuple(rules))


def _interval(strip: Strip, axis: Axis, top: float) -> Sheet:
    """A line from end to end with the estimate on it; arrows where it goes on beyond the axis."""
    found, middle = strip.estimate, _at(top, 0.5)
    if found is None:
        missing = Words(50, middle, MISSING, MISSING, align="center")
        return Sheet(top + _ROW, words=(missing,))
    colour = COLOURS[strip.state]
    rules = [Rule(axis.x(found.low), axis.x(found.high), middle, middle, colour, 2)]
    low, high = (_at(top, share) for share in _SPREAD)
    ends = [end for end in (found.low, found.high) if axis.has(end) and found.low < found.high]
    rules += [Rule(axis.x(end), axis.x(end), low, high, colour, 2) for end in ends]
    marks = [Mark(at, middle, strip.state, shape) for at, shape in _arrows(found, axis)]
    if axis.has(found.value):
        marks.append(Mark(axis.x(found.value), middle, strip.state))
    return Sheet(top + _ROW, rules=tuple(rules), marks=tuple(marks))


def _arrows(found: Estimate, axis: Axis) -> Iterable[tuple[float, str]]:
    if found.low < axis.low:
        yield 0.0, "triangle-left"
    if found.high > axis.high:
        yield 100.0, "triangle-right"
