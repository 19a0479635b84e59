"""Evaluations of many variants in one process: read in pieces, and what is the same held once."""

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter

from gate.evaluation_records import Document, Evaluation, Sample
from gate.tables import Known, Table

_DOCUMENTS, _SAMPLES, _END = b',"documents":[', b'],"samples":[', b"]}"
# no text of a JSON file has a quotation mark in it without a backslash before it
_BETWEEN = b'},{"id":'
_PIECE_BYTES = 1 << 20

_read_documents = TypeAdapter(tuple[Document, ...]).validate_json
_read_samples = TypeAdapter(tuple[Sample, ...]).validate_json


class Shared:
    """Reads evaluations; what it has seen, such as documents and hashes, is not held again.

    The samples of 100,000 documents of four choices take 5 MB for each variant then.
    """

    def __init__(self) -> None:
        """Nothing has been seen."""
        self._known: Known = {}
        self._pieces: dict[bytes, Table[Document]] = {}
        self._documents: dict[str, Table[Document]] = {}
        self._samples: dict[str, Table[Sample]] = {}

    def read(self, file: Path) -> Evaluation:
        """An evaluation from its file, of which no more than a piece is in memory at once.

        Raises:
            ValidationError: it is none.
            OSError: it cannot be read.
        """
        try:
            with file.open("rb") as stream, _without_collector():
                found = self._in_pieces(_Pieces(stream))
        except _WrittenOtherwise:
            found = Evaluation.model_validate_json(file.read_bytes())
        documents = found.documents.sharing(self._documents.get(found.task, found.documents))
        samples = found.samples.sharing(self._samples.get(found.task, found.samples))
        self._documents.setdefault(found.task, documents)
        self._samples.setdefault(found.task, samples)
        return found.model_copy(update={"documents": documents, "samples": samples})

    def _in_pieces(self, pieces: "_Pieces") -> Evaluation:
        head = pieces.head(_DOCUMENTS)
        documents = Table.joined(Document, [*map(self._asked, pieces.records(_SAMPLES))])
        samples = Table.joined(Sample, [*map(self._answered, pieces.last_records(_END))])
        empty = Evaluation.model_validate_json(head + _DOCUMENTS + _SAMPLES + _END)
        return empty.model_copy(update={"documents": documents, "samples": samples})

    def _asked(self, piece: bytes) -> Table[Document]:
        """The documents of a piece, which is mostly the same for every variant."""
        digest = hashlib.sha256(piece).digest()
        if digest not in self._pieces:
            read = _read_documents(b"[" + piece + b"]")
            self._pieces[digest] = Table.of(Document, read, known=self._known)
        return self._pieces[digest]

    def _answered(self, piece: bytes) -> Table[Sample]:
        return Table.of(Sample, _read_samples(b"[" + piece + b"]"), known=self._known)


@contextmanager
def _without_collector() -> Iterator[None]:
    """For making many records, which form no cycles: Python would look through all there are."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


class _WrittenOtherwise(Exception):
    """The file has other spaces or another order than the gate writes."""


class _Pieces:
    """A stream cut between records."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = b""

    def head(self, mark: bytes) -> bytes:
        """What is before the first of a mark."""
        while (at := self._left.find(mark)) < 0:
            self._read_on()
        return self._cut(at, mark)

    def records(self, end: bytes) -> Iterator[bytes]:
        """The records of a list up to its end, some at a time."""
        while (at := self._left.find(end)) < 0:
            yield from self._whole()
            self._read_on()
        yield self._cut(at, end)

    def last_records(self, end: bytes) -> Iterator[bytes]:
        """The records of the list that ends the file, some at a time."""
        while self._read():
            yield from self._whole()
        if not self._left.endswith(end):
            raise _WrittenOtherwise
        yield self._left.removesuffix(end)

    def _whole(self) -> Iterator[bytes]:
        """Those records that are there to their end, and have one after them."""
        at = self._left.rfind(_BETWEEN)
        if at >= 0:
            yield self._cut(at + 1, b",")

    def _read(self) -> bool:
        piece = self._stream.read(_PIECE_BYTES)
        self._left += piece
        return bool(piece)

    def _read_on(self) -> None:
        if not self._read():
            raise _WrittenOtherwise

    def _cut(self, at: int, mark: bytes) -> bytes:
        before, self._left = self._left[:at], self._left[at + len(mark) :]
        return before
