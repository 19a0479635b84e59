"""Answers to a part of a task's documents, kept in a file until the whole task is done."""

import os
from pathlib import Path

from pydantic import ValidationError

from gate.evaluation_records import Document, Sample
from gate.terms import Noun


class Chunk(Noun):
    """What a stage has found for neighbours in a task's seeded order.

    Attributes:
        higher_is_better: as in Evaluation.
        aggregate: as in Evaluation.
        documents: in the seeded order.
        samples: in the seeded order.
    """

    higher_is_better: bool
    aggregate: str
    documents: tuple[Document, ...]
    samples: tuple[Sample, ...]


class _Kept(Noun):
    """A chunk in its file, with the digest of the task and of the documents it is of."""

    of: str
    chunk: Chunk


def read_chunk(folder: Path, first: int, *, of: str) -> Chunk | None:
    """The chunk that begins at a place of the order.

    None where there is none, where it was not written to its end, or where it is of another task
    or of other documents.
    """
    try:
        kept = _Kept.model_validate_json(_file(folder, first).read_bytes())
    except (OSError, ValidationError):
        return None
    return kept.chunk if kept.of == of else None


def write_chunk(folder: Path, first: int, chunk: Chunk, *, of: str) -> None:
    """Keep a chunk; a process killed meanwhile leaves what was there before.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = _file(folder, first)
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(_Kept(of=of, chunk=chunk).model_dump_json(), encoding="utf-8")
    fresh.replace(file)


def _file(folder: Path, first: int) -> Path:
    return folder / f"{first:08}.json"
