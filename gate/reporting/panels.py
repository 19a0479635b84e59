"""The figures of checks: each interval against its bound, on an axis from 0 to 100."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from gate import axes, presentation
from gate.records import Record
from gate.result_records import CheckResult, Estimate, Outcome
from gate.terms import Check

_CLOSE = 50.0
"""Two bounds nearer to each other than this leave no room for both labels between them."""


class Bound(NamedTuple):
    """A bound as a line in the figure, with its label placed where the page has room for it."""

    x: float
    label: str
    text_anchor: Literal["start", "middle", "end"]


class Tick(NamedTuple):
    """A labelled place on a figure's axis."""

    x: float
    label: str


class Spot(NamedTuple):
    """Where an estimate and its interval stand on an axis."""

    low_x: float
    value_x: float
    high_x: float
    beyond: Literal["left", "right"] | None


class Axis(NamedTuple):
    """What the intervals of one check in one unit are drawn on.

    Attributes:
        unit: what it counts; empty where nothing was measured.
        low: its left end.
        high: its right end.
        bounds: the bounds' lines.
        allowed_x: where the region within the bounds begins and ends.
        neutral_x: where no difference lies; None where that is off the axis.
        ticks: labelled places.
    """

    unit: str
    low: float
    high: float
    bounds: tuple[Bound, ...]
    allowed_x: tuple[float, float]
    neutral_x: float | None
    ticks: tuple[Tick, ...]

    def x(self, value: float) -> float:
        """The place of a value; below 0 or above 100 where it is off the axis."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def spot(self, estimate: Estimate) -> Spot:
        """The places of an estimate, kept on the axis."""
        ends = (estimate.low, estimate.value, estimate.high)
        low, value, high = (min(100.0, max(0.0, self.x(end))) for end in ends)
        return Spot(low, value, high, axes.beyond(estimate.value, self.low, self.high))


class Row(NamedTuple):
    """One check result in the figure; it has no spot where nothing was measured."""

    number: int
    result: CheckResult
    spot: Spot | None


class Panel(NamedTuple):
    """The results of one check in one unit; `result` is any of them, to name the check by."""

    result: CheckResult
    axis: Axis
    rows: tuple[Row, ...]


class Line(NamedTuple):
    """One estimate of a check: of all documents, of a slice, of a look.

    Attributes:
        name: whose it is.
        estimate: what was found.
        spot: where it stands.
        state: the shape and colour of its mark; 'neutral' where it decides nothing.
        words: what stands beside the mark.
    """

    name: str
    estimate: Estimate
    spot: Spot
    state: Outcome | Literal["neutral"]
    words: str


class Forest(NamedTuple):
    """The estimates of one check below each other; `number` is the check's in the record."""

    number: int
    result: CheckResult
    axis: Axis
    lines: tuple[Line, ...]

    @property
    def has_collapsed(self) -> bool:
        """Whether a slice of the check has."""
        return any(one.has_collapsed for one in self.result.slices)


def draw_panels(record: Record) -> Iterable[Panel]:
    """The figure: a panel for each check and unit, in the order of the results."""
    numbered = list(enumerate(record.results, start=1))
    units: dict[str, str] = {}
    for _, result in numbered:
        if result.estimate is not None:
            units.setdefault(result.check.model_dump_json(), result.estimate.unit)

    def place(item: tuple[int, CheckResult]) -> tuple[str, str]:
        check = item[1].check.model_dump_json()
        estimate = item[1].estimate
        return check, estimate.unit if estimate else units.get(check, "")

    order = {key: index for index, key in reversed(list(enumerate(map(place, numbered))))}
    for (_, unit), items in groupby(sorted(numbered, key=lambda i: order[place(i)]), key=place):
        yield _panel(tuple(items), unit)


def _panel(items: tuple[tuple[int, CheckResult], ...], unit: str) -> Panel:
    first = items[0][1]
    axis = _axis(first.check, [result.estimate for _, result in items if result.estimate], unit)
    rows = (
        Row(number, result, axis.spot(result.estimate) if result.estimate else None)
        for number, result in items
    )
    return Panel(first, axis, tuple(rows))


