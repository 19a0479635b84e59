"""What is read of a reference, once: its most probable tokens at every place of a text."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.distributions.divergence import Tops, rest_of, top_of
from gate.distributions.layout import Chunk, OnProgress, chosen_of, lay_out, read_places
from gate.distributions.rendering import Rendered
from gate.engines.interface import ReadingEngine, TopTokens
from gate.errors import StageError

_SAMPLED = 64
_SEED = 1234


class ReferenceReading(NamedTuple):
    """A reference's distributions over a text, in float32.

    Half as many bytes would not do: float16 moves a log-probability of -8 by up to 0.004, and the
    KL of two close models by as much as there is of it.

    Attributes:
        hashes: of each document, its tokens and which are scored.
        length: the longest part of a document that was read at once, in tokens.
        vocabulary: tokens in the full vocabulary; 0 where the engine does not tell.
        tops: at every place.
        chosen: the log-probability of the text's own token [places].
        sampled: places at which the full distribution is kept, seeded, ascending.
        full: the log-probabilities there [sampled, vocabulary].
    """

    hashes: NDArray[np.str_]
    length: int
    vocabulary: int
    tops: Tops
    chosen: NDArray[np.float32]
    sampled: NDArray[np.int64]
    full: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write it to an npz file."""
        arrays = self._asdict() | self.tops._asdict()
        del arrays["tops"]
        np.savez(path, **arrays)


def load_reading(path: Path) -> ReferenceReading:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return ReferenceReading(
            hashes=arrays["hashes"],
            length=int(arrays["length"]),
            vocabulary=int(arrays["vocabulary"]),
            tops=Tops(arrays["ids"], arrays["logprobs"], arrays["rest"]),
            chosen=arrays["chosen"],
            sampled=arrays["sampled"],
            full=arrays["full"],
        )


def read_reference(
    engine: ReadingEngine, rendered: Rendered, *, top: int, on_progress: OnProgress
) -> ReferenceReading:
    """Read a text with the reference, and keep the top of every distribution.

    Args:
        engine: the reference.
        rendered: the text in its tokens.
        top: tokens kept at each place.
        on_progress: hears of documents done.

    Raises:
        StageError: the engine fails, or what it gives is not finite.
    """
    length = min(engine.max_length, max(len(one.ids) for one in rendered.documents))
    layout = lay_out(rendered.documents, length)
    places = len(layout.tokens)
    random = np.random.default_rng(_SEED)
    sampled = np.sort(random.choice(places, min(_SAMPLED, places), replace=False))
    parts: list[Tops] = []
    chosen: list[NDArray[np.float64]] = []
    full: list[NDArray[np.float32]] = []
    vocabulary = 0
    for chunk in read_places(engine, layout, top=top, on_progress=on_progress):
        parts.append(tops_of(chunk, top))
        chosen.append(chosen_of(chunk, layout))
        if not isinstance(chunk.found, TopTokens):
            vocabulary = chunk.found.shape[1]
            full.append(chunk.found[within(sampled, chunk)])
    return ReferenceReading(
        hashes=np.array(rendered.hashes),
        length=length,
        vocabulary=vocabulary,
        tops=Tops(*(np.concatenate(part) for part in zip(*parts, strict=True))),
        chosen=np.concatenate(chosen).astype(np.float32),
        sampled=sampled if vocabulary else sampled[:0],
        full=np.concatenate(full) if full else np.empty((0, 0), np.float32),
    )


def tops_of(chunk: Chunk, top: int) -> Tops:
    """The most probable tokens at the places of a chunk."""
    if not isinstance(chunk.found, TopTokens):
        return top_of(chunk.found, top)
    known = chunk.found
    return Tops(known.ids, known.logprobs, rest_of(known.logprobs))


def within(places: NDArray[np.int64], chunk: Chunk) -> NDArray[np.int64]:
    """Those of some places that are in a chunk, counted from its first."""
    inside = (places >= chunk.places.start) & (places < chunk.places.stop)
    counted: NDArray[np.int64] = places[inside] - chunk.places.start
    return counted


def check_tokens(reference: list[str], rendered: Rendered) -> None:
    """See that a candidate is given the same tokens as its reference.

    Raises:
        StageError: it makes other tokens of a text, which is named.
    """
    for document, before, after in zip(rendered.documents, reference, rendered.hashes, strict=True):
        if before != after:
            raise StageError(
                f"{document.where}: the candidate is not given the tokens that the reference was",
                hint="both need the same tokenizer and chat template: compare their files",
            )
