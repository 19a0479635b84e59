"""What differs at every token of a text, and what it comes to over documents."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.distribution_records import Distribution, DocumentDivergence
from gate.distributions.divergence import (
    DELTA_P_PERCENTILES,
    KL_PERCENTILES,
    percentiles,
)
from gate.distributions.layout import Layout
from gate.distributions.rendering import Rendered
from gate.errors import StageError


class TokenDivergences(NamedTuple):
    """What differs at every place of a text; one value a place.

    Attributes:
        kl: KL(reference || candidate) in nats, or a lower bound of it.
        same_top: whether both hold the same token most probable.
        nll_reference: negative log-probability of the text's token, in nats.
        nll_candidate: the same under the candidate.
    """

    kl: NDArray[np.float64]
    same_top: NDArray[np.bool_]
    nll_reference: NDArray[np.float64]
    nll_candidate: NDArray[np.float64]

    @property
    def delta_p(self) -> NDArray[np.float64]:
        """How much more probable the text's token is under the candidate."""
        change: NDArray[np.float64] = np.exp(-self.nll_candidate) - np.exp(-self.nll_reference)
        return change

    def save(self, path: Path) -> None:
        """Write one float32 a place and quantity to an npz file."""
        arrays = {name: part.astype(np.float32) for name, part in self._asdict().items()}
        np.savez(path, **(arrays | {"same_top": self.same_top}))


class Compared(NamedTuple):
    """A comparison over a whole text, and what is stored of each token."""

    distribution: Distribution
    tokens: TokenDivergences


def require_finite(kl: NDArray[np.float64], start: int, rendered: Rendered, layout: Layout) -> None:
    """See that the divergences from a place on are numbers.

    Raises:
        StageError: one is not, because a model holds a token impossible that the other does not.
    """
    wrong = np.flatnonzero(~np.isfinite(kl))
    if len(wrong):
        place = start + int(wrong[0])
        where = rendered.documents[int(layout.documents[place])].where
        raise StageError(
            f"{where}: the divergence at token {layout.positions[place]} is {kl[wrong[0]]}",
            hint="a model gives some tokens no probability at all: look at its output layer",
        )


def join(parts: Sequence[TokenDivergences]) -> TokenDivergences:
    """The divergences of all chunks, in order."""
    return TokenDivergences(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def summarize(tokens: TokenDivergences, rendered: Rendered, layout: Layout) -> Distribution:
    """Sums over documents and percentiles over tokens; the variants' names are left open."""
    change = tokens.delta_p
    count = len(rendered.documents)

    def summed(values: NDArray[Any]) -> list[float]:
        sums: list[float] = np.bincount(layout.documents, values, count).tolist()
        return sums

    quantities: tuple[NDArray[Any], ...] = (*tokens, change)
    sums = zip(
        np.bincount(layout.documents, minlength=count), *map(summed, quantities), strict=True
    )
    return Distribution(
        variant="",
        reference="",
        text="",
        tokens_hash=rendered.tokens_hash,
        documents=tuple(
            DocumentDivergence(
                id=number,
                tokens=int(read),
                kl=kl,
                same_top=int(same_top),
                nll_reference=before,
                nll_candidate=after,
                delta_p=delta_p,
            )
            for number, (read, kl, same_top, before, after, delta_p) in enumerate(sums)
        ),
        kl_percentiles=percentiles(tokens.kl, KL_PERCENTILES),
        delta_p_percentiles=percentiles(change, DELTA_P_PERCENTILES),
        delta_p_rms=float(np.sqrt(np.mean(change**2))),
        warnings=rendered.warnings,
    )
