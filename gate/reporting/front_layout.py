"""Quality against a cost, laid out: what its axes span, its efficient front, where names stand."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from gate.presentation import one_line, percent
from gate.reporting.labels import Place, Spot, place_names
from gate.reporting.serving_views import Better, Point, efficient_front

HEIGHT = 280
"""Of the plot, in pixels."""

_LEAST_SHARE, _MOST_OF_THE_AXIS = 0.8, 0.95
"""The axis of quality never begins above the second, and what keeps less than the first is off."""

_ABOVE, _BELOW, _BESIDE = 0.12, 0.04, 1.12
_NAME = 22


class Frame(NamedTuple):
    """What the axes span: costs from zero to the widest, shares from low to high."""

    widest: float
    low: float
    high: float

    def corner(self, cost: float, share: float) -> tuple[float, float]:
        """The share of the width and the pixels from the top at which both meet."""
        kept = max(share, self.low)
        return cost / self.widest, HEIGHT * (self.high - kept) / (self.high - self.low)


class Dot(NamedTuple):
    """A variant in the plot.

    Attributes:
        point: what was measured of it.
        cost: its place along the horizontal axis.
        is_efficient: whether it is on the front.
        is_beyond: whether it keeps less than the axis shows.
        label: its name, and its share where that is beyond the axis.
        place: where its name stands.
    """

    point: Point
    cost: float
    is_efficient: bool
    is_beyond: bool
    label: str
    place: Place


class Layout(NamedTuple):
    """Quality against one cost.

    Attributes:
        frame: what the axes span.
        dots: one a variant whose cost was measured.
        stairs: corners of the line along the efficient front, each a cost and a share.
    """

    frame: Frame
    dots: tuple[Dot, ...]
    stairs: tuple[tuple[float, float], ...]


def lay_out(
    found: Sequence[Point],
    cost: Callable[[Point], float | None],
    *,
    better: Better,
    widths: Sequence[float],
) -> Layout | None:
    """The points with a cost; None where there are none.

    Args:
        found: the variants.
        cost: what each costs, or gives, besides quality.
        better: whether a smaller or a larger one is better.
        widths: pixels of width at which no name is to cover anything.
    """
    costs = {point: at for point in found if (at := cost(point)) is not None}
    if not costs:
        return None
    frame = _frame([(at, point.kept.share) for point, at in costs.items()])
    front = efficient_front(tuple(costs), cost, better=better)
    stairs = _stairs([(costs[point], point.kept.share) for point in front])
    labels = {point: _label(point, frame) for point in costs}
    places = place_names(
        [Spot(*frame.corner(at, point.kept.share), labels[point]) for point, at in costs.items()],
        [
            [frame.corner(*corner) for corner in stairs],
            [frame.corner(0.0, 1.0), frame.corner(frame.widest, 1.0)],
        ],
        widths=widths,
        height=HEIGHT,
    )
    dots = tuple(
        Dot(point, at, point in front, point.kept.share < frame.low, labels[point], place)
        for (point, at), place in zip(costs.items(), places, strict=True)
    )
    return Layout(frame, dots, stairs)


def _frame(values: Sequence[tuple[float, float]]) -> Frame:
    """What the axes span, by the cost and the share of each variant."""
    shares = [share for _, share in values]
    least = max(_LEAST_SHARE, min(*shares, _MOST_OF_THE_AXIS))
    most = max(*shares, 1.0)
    return Frame(
        widest=_BESIDE * (max(cost for cost, _ in values) or 1.0),
        low=least - _BELOW * (most - least),
        high=most + _ABOVE * (most - least),
    )


def _stairs(places: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """A staircase from the best cost to the most quality: what is below it, something beats."""
    corners = list(places[:1])
    for (_, before), (cost, share) in pairwise(places):
        corners += [(cost, before), (cost, share)]
    return tuple(corners)


def _label(point: Point, frame: Frame) -> str:
    label = one_line(point.variant, _NAME)
    is_beyond = point.kept.share < frame.low
    return f"{label} {percent(point.kept.share, decimals=0)}" if is_beyond else label
