"""A candidate against what is stored of its reference: a lower bound of the KL at every token."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.distribution_records import Shortfall
from gate.distributions.comparing import (
    Compared,
    TokenDivergences,
    join,
    require_finite,
    summarize,
)
from gate.distributions.divergence import (
    Logs,
    Tops,
    at_tokens,
    full_divergence,
    lower_bound,
    match_tokens,
)
from gate.distributions.layout import Chunk, Layout, OnProgress, chosen_of, lay_out, read_places
from gate.distributions.references import ReferenceReading, check_tokens, tops_of, within
from gate.distributions.rendering import Rendered
from gate.distributions.worst import WorstPlaces
from gate.engines.interface import ReadingEngine, TopTokens
from gate.errors import StageError


class _Sample(NamedTuple):
    """The bound and the full KL, at places where the reference's full distribution is kept."""

    bound: NDArray[np.float64]
    full: NDArray[np.float64]


def compare_at_top(
    engine: ReadingEngine,
    rendered: Rendered,
    reading: ReferenceReading,
    *,
    worst: int,
    on_progress: OnProgress,
) -> Compared:
    """Read a candidate, and hold it against what is known of its reference.

    Args:
        engine: the candidate.
        rendered: the text in its tokens.
        reading: of the reference.
        worst: how many places to show.
        on_progress: hears of documents done.

    Raises:
        StageError: the tokens or the vocabulary are not the reference's, the engine attends to
            fewer tokens at once, or it fails.
    """
    layout = _lay_out(reading, rendered, engine)
    top = reading.tops.ids.shape[1]
    keeper = WorstPlaces(worst)
    parts: list[TokenDivergences] = []
    samples: list[_Sample] = []
    for chunk in read_places(engine, layout, top=top, on_progress=on_progress):
        tops = reading.tops.at(chunk.places)
        candidate, rest = _at_reference(chunk, tops, reading, engine)
        kl = lower_bound(tops, candidate, rest)
        require_finite(kl, chunk.places.start, rendered, layout)
        parts.append(
            TokenDivergences(
                kl=kl,
                same_top=tops.ids[:, 0] == _best(chunk),
                nll_reference=-reading.chosen[chunk.places].astype(np.float64),
                nll_candidate=-chosen_of(chunk, layout),
            )
        )
        samples += _sample(reading, chunk, kl)
        lines = keeper.choose(kl)
        keeper.offer(chunk.places.start + lines, kl[lines], tops.at(lines), candidate[lines])
    tokens = join(parts)
    found = summarize(tokens, rendered, layout).model_copy(
        update={
            "top": top,
            "shortfall": _shortfall(samples),
            "worst": keeper.told(rendered, layout, engine),
        }
    )
    return Compared(found, tokens)


def _lay_out(reading: ReferenceReading, rendered: Rendered, engine: ReadingEngine) -> Layout:
    """The places of the reference's reading: texts that were cut are cut in the same places."""
    check_tokens(reading.hashes.tolist(), rendered)
    if engine.max_length < reading.length:
        raise StageError(
            f"{engine.name} attends to {engine.max_length} tokens, and its reference was read in "
            f"parts of {reading.length}",
            hint="raise the candidate's max_length, or shorten the texts",
        )
    return lay_out(rendered.documents, reading.length)


def _at_reference(
    chunk: Chunk, tops: Tops, reading: ReferenceReading, engine: ReadingEngine
) -> tuple[Logs, NDArray[np.float64]]:
    """The candidate at the reference's tokens, NaN where not known, and the log of the rest."""
    if isinstance(chunk.found, TopTokens):
        return match_tokens(tops_of(chunk, 0), tops.ids)
    width = chunk.found.shape[1]
    if reading.vocabulary not in (0, width) or int(tops.ids.max()) >= width:
        raise StageError(
            f"{engine.name} has a vocabulary of {width} tokens, and its reference one of "
            f"{reading.vocabulary or int(tops.ids.max()) + 1}",
            hint="the two cannot be compared token by token: merge with the base's own vocabulary",
        )
    return at_tokens(chunk.found, tops.ids)


def _best(chunk: Chunk) -> NDArray[np.int64]:
    if isinstance(chunk.found, TopTokens):
        return chunk.found.ids[:, 0].astype(np.int64)
    best: NDArray[np.int64] = chunk.found.argmax(axis=1)
    return best


def _sample(reading: ReferenceReading, chunk: Chunk, kl: NDArray[np.float64]) -> Sequence[_Sample]:
    lines = within(reading.sampled, chunk)
    if isinstance(chunk.found, TopTokens) or not len(lines):
        return ()
    known = reading.full[np.isin(reading.sampled, lines + chunk.places.start)]
    return (_Sample(kl[lines], full_divergence(known, chunk.found[lines])),)


def _shortfall(samples: Sequence[_Sample]) -> Shortfall | None:
    """The means over the samples; None where an engine does not give the full vocabulary."""
    if not samples:
        return None
    bound, full = (np.concatenate(part) for part in zip(*samples, strict=True))
    return Shortfall(tokens=len(full), bound=float(bound.mean()), full=float(full.mean()))
