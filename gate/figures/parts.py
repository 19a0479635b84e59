"""Figures in parts: what does not fit on one sheet of paper goes on in a figure after it."""

from collections.abc import Iterable, Iterator, Sequence

from gate.figures.figure import Figure
from gate.figures.strips import Panel, height_of

MOST_HEIGHT = 880.0
"""Pixels of a part; as many are on a sheet of A4, with a caption below."""


def in_parts(figure: Figure, specs: Sequence[str]) -> tuple[Figure, ...]:
    """The figure with the first of the specifications, and one more for each other."""
    first = figure._replace(spec=specs[0])
    others = (
        figure._replace(
            id=f"{figure.id}-{number}",
            title=f"{figure.title}, part {number} of {len(specs)}",
            caption="To be read as the first part.",
            spec=spec,
        )
        for number, spec in enumerate(specs[1:], start=2)
    )
    return (first, *others)


def fill(panels: Iterable[Panel], *, head: float = 0.0) -> Iterator[tuple[Panel, ...]]:
    """The panels in their order, as many to a part as fit; a panel that is too high is parted.

    Args:
        panels: what is to be drawn.
        head: pixels that a part has above its panels.
    """
    part: tuple[Panel, ...] = ()
    for panel in panels:
        for piece in _pieces(panel, head):
            if part and head + height_of((*part, piece)) > MOST_HEIGHT:
                yield part
                part = ()
            part = (*part, piece)
    if part:
        yield part


def _pieces(panel: Panel, head: float) -> Iterator[Panel]:
    """The panel, or as many as it takes so that each fits in a part."""
    most = len(panel.strips)
    while head + height_of((panel._replace(strips=panel.strips[:most]),)) > MOST_HEIGHT:
        most -= 1
    for start in range(0, len(panel.strips), most):
        again = ", continued" if start else ""
        yield panel._replace(
            title=panel.title + again,
            short=panel.short + again,
            strips=panel.strips[start : start + most],
        )
