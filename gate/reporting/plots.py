"""The figure of quality against cost: where marks, their labels and the efficient front stand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from gate import axes
from gate.presentation import one_line, percent, size
from gate.records import Record
from gate.reporting.serving_views import Better, Point, efficient_front, points
from gate.result_records import Verdict

WIDTH, HEIGHT = 480, 320
"""The figure's own units; a page scales it."""

LEFT, RIGHT, TOP, BOTTOM = 58.0, 462.0, 44.0, 268.0
"""The frame that the marks stand in."""

_LEAST_SHARE, _MOST_OF_THE_AXIS = 0.8, 0.95
"""The axis of quality never begins above the second, and what keeps less than the first is off."""

_LETTER = 9.6
_LINE = 17.0
_MARK = 8.0
_NAME = 22
_MARKS: dict[Verdict, str] = {
    "promote": "pass",
    "block": "fail",
    "inconclusive": "inconclusive",
    "error": "error",
}


class Tick(NamedTuple):
    """A labelled place on an axis."""

    at: float
    label: str


class Dot(NamedTuple):
    """A variant in the figure.

    Attributes:
        point: what it is.
        x: place of its mark.
        y: place of its mark; at the bottom where it keeps too little for the axis.
        mark: the outcome whose shape it has; 'neutral' without a verdict.
        is_efficient: whether it is on the front.
        is_beyond: whether it keeps less than the axis shows.
        label: its name, and its share where that is beyond the axis.
        label_x: where the label stands.
        label_y: its base line.
        text_anchor: which part of the label stands there.
        is_led: whether a line leads from the mark to its label, because others stand between.
    """

    point: Point
    x: float
    y: float
    mark: str
    is_efficient: bool
    is_beyond: bool
    label: str
    label_x: float
    label_y: float
    text_anchor: Literal["start", "middle", "end"]
    is_led: bool


class Plot(NamedTuple):
    """Quality against one cost.

    Attributes:
        title: what it shows.
        summary: the same in words, for who cannot see it.
        x_label: what the horizontal axis counts, and which end is better.
        dots: one a variant.
        front: corners of the line along the efficient front, as SVG points.
        x_ticks: places on the horizontal axis.
        y_ticks: places on the vertical axis.
        whole_y: where all of the adapter's score is kept.
    """

    title: str
    summary: str
    x_label: str
    dots: tuple[Dot, ...]
    front: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    whole_y: float


class _Box(NamedTuple):
    """A rectangle that is taken: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "_Box") -> float:
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def outside(self) -> float:
        """How much of it lies outside the frame."""
        area = (self.right - self.left) * (self.bottom - self.top)
        return area - self.overlap(_Box(LEFT, TOP - 20, RIGHT + 10, BOTTOM))


class _Frame(NamedTuple):
    """What the axes span: costs from zero to the widest, shares from low to high."""

    widest: float
    low: float
    high: float

    def x(self, cost: float) -> float:
        return LEFT + (RIGHT - LEFT) * cost / self.widest

    def y(self, share: float) -> float:
        height = (max(share, self.low) - self.low) / (self.high - self.low)
        return BOTTOM - (BOTTOM - TOP) * height


class _Place(NamedTuple):
    x: float
    y: float
    anchor: Literal["start", "middle", "end"]
    is_far: bool


def draw_plots(record: Record) -> tuple[Plot, ...]:
    """Quality against size on disk and against decode throughput; none of what has no points."""
    found = points(record)
    plots = (
        _plot(found, lambda point: point.size_bytes, "size on disk", "smaller"),
        _plot(found, lambda point: point.decode, "decode throughput", "larger"),
    )
    return tuple(plot for plot in plots if plot.dots)


def _plot(
    found: Sequence[Point], cost: Callable[[Point], float | None], name: str, better: Better
) -> Plot:
    drawn = [point for point in found if cost(point) is not None]
    front = efficient_front(drawn, cost, better=better)
    frame = _frame([(cost(point) or 0.0, point.kept.share) for point in drawn])
    spots = {point: (frame.x(cost(point) or 0.0), frame.y(point.kept.share)) for point in drawn}
    corners = _corners([spots[point] for point in front])
    whole = frame.y(1.0)
    lines = [_line_box(*ends) for ends in (*pairwise(corners), ((LEFT, whole), (RIGHT, whole)))]

    def say(value: float) -> str:
        return size(round(value)) if value and better == "smaller" else f"{value:,.4g}"

    return Plot(
        title=f"Quality against {name}",
        summary=_summary(drawn, front, lambda point: _cost_words(cost(point), better)),
        x_label=_axis_label(name, better),
        dots=tuple(_dots(spots, front, lines=lines, least=frame.low)),
        front=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners),
        x_ticks=tuple(Tick(frame.x(at), say(at)) for at in _ticks(0, frame.widest)),
        y_ticks=tuple(
            Tick(frame.y(at), percent(at, decimals=0)) for at in _ticks(frame.low, frame.high)
        ),
        whole_y=whole,
    )


def _frame(values: Sequence[tuple[float, float]]) -> _Frame:
    """What the axes span, by the cost and the share of each variant."""
    shares = [share for _, share in values]
    return _Frame(
        widest=1.12 * max((cost for cost, _ in values), default=1.0),
        low=max(_LEAST_SHARE, min(*shares, _MOST_OF_THE_AXIS, 1.0)) - 0.02,
        high=max(*shares, 1.0, 0.0) + 0.01,
    )


def _axis_label(name: str, better: Better) -> str:
    return f"← better: {name}" if better == "smaller" else f"{name}, tokens/s: better →"


def _cost_words(value: float | None, better: Better) -> str:
    return size(round(value or 0)) if better == "smaller" else f"{value or 0:,.3g} tokens/s"


def _summary(drawn: Sequence[Point], front: Sequence[Point], say: Callable[[Point], str]) -> str:
    told = [
        f"{point.variant} keeps {percent(point.kept.share)} at {say(point)}"
        f"{', on the efficient front' if point in front else ''}"
        for point in drawn
    ]
    return "; ".join(told) + "."


def _ticks(low: float, high: float) -> list[float]:
    return [value for value, _ in axes.ticks(low, high, "")]


def _corners(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A staircase from the best cost to the most quality: what is below it, something beats."""
    corners = list(places[:1])
    for (_, before), (x, y) in pairwise(places):
        corners += [(x, before), (x, y)]
    return corners


