"""A candidate and its reference, both loaded: the KL over the full vocabulary at every token."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.distributions.comparing import (
    Compared,
    TokenDivergences,
    join,
    require_finite,
    summarize,
)
from gate.distributions.divergence import at_tokens, full_divergence, top_of
from gate.distributions.layout import Layout, OnProgress, at_text, lay_out, read_places
from gate.distributions.references import check_tokens
from gate.distributions.rendering import Rendered
from gate.distributions.worst import WorstPlaces
from gate.engines.interface import ReadingEngine, TopTokens
from gate.errors import StageError

_SHOWN_FROM = 64  # tokens of the reference of which the worst places show some


class _Both(NamedTuple):
    """What both models expect from a place on: log-probabilities [places, vocabulary]."""

    start: int
    before: NDArray[np.float32]
    after: NDArray[np.float32]


def compare_in_full(
    reference: ReadingEngine,
    engine: ReadingEngine,
    rendered: tuple[Rendered, Rendered],
    *,
    worst: int,
    on_progress: OnProgress,
) -> Compared:
    """Read reference and candidate side by side, and compare them over the full vocabulary.

    Args:
        reference: what is compared with.
        engine: the candidate.
        rendered: the text in the reference's tokens, and in the candidate's.
        worst: how many places to show.
        on_progress: hears of documents done.

    Raises:
        StageError: the tokens or the vocabularies are not the same, an engine does not give the
            full vocabulary, or it fails.
    """
    text = rendered[1]
    check_tokens(rendered[0].hashes, text)
    longest = max(len(one.ids) for one in text.documents)
    layout = lay_out(text.documents, min(reference.max_length, engine.max_length, longest))
    keeper = WorstPlaces(worst)
    parts: list[TokenDivergences] = []
    for start, before, after in _side_by_side(reference, engine, layout, on_progress):
        kl = full_divergence(before, after)
        require_finite(kl, start, text, layout)
        its_tokens = layout.tokens[start : start + len(kl)]
        parts.append(
            TokenDivergences(
                kl=kl,
                same_top=before.argmax(axis=1) == after.argmax(axis=1),
                nll_reference=-at_text(before, its_tokens),
                nll_candidate=-at_text(after, its_tokens),
            )
        )
        lines = keeper.choose(kl)
        tops = top_of(before[lines], _SHOWN_FROM)
        shown, _ = at_tokens(after[lines], tops.ids)
        keeper.offer(start + lines, kl[lines], tops, shown)
    tokens = join(parts)
    found = summarize(tokens, text, layout)
    told = keeper.told(text, layout, engine)
    return Compared(found.model_copy(update={"worst": told}), tokens)


def _side_by_side(
    reference: ReadingEngine, engine: ReadingEngine, layout: Layout, on_progress: OnProgress
) -> Iterator[_Both]:
    """Both engines at the same places, as many at once as both have given."""
    unheard = _full_lines(reference, layout, lambda done, total: None)
    before = next(unheard)
    start = 0
    for after in _full_lines(engine, layout, on_progress):
        if before.shape[1] != after.shape[1]:
            raise StageError(
                f"{engine.name} has a vocabulary of {after.shape[1]} tokens, and its reference "
                f"one of {before.shape[1]}",
                hint="the two cannot be compared token by token: set distributions: "
                "{vocabulary: top}, or merge with the base's own vocabulary",
            )
        while len(after):
            if not len(before):
                before = next(unheard)
            count = min(len(before), len(after))
            yield _Both(start, before[:count], after[:count])
            before, after = before[count:], after[count:]
            start += count


def _full_lines(
    engine: ReadingEngine, layout: Layout, on_progress: OnProgress
) -> Iterator[NDArray[np.float32]]:
    for chunk in read_places(engine, layout, top=1, on_progress=on_progress):
        if isinstance(chunk.found, TopTokens):
            raise StageError(
                f"{engine.name}: its engine does not tell the full vocabulary",
                hint="set distributions: {vocabulary: top} in the suite",
            )
        yield chunk.found
