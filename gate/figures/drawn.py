"""What is drawn of a record, made once for all that it can show."""

import json
from collections.abc import Callable, Mapping

from gate.figures.figure import Figure
from gate.figures.pictures import checks_picture
from gate.figures.timeless import content_id, keep_made, without_moment
from gate.records import Record

Draw = Callable[[Record], tuple[Figure, ...]]

_MOST_KEPT = 80
"""Twice the records whose figures are kept: some 300 kB each."""

_UNPICTURED = {"scores": (), "corpora": (), "distributions": ()}
"""The large parts of a record, none of which the picture shows."""


def draw_sections(record: Record, sections: Mapping[str, Draw]) -> dict[str, tuple[Figure, ...]]:
    """{section: its figures}, those that were kept where nothing that they show has changed.

    Args:
        record: what they show.
        sections: {section: what draws its figures}.
    """

    def draw(shown: Record) -> str:
        return json.dumps({section: draw(shown) for section, draw in sections.items()})

    kept = json.loads(_kept(record, ",".join(sections), draw))
    return {section: tuple(Figure(*one) for one in found) for section, found in kept.items()}


def draw_picture(record: Record) -> str:
    """The specification of `checks_picture`, the kept one where nothing it shows has changed."""
    return _kept(record.model_copy(update=_UNPICTURED), "picture", checks_picture)


def _kept(record: Record, name: str, draw: Callable[[Record], str]) -> str:
    """What is drawn of a record; nothing that draws is given its moment or its stages."""
    shown = without_moment(record).model_copy(update={"stages": ()})
    content = f"{name} of {content_id(shown)}"
    return keep_made("figures", content, lambda: draw(shown), most=_MOST_KEPT)
