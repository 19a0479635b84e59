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

_NAMES = {"0": "least", "50": "median", "100": "most"}
_VISIBLE = str.maketrans({"\n": "⏎", "\t": "⇥", " ": "␣"})


class Percentile(NamedTuple):
    """A percentile over tokens: of the divergence, and of the change of the token's probability."""

    name: str
    kl: str
    delta_p: str


class Place(NamedTuple):
    """A token where the two differ most, in words.

    Attributes:
        where: its document and position.
        kl: the divergence there.
        context: the text before it.
        token: the token, blanks in it visible.
        reference: what the reference holds most probable, with probabilities.
        candidate: the same of the candidate.
    """

    where: str
    kl: str
    context: str
    token: str
    reference: str
    candidate: str


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


def distribution_rows(record: Record) -> tuple[DistributionRow, ...]:
    """One row for each text and pair of variants; empty where no text was read."""
    return tuple(map(_row, record.distributions))


def _row(one: Distribution) -> DistributionRow:
    return DistributionRow(
        text=one.text,
        variant=one.variant,
        reference=one.reference,
        documents=count(len(one.documents), "document"),
        tokens=count(one.tokens, "token"),
        kl=_interval(one, kl.compare),
        compared=_compared(one),
        same_top=_interval(one, same_top.compare),
        ratio=_interval(one, perplexity.compare),
        delta_p=quantity(one.delta_p_rms, DIFFERENCE_OF_SHARES),
        percentiles=_percentiles(one),
        worst=tuple(map(_place, one.worst)),
        warnings=one.warnings,
    )


def _interval(one: Distribution, compare: Callable[..., Estimate]) -> str:
    """A comparison's estimate with its interval, which takes two documents."""
    try:
        return interval_text(compare(one, confidence=CONFIDENCE))
    except (ArithmeticError, ValueError):
        return f"no interval over {count(len(one.documents), 'document')}"


def _compared(one: Distribution) -> str:
    if one.top is None:
        return "full vocabulary"
    where = f"top {one.top:,} tokens and the rest: a lower bound"
    if one.shortfall is None:
        return where
    short = one.shortfall
    share = percent(1 - short.bound / short.full) if short.full > 0 else percent(0.0)
    return (
        f"{where}, {share} short of the full {amount(short.full, '')} on "
        f"{count(short.tokens, 'sampled token')}"
    )


def _percentiles(one: Distribution) -> tuple[Percentile, ...]:
    found = sorted({*one.kl_percentiles, *one.delta_p_percentiles}, key=float)
    return tuple(
        Percentile(
            name=_NAMES.get(key, f"{key} %"),
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
        token=_visible(worst.token),
        reference=_guesses(worst.reference),
        candidate=_guesses(worst.candidate),
    )


def _guesses(guesses: tuple[Guess, ...]) -> str:
    return ", ".join(f"{_visible(one.token)} {percent(one.probability)}" for one in guesses)


def _visible(token: str) -> str:
    """A token with its blanks as marks that can be seen."""
    return token.translate(_VISIBLE) or "(empty)"
