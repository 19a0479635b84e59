"""Fields of a task's documents that say what they share, or which part of the task they are."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gate.errors import ConfigError


def read_field(task: str, documents: Sequence[Mapping[str, Any]], field: str) -> tuple[str, ...]:
    """A field of every document, as text: what is no string is written as JSON.

    Args:
        task: the task's name, for messages.
        documents: as lm-eval has them.
        field: its name; a dot leads into a nested one.

    Raises:
        ConfigError: some documents lack the field, or have nothing in it.
    """
    texts = []
    lacking = []
    for number, document in enumerate(documents):
        value = _value(document, field)
        texts.append(value if isinstance(value, str) else _json(value))
        if value is None:
            lacking.append(number)
    if lacking:
        first = lacking[0]
        fields = ", ".join(_names(documents[first])) or "no fields"
        raise ConfigError(
            f"task {task}: {len(lacking):,} of {len(texts):,} documents have no {field!r} "
            f"(first: document {first})",
            hint=f"document {first} has {fields}",
        )
    return tuple(texts)


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _value(document: Mapping[str, Any], field: str) -> Any:
    if field in document:
        return document[field]
    first, _, rest = field.partition(".")
    inside = document.get(first)
    return _value(inside, rest) if rest and isinstance(inside, Mapping) else None


def _names(document: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The fields that hold something, nested ones with dots."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{above}{name}.")
        elif value is not None:
            yield f"{above}{name}"
