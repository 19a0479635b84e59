"""What an evaluation found: documents, samples, and the score they make."""

from collections.abc import Mapping
from typing import Any, Self

from gate.tables import Table
from gate.terms import Noun


class Document(Noun):
    """One document of a task, as every variant was asked it.

    Attributes:
        id: its position in the task.
        hash: lm-eval's sha256 of the document.
        prompt: the text the model continues, chat template included.
        target: the right answer, as text.
        choices: the answers offered; empty for a generation task.
    """

    id: int
    hash: str
    prompt: str
    target: str
    choices: tuple[str, ...] = ()


class Sample(Noun):
    """What one variant made of one document.

    Attributes:
        id: the document's position in the task.
        hash: the document's hash.
        value: the metric, larger or smaller being better as the evaluation says.
        answer: the choice taken, or the text generated.
        request_hash: sha256 of every token id the model was given for this document.
        loglikelihoods: summed log-probability of each choice, in nats; empty for generation.
        place: the document's place in the seeded order in which a task is evaluated, from 0.
        cluster: what it shares with other documents; None where the task names no such field.
        slice: its part of the task; None where the task names no such field.
        statistics: what a metric of the whole corpus is computed from; empty for other metrics.
    """

    id: int
    hash: str
    value: float
    answer: str
    request_hash: str
    loglikelihoods: tuple[float, ...] = ()
    place: int = 0
    cluster: str | None = None
    slice: str | None = None
    statistics: tuple[float, ...] = ()


class _OfTables(Noun):
    """A noun of which some fields are tables."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As any noun's; records that are put in a table's place become one."""
        kinds = {"samples": Sample, "documents": Document}
        made = {
            name: Table.of(kinds[name], value) if name in kinds else value
            for name, value in (update or {}).items()
        }
        return super().model_copy(update=made, deep=deep)


class Evaluation(_OfTables):
    """What an evaluate stage gives: one sample per document of a task, sorted by document id.

    Attributes:
        aggregate: how the metric of the corpus follows from the samples: 'mean' of their values,
            or a function of their statistics, by its name in gate/aggregates.py.
        available: documents the task has, of which these may be the first of the seeded order.
    """

    task: str
    metric: str
    higher_is_better: bool
    is_binary: bool
    aggregate: str = "mean"
    available: int = 0
    documents: Table[Document]
    samples: Table[Sample]


class Score(_OfTables):
    """How one variant did on one task: one sample per document, sorted by document id.

    Attributes:
        aggregate: see `Evaluation`.
        available: documents the task has.
    """

    variant: str
    task: str
    metric: str
    higher_is_better: bool
    is_binary: bool
    aggregate: str = "mean"
    available: int = 0
    samples: Table[Sample]

    @property
    def mean(self) -> float:
        """The mean of the metric over the documents; 0.0 where there are none."""
        if not self.samples:
            return 0.0
        values: list[float] = self.samples.column("value").tolist()
        return sum(values) / len(values)


class Corpus(_OfTables):
    """The documents of one task, the same for every variant."""

    task: str
    documents: Table[Document]
