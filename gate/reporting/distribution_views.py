"""What reports say of distributions: how far a candidate's next tokens are from a reference's."""

from collections.abc import Callable
from typing import NamedTuple

from gate.comparisons import kl, perplexity, same_top
from gate.distribution_records import Distribution, Guess, WorstToken
from gate.presentation import MISSING, amount, count, interval_text, percent, quantity
from gate.records import Record
from gate.result_records import DIFFERENCE_OF_SHARES, Estimate

CONFIDENCE = 0.95
"""One-sided confidence of each end of the intervals shown here; a check has its own."""

NAMES = {"0": "least", "50": "median", "100": "most"}
"""Percentiles over tokens that have a name."""

_LONGEST = 200
"""Characters of context that a record keeps; where it has as many, more stood before them."""

_VISIBLE = str.maketrans({"\n": "⏎", "\t": "⇥", " ": "␣"})


class Percentile(NamedTuple):
    """A percentile over tokens: of the divergence, and of the change of the token's probability."""

    name: str
    kl: str
    delta_p: str


class Guessed(NamedTuple):
    """A token that a model holds probable; `is_text` where it is the one that the text has."""

    token: str
    probability: str
    is_text: bool


class Place(NamedTuple):
    """A token where the two differ most, in words.

    Attributes:
        where: its document and position.
        kl: the divergence there.
        context: the text before it.
        is_cut: whether that is the end of a longer one.
        token: the token, blanks in it visible.
        reference: what the reference holds most probable, the most first.
        candidate: the same of the candidate.
    """

    where: str
    kl: str
    context: str
    is_cut: bool
    token: str
    reference: tuple[Guessed, ...]
    candidate: tuple[Guessed, ...]


class DistributionRow(NamedTuple):
    """One candidate against one reference on one text, in words.

    Attributes:
        text: the text's name.
        variant: the candidate.
        reference: what it is compared with.
        documents: how many.
        tokens: how many, in all of them.
        kl: mean divergence with its interval, in nats a token.
        compared: at which tokens, and what that leaves out.
        same_top: share of tokens where both hold the same one most probable.
        ratio: logarithm of the ratio of perplexities, candidate to reference.
        delta_p: root mean square change of the probability of the text's own tokens.
        percentiles: over tokens.
        worst: places where the two differ most, first the worst.
        warnings: what was read otherwise than asked.
        estimates: what `kl`, `same_top` and `ratio` tell, unrounded; None of a single document.
        delta_p_rms: what `delta_p` tells, unrounded.
    """

    text: str
    variant: str
    reference: str
    documents: str
    tokens: str
    kl: str
    compared: str
    same_top: str
    ratio: str
    delta_p: str
    percentiles: tuple[Percentile, ...]
    worst: tuple[Place, ...]
    warnings: tuple[str, ...]
    estimates: tuple[Estimate | None, ...]
    delta_p_rms: float


def distribution_rows(record: Record) -> tuple[DistributionRow, ...]:
    """One row for each text and pair of variants; empty where no text was read."""
    return tuple(map(_row, record.distributions))


def _row(one: Distribution) -> DistributionRow:
    estimates = tuple(
        estimate_of(one, compare) for compare in (kl.compare, same_top.compare, perplexity.compare)
    )
    told = [_told(one, estimate) for estimate in estimates]
    return DistributionRow(
        text=one.text,
        variant=one.variant,
        reference=one.reference,
        documents=count(len(one.documents), "document"),
        tokens=count(one.tokens, "token"),
        kl=told[0],
        compared=_compared(one),
        same_top=told[1],
        ratio=told[2],
        delta_p=quantity(one.delta_p_rms, DIFFERENCE_OF_SHARES),
        percentiles=_percentiles(one),
        worst=tuple(map(_place, one.worst)),
        warnings=one.warnings,
        estimates=estimates,
        delta_p_rms=one.delta_p_rms,
    )


def estimate_of(one: Distribution, compare: Callable[..., Estimate]) -> Estimate | None:
    """A comparison's estimate with its interval; None of a single document, which has none."""
    try:
        return compare(one, confidence=CONFIDENCE)
    except (ArithmeticError, ValueError):
        return None


def _told(one: Distribution, found: Estimate | None) -> str:
    if found is None:
        return f"no interval over {count(len(one.documents), 'document')}"
    return interval_text(found)


def _compared(one: Distribution) -> str:
    if one.top is None:
        return "full vocabulary"
    where = f"top {one.top:,} tokens and the rest: a lower bound"
    if one.shortfall is None:
        return where
    short = one.shortfall
    if short.full <= 0:
        return f"{where}; on {count(short.tokens, 'sampled token')} the full one is 0 too"
    share = percent(1 - short.bound / short.full)
    return (
        f"{where}, {share} short of the full {amount(short.full, '')} on "
        f"{count(short.tokens, 'sampled token')}"
    )


def _percentiles(one: Distribution) -> tuple[Percentile, ...]:
    found = sorted({*one.kl_percentiles, *one.delta_p_percentiles}, key=float)
    return tuple(
        Percentile(
            name=NAMES.get(key, f"{key} %"),
            kl=amount(one.kl_percentiles[key], "") if key in one.kl_percentiles else MISSING,
            delta_p=amount(one.delta_p_percentiles[key], DIFFERENCE_OF_SHARES)
            if key in one.delta_p_percentiles
            else MISSING,
        )
        for key in found
    )


def _place(worst: WorstToken) -> Place:
    return Place(
        where=f"document {worst.document}, token {worst.position}",
        kl=quantity(worst.kl, "nats"),
        context=worst.context,
        is_cut=len(worst.context) >= _LONGEST,
        token=_visible(worst.token),
        reference=_guessed(worst.reference, worst.token),
        candidate=_guessed(worst.candidate, worst.token),
    )


def _guessed(guesses: tuple[Guess, ...], token: str) -> tuple[Guessed, ...]:
    return tuple(
        Guessed(_visible(one.token), percent(one.probability), one.token == token)
        for one in guesses
    )


def _visible(token: str) -> str:
    """A token with its blanks as marks that can be seen."""
    return token.translate(_VISIBLE) or "(empty)"
