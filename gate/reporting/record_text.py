"""A record as the text of record.json, in pieces: documents and samples a few at a time."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from gate.evaluation_records import Document, Sample
from gate.records import Record
from gate.tables import Table

_BLOCK = 2_000
"""Records that are written at once."""

_EMPTY = re.compile(rb'\n( +)"(?:documents|samples)": \[\]')
_KEYS = (b"corpora", b"scores", b"released")
"""Fields of a record that hold tables: of a record's own nouns, each at its end of the line."""

_documents = TypeAdapter(tuple[Document, ...]).dump_json
_samples = TypeAdapter(tuple[Sample, ...]).dump_json


def record_pieces(record: Record) -> Iterator[bytes]:
    """What `record.model_dump_json(indent=1)` gives, as UTF-8, piece by piece.

    In one piece it would take several times the memory of the record.
    """
    text = _without_tables(record).model_dump_json(indent=1).encode()
    done = 0
    for (end, indent), table in zip(_places(text), _tables(record), strict=True):
        yield text[done:end]
        yield from _lines(table, indent)
        done = end
    yield text[done:]


def _without_tables(record: Record) -> Record:
    released = record.released
    if released is not None:
        bare = [one.model_copy(update={"samples": ()}) for one in released.scores]
        released = released.model_copy(update={"scores": tuple(bare)})
    corpora = [one.model_copy(update={"documents": ()}) for one in record.corpora]
    scores = [one.model_copy(update={"samples": ()}) for one in record.scores]
    return record.model_copy(
        update={"corpora": tuple(corpora), "scores": tuple(scores), "released": released}
    )


def _tables(record: Record) -> Iterator[Table[Document] | Table[Sample]]:
    """The tables of a record, in the order in which they are written."""
    yield from (one.documents for one in record.corpora)
    yield from (one.samples for one in record.scores)
    yield from (one.samples for one in (record.released.scores if record.released else ()))


def _places(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each empty table's list ends, before its bracket, and the blanks before its key.

    A line break begins a line of the file and nothing else: in a text it is written otherwise.
    """
    for key in _KEYS:
        start = text.index(b'\n "' + key + b'":')
        end = re.compile(rb'\n["}]|\n "').search(text, start + 1)
        for found in _EMPTY.finditer(text, start, end.start() if end else len(text)):
            yield found.end() - 1, found[1]


def _lines(table: Table[Document] | Table[Sample], indent: bytes) -> Iterator[bytes]:
    """The lines of a list's records, and of its closing bracket all but that."""
    for start in range(0, len(table), _BLOCK):
        text = _dumped(table[start : start + _BLOCK])
        comma = b"," if start else b""
        yield comma + text[1:-2].replace(b"\n", b"\n" + indent)
    if len(table):
        yield b"\n" + indent


def _dumped(records: Table[Document] | Table[Sample]) -> bytes:
    """Some records as a list, with line breaks."""
    made: tuple[Any, ...] = tuple(records)
    dump = _documents if isinstance(made[0], Document) else _samples
    return dump(made, indent=1)
