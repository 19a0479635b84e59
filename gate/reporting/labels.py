"""Where names stand beside their marks so that they cover nothing, at every width of a figure."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Literal, NamedTuple

_LETTER, _ABOVE, _BELOW = 6.9, 10.0, 4.0
_LINE, _BESIDE, _OVER, _UNDER = 15.0, 10.0, 11.0, 19.0
_MARK = 7.0
_FARTHEST = 7


class Spot(NamedTuple):
    """A mark with its name.

    Attributes:
        x: share of the figure's width, in [0, 1].
        y: pixels from its top.
        text: the name.
    """

    x: float
    y: float
    text: str


class Place(NamedTuple):
    """Where a name stands, in pixels from its mark.

    Attributes:
        dx: to the right.
        dy: down, to its base line.
        align: which part of the name stands there.
        is_led: whether it stands so far away that a line should lead to it.
    """

    dx: float
    dy: float
    align: Literal["left", "center", "right"]
    is_led: bool


class Box(NamedTuple):
    """A rectangle that is taken, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Its area."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def overlap(self, other: "Box") -> float:
        """The area that both take."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        ).area


def place_names(
    spots: Sequence[Spot],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
    *,
    widths: Sequence[float],
    height: float,
) -> tuple[Place, ...]:
    """The place of each name that covers no mark, no other name and no line, or least of them.

    Args:
        spots: the marks.
        lines: corners of lines along the axes that names keep off, each as x and y of `Spot`.
        widths: of the figure, in pixels; a place has to be good at all of them.
        height: of the figure, in pixels.
    """
    taken = [[*_marks(spots, width), *_lines(lines, width)] for width in widths]
    found = []
    for spot in spots:
        costs = {
            place: sum(
                _covered(name_box(spot, place, width=width), boxes, Box(0, 0, width, height))
                for width, boxes in zip(widths, taken, strict=True)
            )
            for place in _places()
        }
        best = min(costs, key=lambda place: costs[place])
        found.append(best)
        for width, boxes in zip(widths, taken, strict=True):
            boxes.append(name_box(spot, best, width=width))
    return tuple(found)


def spread(heights: Sequence[float], *, apart: float, top: float, bottom: float) -> list[float]:
    """Heights near those given, so far apart that names there cover no other.

    Args:
        heights: where each name would stand best, in any order.
        apart: the least distance between two.
        top: the least of all heights.
        bottom: the greatest; names that do not fit in go beyond it.
    """
    order = sorted(range(len(heights)), key=lambda at: heights[at])
    found = list(heights)
    above = top - apart
    for at in order:
        above = found[at] = max(heights[at], above + apart)
    below = bottom + apart
    for at in reversed(order):
        below = found[at] = min(found[at], below - apart)
    shift = max(0.0, top - min(found, default=top))
    return [height + shift for height in found]


def name_box(spot: Spot, place: Place, *, width: float) -> Box:
    """What a name takes in a figure of this width."""
    length = len(spot.text) * _LETTER
    left = spot.x * width + place.dx
    left -= {"left": 0.0, "center": length / 2, "right": length}[place.align]
    base = spot.y + place.dy
    return Box(left, base - _ABOVE, left + length, base + _BELOW)


def mark_box(spot: Spot, *, width: float) -> Box:
    """What a mark takes in a figure of this width."""
    x = spot.x * width
    return Box(x - _MARK, spot.y - _MARK, x + _MARK, spot.y + _MARK)


def _marks(spots: Sequence[Spot], width: float) -> Iterator[Box]:
    for spot in spots:
        yield mark_box(spot, width=width)


def _lines(lines: Sequence[Sequence[tuple[float, float]]], width: float) -> Iterator[Box]:
    """What the pieces of the lines take, each along an axis."""
    for one, other in chain.from_iterable(map(pairwise, lines)):
        left, right = sorted((one[0] * width, other[0] * width))
        top, bottom = sorted((one[1], other[1]))
        yield Box(left - 2, top - 2, right + 2, bottom + 2)


def _covered(box: Box, taken: Sequence[Box], frame: Box) -> float:
    """What a box covers that is taken; what lies outside the frame counts tenfold."""
    return sum(box.overlap(other) for other in taken) + 10 * (box.area - box.overlap(frame))


def _places() -> Iterator[Place]:
    """From near to far; of places that are as good, the first is taken."""
    for lines in range(_FARTHEST):
        away, is_led = lines * _LINE, lines > 0
        yield Place(_BESIDE, 4 + away, "left", is_led)
        yield Place(-_BESIDE, 4 + away, "right", is_led)
        yield Place(0, -_OVER - away, "center", is_led)
        yield Place(0, _UNDER + away, "center", is_led)
        yield Place(_BESIDE, 4 - away, "left", is_led)
        yield Place(-_BESIDE, 4 - away, "right", is_led)
