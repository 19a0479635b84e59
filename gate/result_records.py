"""What a judgement is made of: estimates, the noise they stand in, results and verdicts."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from gate.terms import Check, Noun, ResolvedCheck

Outcome = Literal["pass", "fail", "inconclusive", "error"]
Verdict = Literal["promote", "block", "inconclusive", "error"]


class Flips(Noun):
    """How many documents changed between two arms of a binary metric.

    Attributes:
        gains: documents the reference got wrong and the candidate right.
        losses: documents the reference got right and the candidate wrong.
        mid_p: mid-p McNemar p-value of 'gains and losses are equally likely'.
    """

    gains: int
    losses: int
    mid_p: float


DIFFERENCE_OF_SHARES = "share difference"
"""The unit of a change in a share of documents: 0.02 is told as 2 points."""


class Estimate(Noun):
    """A comparison's result with its interval.

    Attributes:
        value: the point estimate, larger being better for the candidate unless `unit` says else.
        low: one-sided lower confidence bound at the check's confidence.
        high: one-sided upper confidence bound at the check's confidence.
        n: number of paired documents.
        unit: what the numbers are, such as 'share of documents'.
        method: the interval's method, by its name in the literature.
        flips: documents changed, for a binary metric.
        clusters: groups of documents that the interval takes for independent; None where each
            document is one.
        standard_error: of the value, where the interval rests on one.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str
    method: str
    flips: Flips | None = None
    clusters: int | None = None
    standard_error: float | None = None


class NoiseFloor(Noun):
    """What two evaluations of one variant differ by: batches of another size, another order.

    Attributes:
        engine: the backend's name.
        variant: whose evaluation was repeated.
        task: the task.
        delta: the change of the metric from the first to the second, with its flips.
        largest_change: of a choice's log-likelihood, in nats; None for a generation task.
        kl: mean divergence of the second from the first, over the choices' probabilities, in nats
            a document; None where there are no choices.
    """

    engine: str
    variant: str
    task: str
    delta: Estimate
    largest_change: float | None
    kl: float | None


class Correction(Noun):
    """Holm's correction of a fail for the number of checks that could have failed.

    Attributes:
        hypotheses: checks of the run that bound something, each of which could fail by chance.
        confidence: the one-sided confidence at which the interval has to lie beyond the bound.
        estimate: the comparison with its interval at that confidence.
        is_confirmed: whether it does; a fail that is not confirmed is inconclusive.
    """

    hypotheses: int
    confidence: float
    estimate: Estimate
    is_confirmed: bool


class SliceResult(Noun):
    """A check's comparison on one slice of a task's documents.

    Attributes:
        slice: its name.
        estimate: the comparison, on the documents of the slice alone.
        has_collapsed: whether its interval, corrected for the number of slices, lies beyond the
            check's bound.
    """

    slice: str
    estimate: Estimate
    has_collapsed: bool


class Look(Noun):
    """One look of a sequential check: the first `documents` of the seeded order.

    `estimate` has the interval that holds at every look at once, by the method it names.
    """

    documents: int
    estimate: Estimate


class CheckResult(Noun):
    """What a check found for one variant and task, with the reason in one sentence.

    Attributes:
        estimate: the comparison; of a sequential check, at the look that decided or the last.
        tolerance: of a pass, how many more documents could change from right to wrong (or flip)
            before it would no longer be one; None where that is no count of documents.
        needed: of an undecided check, documents in all that would probably settle it; None where
            more would not.
        correction: Holm's, of a bound that is broken.
        slices: the same comparison on each slice, where the task names a field for them.
        looks: of a sequential check, every look up to the one that decided.
    """

    check: Check
    variant: str
    reference: str
    task: str
    outcome: Outcome
    reason: str
    estimate: Estimate | None = None
    tolerance: int | None = None
    needed: int | None = None
    correction: Correction | None = None
    slices: tuple[SliceResult, ...] = ()
    looks: tuple[Look, ...] = ()

    @property
    def label(self) -> str:
        """The name people and CI know the check by, as in ResolvedCheck."""
        return ResolvedCheck(
            check=self.check, variant=self.variant, reference=self.reference, task=self.task
        ).label


def labels_of(results: Sequence[CheckResult]) -> tuple[str, ...]:
    """A name for each result, told apart by '#2' where several checks have the same."""
    seen: Counter[str] = Counter()
    labels = []
    for label in (result.label for result in results):
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    return tuple(labels)


class VariantVerdict(Noun):
    """May this variant ship: the verdict over the checks of its whole lineage, and why."""

    variant: str
    verdict: Verdict
    reasons: tuple[str, ...]


LISTING_ORDER: tuple[Outcome, ...] = ("fail", "error", "inconclusive", "pass")
"""The outcomes in the order in which reports list what came to them."""

DECIDED_BY: dict[Verdict, Outcome] = {
    "promote": "pass",
    "block": "fail",
    "inconclusive": "inconclusive",
    "error": "error",
}
"""The outcome that brings a verdict about; verdicts have its mark."""

EXIT_STATUS: dict[Verdict, int] = {"promote": 0, "block": 1, "error": 3, "inconclusive": 4}
"""The exit status of a run, by its verdict; 2 is kept for wrong config and usage."""
