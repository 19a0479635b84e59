"""What reports look up in a record: scores, artifacts, documents, what changed between two arms."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from gate.presentation import OUTCOME_WORDS
from gate.records import Artifact, CheckResult, Document, Record, Sample, Score
from gate.terms import Variant


class Change(NamedTuple):
    """One document that two variants did differently on.

    Attributes:
        document_id: the document's position in the task.
        reference: what the reference made of it.
        candidate: what the candidate made of it.
        direction: whether the candidate gained or lost.
    """

    document_id: int
    reference: Sample
    candidate: Sample
    direction: Literal["gain", "loss"]


def tally(results: Iterable[CheckResult]) -> str:
    """How many checks had which outcome: '18 passed, 2 failed, 1 inconclusive'."""
    outcomes = [result.outcome for result in results]
    counts = {outcome: outcomes.count(outcome) for outcome in OUTCOME_WORDS}
    said = [f"{counts[outcome]} {word}" for outcome, word in OUTCOME_WORDS.items()]
    return ", ".join(words for words in said if not words.startswith("0 ")) or "no checks"


def not_passed(record: Record) -> tuple[CheckResult, ...]:
    """Results that did not pass: blocking ones first, failures before what is undecided."""
    order = {"fail": 0, "error": 1, "inconclusive": 2, "pass": 3}
    results = [result for result in record.results if result.outcome != "pass"]
    return tuple(sorted(results, key=lambda r: (r.check.level == "warn", order[r.outcome])))


def score_of(record: Record, variant: str, task: str) -> Score | None:
    """How a variant did on a task; None where that was not measured."""
    found = (s for s in record.scores if s.variant == variant and s.task == task)
    return next(found, None)


def artifact_of(record: Record, variant: str) -> Artifact | None:
    """The checkpoint behind a variant; None for one served from the base and adapters as given."""
    return next((a for a in record.artifacts if a.variant == variant), None)


def documents_of(record: Record, task: str) -> dict[int, Document]:
    """The documents of a task by id; empty where the record has none."""
    corpus = next((c for c in record.corpora if c.task == task), None)
    return {} if corpus is None else {document.id: document for document in corpus.documents}


def lineage(variant: Variant) -> tuple[str, ...]:
    """The steps from the base model to what is served: base, adapters, merge, quantization."""
    steps = ["base", *(f"+ {name}" for name in variant.adapters)]
    if variant.merge is not None:
        steps.append(f"merge {variant.merge}")
    if variant.quantize is not None:
        steps.append(f"quantize {variant.quantize}")
    return tuple(steps)


def changes(reference: Score, candidate: Score) -> tuple[Change, ...]:
    """Documents whose metric changed, the greatest loss first, paired by id."""
    before = {sample.id: sample for sample in reference.samples}
    sign = 1 if candidate.higher_is_better else -1
    found = [
        (sign * (after.value - before[after.id].value), before[after.id], after)
        for after in candidate.samples
        if after.id in before and after.value != before[after.id].value
    ]
    found.sort(key=lambda item: (item[0], item[2].id))
    return tuple(
        Change(after.id, earlier, after, "gain" if gained > 0 else "loss")
        for gained, earlier, after in found
    )
