"""What changed document by document: pairs of variants, and every variant's answers."""

from collections.abc import Iterable
from typing import NamedTuple

from gate.evaluation_records import Document, Sample, Score
from gate.records import Record
from gate.reporting.views import Change, changes, documents_of, score_of

MOST_CHANGES = 50
"""Changed documents shown for a task and pair of variants; record.json has them all."""


class Pair(NamedTuple):
    """What changed on a task between a reference and a candidate."""

    reference: str
    candidate: str
    gains: int
    losses: int
    shown: tuple[Change, ...]
    left_out: int


class Answer(NamedTuple):
    """What one or several variants made of a document."""

    variants: tuple[str, ...]
    sample: Sample


class Dossier(NamedTuple):
    """A changed document with every variant's answer to it."""

    id: int
    document: Document | None
    answers: tuple[Answer, ...]


class TaskChanges(NamedTuple):
    """The pairs of variants compared on a task, and the documents that changed between them.

    Attributes:
        task: the task's name.
        right: the value of a right answer; None where the metric is not binary.
        pairs: the pairs of variants, in the order of their checks.
        documents: the task's documents by id.
        dossiers: every document shown for a pair.
    """

    task: str
    right: float | None
    pairs: tuple[Pair, ...]
    documents: dict[int, Document]
    dossiers: tuple[Dossier, ...]


def task_changes(record: Record) -> Iterable[TaskChanges]:
    """For each task that was compared, the documents that changed between its pairs."""
    for task in record.tasks:
        compared = {(r.reference, r.variant): None for r in record.results if r.task == task.name}
        pairs = tuple(
            pair for names in compared if (pair := _pair(record, task.name, *names)) is not None
        )
        scores = [score for score in record.scores if score.task == task.name]
        if pairs:
            changed = {change.document_id for pair in pairs for change in pair.shown}
            right = float(scores[0].higher_is_better) if scores[0].is_binary else None
            documents = documents_of(record, task.name)
            dossiers = tuple(_dossiers(scores, documents, changed))
            yield TaskChanges(task.name, right, pairs, documents, dossiers)


def _pair(record: Record, task: str, reference: str, candidate: str) -> Pair | None:
    before = score_of(record, reference, task)
    after = score_of(record, candidate, task)
    if before is None or after is None:
        return None
    found = changes(before, after)
    losses = sum(change.direction == "loss" for change in found)
    shown = found[:MOST_CHANGES]
    return Pair(reference, candidate, len(found) - losses, losses, shown, len(found) - len(shown))


def _dossiers(
    scores: Iterable[Score], documents: dict[int, Document], ids: set[int]
) -> Iterable[Dossier]:
    samples = {s.variant: {x.id: x for x in s.samples if x.id in ids} for s in scores}
    for document_id in sorted(ids):
        said = (
            (name, found[document_id]) for name, found in samples.items() if document_id in found
        )
        yield Dossier(document_id, documents.get(document_id), _answers(said))


def _answers(said: Iterable[tuple[str, Sample]]) -> tuple[Answer, ...]:
    """The variants' answers; those that gave the very same one stand together."""
    together: dict[tuple[object, ...], Answer] = {}
    for variant, sample in said:
        key = (sample.answer, sample.value, sample.loglikelihoods)
        names = together[key].variants if key in together else ()
        together[key] = Answer((*names, variant), sample)
    return tuple(together.values())
