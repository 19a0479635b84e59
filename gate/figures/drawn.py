"""What is drawn of a record, made once for all that it can show."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic_core import PydanticSerializationError

import gate
from gate.digest import digest_json
from gate.figures.figure import Figure
from gate.figures.kept import keep
from gate.figures.pictures import checks_picture
from gate.records import Record

Draw = Callable[[Record], tuple[Figure, ...]]

_NO_MOMENT = datetime(1, 1, 1, tzinfo=UTC)
_MOST_KEPT = 80
"""Twice the records whose figures are kept: some 300 kB each."""


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
    return _kept(record, "picture", checks_picture)


def _kept(record: Record, name: str, draw: Callable[[Record], str]) -> str:
    """What is drawn of a record, kept by what is drawn and by the code that draws it.

    A run that found what an earlier one did differs from it in its moment, and in which stages it
    took from the store. Nothing that draws is given these, so that what was drawn of the earlier
    run is of this one too.
    """
    provenance = record.provenance.model_copy(update={"created_at": _NO_MOMENT})
    shown = record.model_copy(update={"stages": (), "provenance": provenance})
    try:
        content = hashlib.sha256(shown.model_dump_json().encode()).hexdigest()
    except PydanticSerializationError:  # it holds half a character, which JSON cannot
        return draw(shown)
    key = digest_json([name, content, *_drawn_by()])
    return keep("figures", key, lambda: draw(shown).encode(), most=_MOST_KEPT).decode()


@cache
def _drawn_by() -> tuple[str, str]:
    """The code that makes figures of records: the gate's own and Altair's."""
    code = hashlib.sha256()
    for file in sorted(Path(gate.__file__).parent.rglob("*.py")):
        code.update(file.read_bytes())
    return code.hexdigest(), metadata.version("altair")
