"""The places where a candidate differs most from its reference, in their context."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.distribution_records import Guess, WorstToken
from gate.distributions.divergence import Logs, Tops
from gate.distributions.layout import Layout
from gate.distributions.rendering import Rendered
from gate.engines.interface import Engine

_CONTEXT_CHARACTERS = 200
_CONTEXT_TOKENS = 200
_GUESSES = 5


class _Place(NamedTuple):
    kl: float
    place: int
    ids: NDArray[np.int32]
    reference: Logs
    candidate: Logs


class WorstPlaces:
    """Keeps the worst of the places it is offered."""

    def __init__(self, count: int) -> None:
        """Keep so many."""
        self._count = count
        self._kept: list[_Place] = []

    def choose(self, kl: NDArray[np.float64]) -> NDArray[np.intp]:
        """Those lines of a chunk that may be among the worst."""
        return np.argsort(-kl, kind="stable")[: self._count]

    def offer(
        self, places: NDArray[np.int64], kl: NDArray[np.float64], tops: Tops, candidate: Logs
    ) -> None:
        """Keep what is worse than the rest.

        Args:
            places: of the chosen lines, counted from the text's first.
            kl: the divergence there.
            tops: the reference there.
            candidate: its log-probabilities at the reference's tokens, NaN where not known.
        """
        lines = zip(places.tolist(), kl.tolist(), tops.ids, tops.logprobs, candidate, strict=True)
        self._kept += [_Place(nats, place, *line) for place, nats, *line in lines]
        self._kept.sort(key=lambda one: (-one.kl, one.place))
        del self._kept[self._count :]

    def told(self, rendered: Rendered, layout: Layout, engine: Engine) -> tuple[WorstToken, ...]:
        """The worst places with the text before them and what both models expected."""
        return tuple(_told(one, rendered, layout, engine) for one in self._kept)


def _told(one: _Place, rendered: Rendered, layout: Layout, engine: Engine) -> WorstToken:
    def text(ids: tuple[int, ...]) -> str:
        return engine.decode(ids, skip_special_tokens=False)

    def guesses(logprobs: Logs) -> tuple[Guess, ...]:
        known = np.flatnonzero(~np.isnan(logprobs))
        best = known[np.argsort(-logprobs[known], kind="stable")][:_GUESSES]
        return tuple(
            Guess(token=text((int(one.ids[at]),)), probability=float(np.exp(logprobs[at])))
            for at in best
        )

    document, position = int(layout.documents[one.place]), int(layout.positions[one.place])
    ids = rendered.documents[document].ids
    return WorstToken(
        document=document,
        position=position,
        kl=one.kl,
        context=text(ids[max(0, position - _CONTEXT_TOKENS) : position])[-_CONTEXT_CHARACTERS:],
        token=text((ids[position],)),
        reference=guesses(one.reference),
        candidate=guesses(one.candidate),
    )
