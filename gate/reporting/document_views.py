"""Which documents changed between two variants that a check compares, the worst losses first."""

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

import numpy as np

from gate.evaluation_records import Document, Sample, Score
from gate.paired import orientation
from gate.records import Record
from gate.reporting.concerns import bearing
from gate.reporting.views import documents_of, score_of

Direction = Literal["loss", "gain", "other"]

DIRECTIONS: tuple[Direction, ...] = ("loss", "gain", "other")
"""In the order in which changes are listed; 'other' is another answer of the same value."""


class Pair(NamedTuple):
    """Two variants that at least one check compares on a task."""

    task: str
    reference: str
    candidate: str


class Change(NamedTuple):
    """A document on which two variants did differently.

    Attributes:
        pair: the task, and the two variants.
        direction: whether the candidate lost or gained, or only answered otherwise.
        gained: by how much the candidate's metric is better, in the metric's own unit; negative
            for a loss, 0 for another answer.
        margin: what the candidate adds to the log-probability margin of the right choice over
            the best of the others, in nats; 0 where there is none.
        before: what the reference made of it.
        after: what the candidate made of it.
        document: None where the record does not hold it.
    """

    pair: Pair
    direction: Direction
    gained: float
    margin: float
    before: Sample
    after: Sample
    document: Document | None


def compared_pairs(record: Record) -> tuple[Pair, ...]:
    """The pairs of variants whose scores on a task can be laid side by side, as checks name them.

    In the order of the tasks, and of the checks.
    """
    return tuple(
        pair
        for task in record.tasks
        for pair in dict.fromkeys(
            Pair(task.name, result.reference, result.variant)
            for result in record.results
            if result.task == task.name
        )
        if score_of(record, pair.reference, task.name)
        and score_of(record, pair.candidate, task.name)
    )


def changed_documents(record: Record) -> tuple[Change, ...]:
    """Every document that changed, once for each pair that it changed between.

    Losses come first, then gains, then other answers; of each, first those of variants that bear
    on the release, then the largest change of the metric, then of the log-probability margin.
    """
    found = [change for pair in compared_pairs(record) for change in _changes(record, pair)]
    names = bearing(record)
    return tuple(sorted(found, key=lambda one: _order(one, names)))


def changes_between(record: Record, pair: Pair) -> tuple[Change, ...]:
    """Every document that changed between two variants, in the order of `changed_documents`."""
    names = bearing(record)
    return tuple(sorted(_changes(record, pair), key=lambda one: _order(one, names)))


def _changes(record: Record, pair: Pair) -> Iterable[Change]:
    before = score_of(record, pair.reference, pair.task)
    after = score_of(record, pair.candidate, pair.task)
    if before is None or after is None:
        return
    documents = documents_of(record, pair.task)
    for earlier, later in _changed(before, after):
        gained = orientation(after) * (later.value - earlier.value)
        document = documents.get(later.id)
        margin = _margin(later, document) - _margin(earlier, document)
        yield Change(pair, _direction(gained), gained, margin, earlier, later, document)


def _changed(before: Score, after: Score) -> Iterable[tuple[Sample, Sample]]:
    """What both made of each document on which they differ, in the order of the second."""
    ids = (score.samples.column("id") for score in (before, after))
    _, *places = np.intersect1d(*ids, return_indices=True)
    order = np.argsort(places[1])
    earlier, later = before.samples.take(places[0][order]), after.samples.take(places[1][order])
    is_changed = earlier.column("value") != later.column("value")
    is_changed |= np.asarray(earlier.column("answer") != later.column("answer"), np.bool_)
    return zip(earlier.take(is_changed), later.take(is_changed), strict=True)


def _direction(gained: float) -> Direction:
    if not gained:
        return "other"
    return "gain" if gained > 0 else "loss"


def _margin(sample: Sample, document: Document | None) -> float:
    """The right choice's log-probability less the best other one's; of one text, its own."""
    nats = sample.loglikelihoods
    if not nats or document is None:
        return 0.0
    if not document.choices:
        return nats[0]
    if document.target not in document.choices or len(nats) != len(document.choices):
        return 0.0
    right = document.choices.index(document.target)
    return nats[right] - max((*nats[:right], *nats[right + 1 :]), default=0.0)


def _order(change: Change, names: Collection[str]) -> tuple[int, bool, float, float]:
    direction, is_aside = change.direction, change.pair.candidate not in names
    margin = {"loss": change.margin, "gain": -change.margin, "other": -abs(change.margin)}
    return DIRECTIONS.index(direction), is_aside, -abs(change.gained), margin[direction]
