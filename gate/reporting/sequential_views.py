"""What reports say of early stopping: how many documents each check took, and what that saved."""

from typing import NamedTuple

from gate.evaluation_records import Score
from gate.presentation import OUTCOME_WORDS, count, interval_text, percent
from gate.records import Record
from gate.result_records import CheckResult


class Decision(NamedTuple):
    """How many documents a sequential check took.

    Attributes:
        number: the check's in the record.
        label: variants and task.
        check: what it compares.
        documents: at the look that decided, or the last.
        looks: how many there were.
        outcome: in a word, 'still undecided' where no look decided.
        estimate: at that look.
        method: the bound that holds at every look at once.
    """

    number: int
    label: str
    check: str
    documents: int
    looks: int
    outcome: str
    estimate: str
    method: str


def decisions(record: Record) -> tuple[Decision, ...]:
    """One for each sequential check, in the order of the checks; empty without any."""
    return tuple(
        Decision(
            number=number,
            label=f"{result.variant} vs {result.reference} on {result.task}",
            check=str(result.check.compare),
            documents=result.looks[-1].documents,
            looks=len(result.looks),
            outcome="still undecided"
            if result.outcome == "inconclusive"
            else OUTCOME_WORDS[result.outcome],
            estimate=interval_text(result.looks[-1].estimate, result.check),
            method=result.looks[-1].estimate.method,
        )
        for number, result in enumerate(record.results, start=1)
        if result.looks
    )


def planned_documents(record: Record, result: CheckResult) -> int:
    """The documents that a sequential check would have taken, had it not been decided before."""
    arms = (result.variant, result.reference)
    scores = [one for one in record.scores if one.task == result.task and one.variant in arms]
    last = result.looks[-1].documents if result.looks else 0
    return max((_planned(record, score) for score in scores), default=last)


def saved_text(record: Record) -> str:
    """What stopping early saved, in a sentence; empty where nothing was judged sequentially.

    Documents are counted once for each variant that was asked them.
    """
    sequential = {result.task for result in record.results if result.looks}
    asked = planned = 0
    for score in record.scores:
        if score.task in sequential:
            asked += len(score.samples)
            planned += _planned(record, score)
    if not planned:
        return ""
    return (
        f"{count(asked, 'answer')} of {count(planned)} were asked for; stopping early saved "
        f"{percent(1 - asked / planned)}."
    )


def _planned(record: Record, score: Score) -> int:
    """All documents of a score's task, or the limit that is set for it."""
    limits = {task.name: task.limit for task in record.tasks}
    whole = max(score.available, len(score.samples))
    return min(whole, limits.get(score.task) or whole)
