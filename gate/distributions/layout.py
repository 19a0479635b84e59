"""The places of texts at which an engine is read, one after another, and what it expects there."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.distributions.rendering import Document, cut_rows
from gate.engines.interface import NextTokens, ReadingEngine, ReadRow, TopTokens
from gate.errors import StageError

OnProgress = Callable[[int, int], None]
"""Hears (documents done, documents in all)."""


class Layout(NamedTuple):
    """All places that are scored, in order.

    Attributes:
        documents: of each place, its document's number.
        positions: of each place, its token's number in the document.
        tokens: the text's token at each place.
        rows: the parts of the documents that these places are in.
    """

    documents: NDArray[np.int64]
    positions: NDArray[np.int64]
    tokens: NDArray[np.int64]
    rows: list[ReadRow]


class Chunk(NamedTuple):
    """What an engine expects at some places in a row."""

    places: slice
    found: NextTokens


def lay_out(documents: Sequence[Document], length: int) -> Layout:
    """The places of documents, each in parts of `length` tokens at most."""
    rows: list[ReadRow] = []
    numbers: list[int] = []
    positions: list[int] = []
    tokens: list[int] = []
    for number, document in enumerate(documents):
        rows += cut_rows(document, length)
        read = [place for place in document.scored if place % length]
        numbers += [number] * len(read)
        positions += read
        tokens += [document.ids[place] for place in read]
    return Layout(np.array(numbers), np.array(positions), np.array(tokens), rows)


def read_places(
    engine: ReadingEngine, layout: Layout, *, top: int, on_progress: OnProgress
) -> Iterator[Chunk]:
    """What an engine expects at every place, a few places at a time.

    Raises:
        StageError: the engine fails, or what it gives is not finite.
    """
    start = 0
    documents = int(layout.documents[-1]) + 1
    for found in engine.read(layout.rows, top):
        values = found.chosen if isinstance(found, TopTokens) else found
        if np.isnan(values).any():
            raise StageError(
                f"{engine.name}: its logits are not finite",
                hint="the weights hold NaN or infinity, or overflow in this dtype",
            )
        places = slice(start, start + len(values))
        start += len(values)
        yield Chunk(places, found)
        if start:
            on_progress(int(layout.documents[start - 1]) + (start == len(layout.tokens)), documents)


def chosen_of(chunk: Chunk, layout: Layout) -> NDArray[np.float64]:
    """The log-probability of the text's own token at each place of a chunk."""
    if isinstance(chunk.found, TopTokens):
        return chunk.found.chosen.astype(np.float64)
    return at_text(chunk.found, layout.tokens[chunk.places])


def at_text(logprobs: NDArray[np.float32], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distributions [places, vocabulary] at one token a place."""
    return np.take_along_axis(logprobs, tokens[:, None], axis=1)[:, 0].astype(np.float64)
