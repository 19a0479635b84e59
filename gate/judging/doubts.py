"""Why an interval inside its bounds would prove nothing, and what a pass cannot have seen."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from gate.aggregates import value_of
from gate.distribution_records import Distribution
from gate.errors import StageError
from gate.evaluation_records import Score
from gate.judging.pairing import Arms, Pair
from gate.judging.reasons import Finding, confidence_text, counted, decimal
from gate.stats import proportions

Choices = Callable[[], Mapping[int, int] | None]

FEWEST_GROUPS = 10


class Doubt(NamedTuple):
    """Why nothing is proved.

    Attributes:
        why: in words.
        needed: documents in all that would lift it; None where their number is not the matter.
    """

    why: str
    needed: int | None = None


def find_doubt(finding: Finding, arms: Arms, choices: Choices) -> Doubt | None:
    """Why an interval inside the bounds would prove nothing, or None.

    Too few documents for a loss of the margin to have changed one; too few independent groups for
    their spread to be known; a reference that is not better than guessing, whose losses could not
    show. The first is of the interval that is taken once: a confidence sequence has it built in.

    Args:
        finding: the estimate and its bounds.
        arms: what was compared.
        choices: {document: how many answers it offers}; None where that is not known.

    Raises:
        StageError: the level of chance is not known.
    """
    return next(_doubts(finding, arms, choices), None)


def find_caution(finding: Finding, arms: Arms) -> str | None:
    """What a pass cannot have seen, or None.

    A reference that is right on every document can lose any of them, so that the bound on the
    loss is a proof, of this task; a candidate that is a little worse need not lose one so easy.
    Such a pass stands and says so. At chance it is otherwise: a loss could not show at all.
    """
    if not isinstance(arms, Pair) or not _bounds_a_loss(finding):
        return None
    score = arms.reference
    best = 1.0 if score.higher_is_better else 0.0
    if score.aggregate != "mean" or (score.samples.column("value") != best).any():
        return None
    does = "is right" if score.is_binary else f"scores {decimal(best)}"
    return (
        f"{score.variant} {does} on every document: at this ceiling only a harm that reaches easy "
        "documents can show"
    )


def _doubts(finding: Finding, arms: Arms, choices: Choices) -> Iterator[Doubt]:
    yield from _too_few_documents(finding)
    yield from _too_few_groups(finding, arms)
    if isinstance(arms, Pair) and _bounds_a_loss(finding):
        yield from _chance(arms.reference, choices, confidence=finding.confidence)


def _bounds_a_loss(finding: Finding) -> bool:
    return any(bound.sign > 0 and bound.margin > 0 for bound in finding.bounds)


def _too_few_documents(finding: Finding) -> Iterator[Doubt]:
    estimate, confidence = finding.estimate, finding.confidence
    margins = [bound.margin for bound in finding.bounds if bound.margin > 0]
    if estimate.flips is None or not margins or finding.looks is not None:
        return
    fewest = proportions.floor_documents(min(margins), confidence=confidence)
    if estimate.n < fewest:
        yield Doubt(
            f"{counted(estimate.n, 'document')} cannot prove a margin of "
            f"{decimal(100 * min(margins))} % even if none changes: that takes {fewest:,} "
            f"({confidence_text(confidence)})",
            needed=fewest,
        )


def _too_few_groups(finding: Finding, arms: Arms) -> Iterator[Doubt]:
    """That the error of a mean over few clusters is not known well enough (Cameron, Miller)."""
    estimate = finding.estimate
    groups, kind = estimate.clusters, "cluster"
    if isinstance(arms, Distribution):
        groups, kind = len(arms.documents), "document"
    elif groups is None and isinstance(arms, Pair) and arms.reference.aggregate != "mean":
        groups, kind = estimate.n, "document"
    if groups is not None and groups < FEWEST_GROUPS:
        yield Doubt(
            f"{counted(groups, kind)} cannot prove a bound, as their spread is not known well: "
            f"that takes {FEWEST_GROUPS} {kind}s",
            needed=-(-estimate.n * FEWEST_GROUPS // groups) if kind == "cluster" else FEWEST_GROUPS,
        )


def _chance(reference: Score, choices: Choices, *, confidence: float) -> Iterator[Doubt]:
    """That the reference is no better than guessing."""
    if not reference.is_binary:
        if reference.higher_is_better and not value_of(reference):
            yield Doubt(f"{reference.variant} scores 0 on every document: a loss could not show")
        return
    known = choices()
    if known is None:
        raise StageError(f"the documents of {reference.task} are missing: chance is unknown")
    offered = [known.get(number, 0) for number in reference.samples.column("id").tolist()]
    chance = sum(1 / number for number in offered if number) / len(offered)
    right = float(reference.higher_is_better)
    correct = int(np.count_nonzero(reference.samples.column("value") == right))
    if proportions.above_chance_p_value(correct, len(offered), chance=chance) > 1 - confidence:
        yield Doubt(
            f"{reference.variant} is right on {correct:,} of "
            f"{counted(len(offered), 'document')}, not significantly above chance "
            f"({decimal(100 * chance, 3)} %): a loss could not show"
        )
