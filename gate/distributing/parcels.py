"""A batch on its way to another machine, with what it reads by the place that it has there."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from gate.jobs import Batch
from gate.terms import Noun


class InTree(Noun):
    """A file or folder inside a folder that a storage holds.

    Attributes:
        tree: the id of the folder.
        inside: the path in it; '.' for the folder itself.
    """

    tree: str
    inside: str = "."


class Parcel(Noun):
    """A batch on its way to another machine.

    Attributes:
        batch: with the paths of the machine that sends it.
        log: where what libraries print goes, on the machine that sends it.
        folder: that relative paths are from.
        storage: the URL of the storage that the machines share; None where they share a folder.
        trees: {path in the batch: where the storage has it}.
    """

    batch: Batch
    log: str
    folder: str
    storage: str | None = None
    trees: dict[str, InTree] = Field(default_factory=dict)


def strings_in(batch: Batch) -> Iterator[str]:
    """Every string of a batch, and so every path."""
    yield from _strings(batch.model_dump(mode="json"))


def moved(batch: Batch, places: Mapping[str, str]) -> Batch:
    """A batch in which other strings stand for these."""
    return Batch.model_validate(_replaced(batch.model_dump(mode="json"), places))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)


def _replaced(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return places.get(value, value)
    if isinstance(value, dict):
        return {key: _replaced(part, places) for key, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, places) for part in value]
    return value