def draw_slices(record: Record) -> Iterable[Forest]:
    """For each check with slices: all documents, then its slices, those that collapsed first."""
    for number, result in enumerate(record.results, start=1):
        if not result.slices or result.estimate is None:
            continue
        estimates = [result.estimate, *(one.estimate for one in result.slices)]
        axis = _whole_axis(result.check, estimates)
        words = presentation.OUTCOME_WORDS[result.outcome]
        lines = [_line(axis, "all documents", result.estimate, result.outcome, words)]
        lines += [
            _line(axis, one.slice, one.estimate, "fail", "collapsed")
            if one.has_collapsed
            else _line(axis, one.slice, one.estimate, "neutral", "not collapsed")
            for one in sorted(result.slices, key=lambda one: not one.has_collapsed)
        ]
        yield Forest(number, result, axis, tuple(lines))


def draw_looks(record: Record) -> Iterable[Forest]:
    """For each sequential check: every look up to the one that decided, or the last."""
    for number, result in enumerate(record.results, start=1):
        if not result.looks:
            continue
        axis = _whole_axis(result.check, [look.estimate for look in result.looks])
        last = len(result.looks) - 1
        lines = (
            _line(
                axis,
                presentation.count(look.documents, "document"),
                look.estimate,
                result.outcome if place == last else "neutral",
                presentation.OUTCOME_WORDS[result.outcome] if place == last else "goes on",
            )
            for place, look in enumerate(result.looks)
        )
        yield Forest(number, result, axis, tuple(lines))


def _line(
    axis: Axis,
    name: str,
    estimate: Estimate,
    state: Outcome | Literal["neutral"],
    words: str,
) -> Line:
    return Line(name, estimate, axis.spot(estimate), state, words)


def _whole_axis(check: Check, estimates: Sequence[Estimate]) -> Axis:
    """An axis that every interval is on, however far from the bounds."""
    ends = [end for one in estimates for end in (one.low, one.high)]
    return _axis(check, estimates, estimates[0].unit, kept=ends)


def _axis(
    check: Check, estimates: Sequence[Estimate], unit: str, *, kept: Sequence[float] = ()
) -> Axis:
    """An axis for the bounds, the estimates near them, and the values that are to be kept on it."""
    neutral = presentation.no_difference(unit)
    low, high = axes.span((*presentation.bounds(check), *kept), estimates, neutral=neutral)
    bare = Axis(unit, low, high, (), (0.0, 100.0), None, ())
    left = 0.0 if check.at_least is None else max(0.0, bare.x(check.at_least))
    right = 100.0 if check.at_most is None else min(100.0, bare.x(check.at_most))
    limits = (("at least", check.at_least), ("at most", check.at_most))
    bounds = [_bound(bare.x(b), word, b, unit) for word, b in limits if b is not None]
    return bare._replace(
        bounds=tuple(_parted(bounds)),
        allowed_x=(left, right),
        neutral_x=bare.x(neutral) if low <= neutral <= high else None,
        ticks=tuple(Tick(bare.x(at), label) for at, label in axes.ticks(low, high, unit)),
    )


def _bound(x: float, word: str, value: float, unit: str) -> Bound:
    is_left, is_right = x < 30, x > 70  # noqa: PLR2004 - where a centred label would be cut off
    text_anchor: Literal["start", "middle", "end"] = (
        "start" if is_left else "end" if is_right else "middle"
    )
    return Bound(
        x, f"{word} {presentation.exact(value, presentation.short_unit(unit))}", text_anchor
    )


def _parted(bounds: Sequence[Bound]) -> Iterable[Bound]:
    """The bounds, the labels of two that are close turned away from each other."""
    if len(bounds) < 2 or bounds[1].x - bounds[0].x > _CLOSE:  # noqa: PLR2004 - lower and upper
        return bounds
    return bounds[0]._replace(text_anchor="end"), bounds[1]._replace(text_anchor="start")
