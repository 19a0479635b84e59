"""What is made of a record, kept whatever the moment of the run that found it."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic_core import PydanticSerializationError

import gate
from gate.digest import digest_json
from gate.figures.kept import keep
from gate.records import Record
from gate.reporting.record_text import record_pieces

_NO_MOMENT = datetime(1, 1, 1, tzinfo=UTC)
_MAKERS = ("altair", "jinja2", "markupsafe", "vl-convert-python")
_SOURCES = {".py", ".j2", ".css", ".js"}


def without_moment(record: Record) -> Record:
    """A record that tells neither when it was judged nor which stages the store had before.

    That is all in which a run that found what an earlier one did differs from it, so that what is
    made of the earlier run, shown this, is made of the later one too.
    """
    stages = tuple(one.model_copy(update={"is_cached": False}) for one in record.stages)
    provenance = record.provenance.model_copy(update={"created_at": _NO_MOMENT})
    return record.model_copy(update={"stages": stages, "provenance": provenance})


def content_id(record: Record) -> str:
    """The sha256 hex digest of all that a record holds, which therefore cannot hold it."""
    content = hashlib.sha256()
    try:
        for piece in record_pieces(record):
            content.update(piece)
    except PydanticSerializationError:  # it holds half a character, which JSON cannot
        content.update(repr(record).encode(errors="surrogatepass"))
    return content.hexdigest()


def keep_made(name: str, content: str, make: Callable[[], str], *, most: int) -> str:
    """What is made of a record: kept by what it holds, and by the code that makes it.

    Args:
        name: of what is made, and of the folder of the user's cache that it is kept in.
        content: the record's `content_id`.
        make: makes it.
        most: how many are kept.
    """
    key = digest_json([name, content, *_made_by()])
    try:
        return keep(name, key, lambda: make().encode(), most=most).decode()
    except UnicodeEncodeError:  # half a character cannot be kept
        return make()


@cache
def _made_by() -> tuple[str, ...]:
    """The code that makes something of records: the gate's own, and what draws and writes."""
    code = hashlib.sha256()
    for file in sorted(Path(gate.__file__).parent.rglob("*")):
        if file.suffix in _SOURCES:
            code.update(file.read_bytes())
    return code.hexdigest(), *(metadata.version(one) for one in _MAKERS)
