"""The changed documents as data for a page: each text once, rows of places instead of keys."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from gate.evaluation_records import Document, Sample
from gate.presentation import anchor, printable
from gate.records import Record
from gate.reporting.document_views import DIRECTIONS, Change, Pair, compared_pairs
from gate.reporting.views import documents_of, scores_of
from gate.tables import ById, Table
from gate.terms import Task

_DECIMALS = 4
"""Of a log-probability in nats."""

_DIGITS = 6
"""Significant digits of a metric's value; more where two answers would look alike."""

_Row = list[object]


def pack_documents(record: Record, changes: Collection[Change]) -> str:
    """Every changed document once, with what every variant made of it, as JSON.

    A text is told by its place in `texts`; null is one that is missing. The parts:

    * texts: strings, fit to be shown.
    * variants: texts, the names of those that have a score.
    * tasks: [name, metric, value of a right answer or null, what all its prompts begin with, what
      they end with].
    * pairs: [task, reference, candidate], the last two by their place in `variants`.
    * documents: [anchor, task, id, hash, slice, cluster, prompt between these, target, choices,
      answers, taken]; an answer is [text, value, nats of each choice], and `taken` tells each
      variant's by its place, -1 where the variant was not asked.
    * changes: {direction: [document, pair, document, pair, ...]}, in the order of `changes`.

    Args:
        record: a run's.
        changes: what `changed_documents` finds in it.
    """
    texts = _Texts()
    variants = tuple(dict.fromkeys(score.variant for score in scores_of(record)))
    asked = [_look_up(record, task, variants) for task in record.tasks]
    numbers = {one.task.name: number for number, one in enumerate(asked)}
    pairs = compared_pairs(record)
    changed = sorted({(numbers[one.pair.task], one.after.id) for one in changes})
    places = {(asked[task].task.name, number): at for at, (task, number) in enumerate(changed)}
    whole = {
        "variants": [texts.place(name) for name in variants],
        "tasks": [_task_row(one, texts) for one in asked],
        "pairs": [
            (numbers[task], variants.index(reference), variants.index(candidate))
            for task, reference, candidate in pairs
        ],
        "documents": [_document_row(asked[task], task, at, texts) for task, at in changed],
        "changes": _change_places(changes, places, pairs),
        "texts": texts.all,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


class _Texts:
    """The texts of a page, each once."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self.all: list[str] = []

    def place(self, text: str | None) -> int | None:
        """Where a text stands; a new one comes last."""
        if text is None:
            return None
        place = self._places.setdefault(text, len(self.all))
        if place == len(self.all):
            self.all.append(printable(text))
        return place


class _Asked(NamedTuple):
    """A task, its documents by id, and each variant's samples by id.

    `beginning` and `ending` are what all its prompts begin and end with.
    """

    task: Task
    right: float | None
    documents: ById[Document]
    samples: tuple[ById[Sample], ...]
    beginning: str
    ending: str


def _look_up(record: Record, task: Task, variants: Sequence[str]) -> _Asked:
    scores = {score.variant: score for score in scores_of(record) if score.task == task.name}
    first = next(iter(scores.values()), None)
    documents = documents_of(record, task.name)
    prompts = documents.table.column("prompt").tolist()
    beginning = _shared_beginning(prompts)
    return _Asked(
        task=task,
        right=float(first.higher_is_better) if first and first.is_binary else None,
        documents=documents,
        samples=tuple(
            ById(scores[name].samples if name in scores else Table.of(Sample, ()))
            for name in variants
        ),
        beginning=beginning,
        ending=_shared_ending(prompt.removeprefix(beginning) for prompt in prompts),
    )


def _shared_beginning(prompts: Iterable[str]) -> str:
    """The whole lines that all prompts begin with, such as a system prompt."""
    shared = _shared_start(prompts)
    return shared[: shared.rfind("\n") + 1]


def _shared_ending(prompts: Iterable[str]) -> str:
    """What all prompts end with, such as a template's marks; no word is cut in two."""
    return re.sub(r"^\w+", "", _shared_start(prompt[::-1] for prompt in prompts)[::-1])


def _shared_start(texts: Iterable[str]) -> str:
    """What all texts start with; a single text shares nothing."""
    given = iter(texts)
    shared = next(given, "")
    second = next(given, None)
    if second is None:
        return ""
    for text in chain([second], given):
        if not text.startswith(shared):
            pairs = enumerate(zip(shared, text, strict=False))
            end = min(len(shared), len(text))
            shared = shared[: next((at for at, (one, other) in pairs if one != other), end)]
    return shared


def _task_row(asked: _Asked, texts: _Texts) -> _Row:
    name, metric = asked.task.name, asked.task.metric
    first, last = texts.place(asked.beginning), texts.place(asked.ending)
    return [texts.place(name), texts.place(metric), asked.right, first, last]


def _document_row(asked: _Asked, task: int, document_id: int, texts: _Texts) -> _Row:
    document = asked.documents.get(document_id)
    said = [samples.get(document_id) for samples in asked.samples]
    first = next(sample for sample in said if sample)
    row: _Row = [anchor("doc", asked.task.name, document_id), task, document_id, first.hash]
    row += [texts.place(first.slice), texts.place(first.cluster)]
    if document is None:
        row += [None, None, []]
    else:
        rest = document.prompt.removeprefix(asked.beginning).removesuffix(asked.ending)
        row += [texts.place(rest), texts.place(document.target)]
        row.append([texts.place(choice) for choice in document.choices])
    return row + _answers(said, texts)


def _answers(said: Sequence[Sample | None], texts: _Texts) -> _Row:
    """The different answers, and for each variant the place of its own."""
    values = _rounded({sample.value for sample in said if sample})
    different: dict[tuple[object, ...], int] = {}
    taken = []
    for sample in said:
        if sample is None:
            taken.append(-1)
            continue
        nats = tuple(map(_nats, sample.loglikelihoods))
        answer = (texts.place(sample.answer), values[sample.value], nats)
        taken.append(different.setdefault(answer, len(different)))
    return [list(different), taken]


def _nats(value: float) -> float:
    """A log-probability as it is shown: one that is not zero is not rounded to zero."""
    return round(value, _DECIMALS) or float(f"{value:.1g}")


def _rounded(values: Collection[float]) -> dict[float, float]:
    """Each value as it is shown; unrounded where two of them would not be told apart."""
    shown = {value: float(f"{value:.{_DIGITS}g}") for value in values}
    return shown if len(set(shown.values())) == len(shown) else {value: value for value in values}


def _change_places(
    changes: Iterable[Change], documents: dict[tuple[str, int], int], pairs: Sequence[Pair]
) -> dict[str, list[int]]:
    number = {pair: place for place, pair in enumerate(pairs)}
    places: dict[str, list[int]] = {direction: [] for direction in DIRECTIONS}
    for one in changes:
        place = documents[one.pair.task, one.after.id]
        places[one.direction] += [place, number[one.pair]]
    return places
