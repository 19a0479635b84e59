"""Runs batches on this machine, one after the other."""

from collections.abc import Callable, Iterable
from typing import TypeVar

BatchType = TypeVar("BatchType")


def execute(batches: Iterable[BatchType], *, run: Callable[[BatchType], None]) -> None:
    """Run every batch in order; `run` returns when its batch has ended, well or not."""
    for batch in batches:
        run(batch)
