"""KL divergences between next-token distributions: arrays of log-probabilities in, nats out.

Every divergence is KL(reference || candidate), one value a line. It is summed as

    sum p ln(p / q) - p + q

which is the usual sum where both add up to 1, and has no term below 0 where float32 left them a
little off. Pooling tokens can only lower it (the log-sum inequality), so that what is compared
on some tokens and on the rest of them as one is a lower bound of what all of them would give.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Logs = NDArray[np.floating]
"""Log-probabilities in nats; -inf for none."""

KL_PERCENTILES = (0.0, 0.1, 1.0, 5.0, 10.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0)
DELTA_P_PERCENTILES = (*KL_PERCENTILES[:5], 25.0, 50.0, 75.0, *KL_PERCENTILES[6:])
"""What llama-perplexity prints of the two."""

_LEAST_REST = 1e-7
"""What float32 cannot tell from nothing, where a rest is 1 less a sum."""


class Tops(NamedTuple):
    """The most probable tokens at some places, and what is left.

    Attributes:
        ids: int32 [places, top], the most probable first.
        logprobs: float32 [places, top].
        rest: float64 [places], the log of the probability of all other tokens together.
    """

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    rest: NDArray[np.float64]

    def at(self, lines: slice | NDArray[np.intp]) -> "Tops":
        """Those of some places."""
        return Tops(self.ids[lines], self.logprobs[lines], self.rest[lines])


def top_of(logprobs: Logs, top: int) -> Tops:
    """The `top` most probable tokens of distributions [places, vocabulary], and the rest."""
    kept = min(top, logprobs.shape[1])
    unsorted = np.argpartition(logprobs, -kept, axis=1)[:, -kept:]
    values = np.take_along_axis(logprobs, unsorted, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    ids: NDArray[np.int32] = np.take_along_axis(unsorted, order, axis=1).astype(np.int32)
    found, rest = at_tokens(logprobs, ids)
    return Tops(ids, found.astype(np.float32), rest)


def at_tokens(logprobs: Logs, ids: NDArray[np.int32]) -> tuple[Logs, NDArray[np.float64]]:
    """Distributions [places, vocabulary] at some tokens a place, and the log of what is left.

    What is left is summed over the other tokens: 1 less the sum would lose it to rounding.
    """
    others = logprobs.astype(np.float64)
    found = np.take_along_axis(logprobs, ids, axis=1)
    np.put_along_axis(others, ids, -np.inf, axis=1)
    return found, _log(np.exp(others).sum(axis=1))


def match_tokens(known: Tops, ids: NDArray[np.int32]) -> tuple[Logs, NDArray[np.float64]]:
    """A top at some tokens a place, NaN where it does not know one, and the log of what is left."""
    found = np.full(ids.shape, np.nan)
    for line, (its_ids, its_logprobs) in enumerate(zip(known.ids, known.logprobs, strict=True)):
        told = dict(zip(its_ids.tolist(), its_logprobs.tolist(), strict=True))
        found[line] = [told.get(token, np.nan) for token in ids[line].tolist()]
    return found, rest_of(found)


def rest_of(logprobs: Logs) -> NDArray[np.float64]:
    """The log of 1 less the probabilities [places, tokens] that are known; float32 sets a floor."""
    return _log(
        np.maximum(1.0 - np.nansum(np.exp(logprobs.astype(np.float64)), axis=1), _LEAST_REST)
    )


def lower_bound(reference: Tops, candidate: Logs, rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL over the reference's top tokens and all others as one: never above the full KL.

    Args:
        reference: at [places, top] tokens.
        candidate: log-probabilities at these tokens, NaN where they are part of the rest.
        rest: the log of the candidate's probability of everything else [places].
    """
    is_known = ~np.isnan(candidate)
    of_candidate = np.where(is_known, candidate, 0.0).astype(np.float64)
    of_reference = reference.logprobs.astype(np.float64)
    unknown = np.where(is_known, 0.0, np.exp(of_reference)).sum(axis=1)
    pooled = _log(np.exp(reference.rest) + unknown)
    terms = np.where(is_known, _terms(of_reference, of_candidate), 0.0)
    bound: NDArray[np.float64] = terms.sum(axis=1) + _terms(pooled, rest)
    return bound


def full_divergence(reference: Logs, candidate: Logs) -> NDArray[np.float64]:
    """KL of distributions over the same vocabulary [places, vocabulary]."""
    terms = _terms(reference.astype(np.float64), candidate.astype(np.float64))
    divergences: NDArray[np.float64] = terms.sum(axis=1)
    return divergences


def percentiles(values: NDArray[np.float64], of: tuple[float, ...]) -> dict[str, float]:
    """{percentile: value}, between two values in proportion, as llama-perplexity does."""
    found = np.percentile(values, of)
    return {f"{one:g}": float(value) for one, value in zip(of, found, strict=True)}


def _terms(reference: NDArray[np.float64], candidate: Logs) -> NDArray[np.float64]:
    """Each p ln(p / q) - p + q of log-probabilities, where p = 0 just q."""
    p, q = np.exp(reference), np.exp(candidate)
    with np.errstate(invalid="ignore"):
        ratio = np.where(p > 0, p * (reference - candidate), 0.0)
    return ratio - p + q


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.log(values)
    return logs