def _line_box(one: tuple[float, float], other: tuple[float, float]) -> _Box:
    """What a line along an axis takes."""
    (left, right), (top, bottom) = (sorted(ends) for ends in zip(one, other, strict=True))
    return _Box(left - 2, top - 2, right + 2, bottom + 2)


def _dots(
    spots: Mapping[Point, tuple[float, float]],
    front: Sequence[Point],
    *,
    lines: Sequence[_Box],
    least: float,
) -> Iterator[Dot]:
    marks = [_Box(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in spots.values()]
    taken = [*marks, *lines]
    for point, (x, y) in spots.items():
        is_beyond = point.kept.share < least
        label = one_line(point.variant, _NAME)
        if is_beyond:
            label += f" {percent(point.kept.share, decimals=0)}"
        place = _free_place(x, y, len(label) * _LETTER, taken)
        taken.append(_label_box(place, len(label) * _LETTER))
        yield Dot(
            point=point,
            x=round(x, 1),
            y=round(y, 1),
            mark=_MARKS[point.verdict] if point.verdict else "neutral",
            is_efficient=point in front,
            is_beyond=is_beyond,
            label=label,
            label_x=round(place.x, 1),
            label_y=round(place.y, 1),
            text_anchor=place.anchor,
            is_led=place.is_far,
        )


def _free_place(x: float, y: float, width: float, taken: Sequence[_Box]) -> _Place:
    """Where a label beside a mark covers nothing, or least."""

    def covered(place: _Place) -> float:
        box = _label_box(place, width)
        return sum(box.overlap(other) for other in taken) + 10 * box.outside()

    return min(_places(x, y), key=covered)


def _places(x: float, y: float) -> Iterator[_Place]:
    for lines in range(7):
        away, is_far = lines * _LINE, lines > 0
        yield _Place(x + 12, y + 5 + away, "start", is_far)
        yield _Place(x - 12, y + 5 + away, "end", is_far)
        yield _Place(x, y - 13 - away, "middle", is_far)
        yield _Place(x, y + 23 + away, "middle", is_far)
        yield _Place(x + 12, y + 5 - away, "start", is_far)
        yield _Place(x - 12, y + 5 - away, "end", is_far)


def _label_box(place: _Place, width: float) -> _Box:
    left = {"start": 0.0, "middle": -width / 2, "end": -width}[place.anchor] + place.x
    return _Box(left, place.y - 13, left + width, place.y + 4)
