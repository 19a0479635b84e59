"""Runs one lm-eval task on one engine, in an order that no limit changes, a part at a time."""

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gate.aggregates import aggregate_of
from gate.digest import digest_json
from gate.errors import ConfigError, StageError
from gate.evaluating.chunks import Chunk, read_chunk, write_chunk
from gate.evaluating.loading import LoadedTask, check_metric, document_hash, load_task
from gate.evaluating.metrics import find_aggregation
from gate.evaluating.samples import read_document, read_sample
from gate.evaluation_records import Evaluation, Sample
from gate.jobs import Share
from gate.terms import Task

if TYPE_CHECKING:
    from gate.engines.language_models import GateLM

BINARY_METRICS = frozenset(
    {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em", "pass@1"}
)
"""Metrics that judge each document right or wrong."""

CHUNK = 50
"""Documents that are kept together: looks begin at 50 documents and double."""

PART = 200
"""Documents whose rows are sorted into batches together; fewer fill batches worse.

In the demo's tasks 50 took 5 to 20 % more tokens than all documents at once, 200 took 2 to 4 %.
Parts begin at multiples of it, whoever asks them: in other batches, last bits differ.
"""


def evaluate_task(
    lm: "GateLM",
    task: Task,
    *,
    on_progress: Callable[[int, int], None],
    partial: Path | None = None,
) -> Evaluation:
    """One sample per document of a task, as the model answers it.

    Documents are asked in one order, drawn by the task's seed; a limit takes the first of them,
    the same ones for every model. What a document is asked does not depend on the others.

    Args:
        lm: the loaded model, as a backend opens it.
        task: the task, with the metric and filter that stand for it.
        on_progress: hears (documents done, documents in all).
        partial: a folder for this model and task, whatever the limit: chunks found there are not
            asked again, and those that are asked are kept there.

    Raises:
        ConfigError: the task has no documents, or not this metric, filter or field, or needs
            sampling, or is scored in a way that the gate does not know.
        StageError: a document does not fit the model, or a score is not finite.
    """
    with tempfile.TemporaryDirectory() as scratch:
        return _Run(lm, load_task(task, Path(scratch)), on_progress, partial).evaluation()


def evaluate_share(
    lm: "GateLM",
    task: Task,
    share: Share,
    *,
    on_progress: Callable[[int, int], None],
    partial: Path,
) -> None:
    """Keep what the model answers to a share of a task's documents: every so many-th part.

    Args:
        lm: the loaded model.
        task: the task.
        share: which parts.
        on_progress: hears (documents of the share done, documents in all).
        partial: the folder that the workers of all shares keep their documents in.

    Raises:
        ConfigError: as `evaluate_task`.
        StageError: as `evaluate_task`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _Run(lm, load_task(task, Path(scratch)), on_progress, partial).chunks(share)


def gather_shares(task: Task, *, partial: Path) -> Evaluation:
    """The evaluation that the workers of all shares have kept the documents of.

    Raises:
        StageError: documents are missing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        loaded = load_task(task, Path(scratch))
        return _Run(None, loaded, lambda *_: None, partial).evaluation()


class _Run:
    """One evaluation: a loaded task on a loaded model."""

    def __init__(
        self,
        lm: "GateLM | None",
        loaded: LoadedTask,
        on_progress: Callable[[int, int], None],
        partial: Path | None,
    ) -> None:
        self._lm = lm
        self._loaded = loaded
        self._on_progress = on_progress
        self._partial = partial
        self._total = min(loaded.task.limit or len(loaded.order), len(loaded.order))
        # lm-eval would aggregate each part of a task, and some aggregations refuse a part
        loaded.inner.aggregation = lambda: defaultdict(lambda: len)

    def evaluation(self) -> Evaluation:
        """All chunks as one."""
        return _evaluation(self._loaded, tuple(self.chunks().values()), self._total)

    def chunks(self, share: Share | None = None) -> dict[int, Chunk]:
        """{place it begins at: chunk} of a share: what was kept, and the answers to the rest."""
        wanted = [first for first in range(0, self._total, CHUNK) if _is_in(share, first)]
        chunks = {first: kept for first in wanted if (kept := self._kept(first)) is not None}
        done = sum(len(self._places(first)) for first in chunks)
        self._on_progress(done, self._total)
        missing = [first for first in wanted if first not in chunks]
        for _, part in groupby(missing, key=lambda first: first // PART):
            asked = self._ask(tuple(part), done)
            done += sum(len(chunk.samples) for chunk in asked.values())
            chunks |= asked
        return chunks

    @property
    def _model(self) -> "GateLM":
        if self._lm is None:
            name = self._loaded.task.name
            raise StageError(f"task {name}: documents that were shared out are not there")
        return self._lm

    def _places(self, first: int) -> range:
        """The places of a chunk that are evaluated."""
        return range(first, min(first + CHUNK, self._total))

    def _kept(self, first: int) -> Chunk | None:
        """A chunk in the folder: the whole one, or as far as the limit goes."""
        if self._partial is None:
            return None
        whole = _digest(self._loaded, range(first, first + CHUNK))
        as_asked = _digest(self._loaded, self._places(first))
        kept = read_chunk(self._partial, first, of=whole)
        if kept is None and as_asked != whole:
            kept = read_chunk(self._partial, first, of=as_asked)
        return kept

    def _ask(self, firsts: Sequence[int], done: int) -> dict[int, Chunk]:
        """{place it begins at: chunk} of the model's answers, which the folder keeps."""
        loaded, task = self._loaded, self._loaded.task
        places = [place for first in firsts for place in self._places(first)]
        logged = self._logged([loaded.order[place] for place in places], done)
        check_metric(task, logged[0]["metrics"])
        aggregation = find_aggregation(task.name, task.metric, loaded.aggregations())
        chunks = {}
        for first in firsts:
            own = [index for index, place in enumerate(places) if place in self._places(first)]
            chunks[first] = Chunk(
                higher_is_better=_direction(loaded),
                aggregate=aggregation.aggregate,
                documents=tuple(read_document(logged[index], loaded) for index in own),
                samples=tuple(
                    read_sample(
                        logged[index],
                        loaded,
                        aggregation,
                        place=places[index],
                        request_hash=self._model.request_hash(index),
                    )
                    for index in own
                ),
            )
            if self._partial is not None:
                of = _digest(loaded, self._places(first))
                write_chunk(self._partial, first, chunks[first], of=of)
        return chunks

    def _logged(self, ids: Sequence[int], done: int) -> list[dict[str, Any]]:
        """What lm-eval logs of these documents, in their order."""
        from lm_eval.evaluator import evaluate

        task, loaded = self._loaded.task, self._loaded
        self._model.begin(
            name_document=lambda index: f"task {task.name}: document {ids[index]}",
            on_progress=lambda more, _: self._on_progress(done + more, self._total),
        )
        loaded.inner.doc_iterator = lambda **_: enumerate(loaded.documents[one] for one in ids)
        results = evaluate(
            self._model,
            {"tasks": {task.name: loaded.inner}},
            samples={task.name: list(ids)},
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=task.chat,
            fewshot_as_multiturn=task.chat,
        )
        return [one for one in results["samples"][task.name] if one["filter"] == task.filter]


def _is_in(share: Share | None, first: int) -> bool:
    """Whether the part that a chunk is in is of a share."""
    return share is None or first // PART % share.of == share.part


def _digest(loaded: LoadedTask, places: range) -> str:
    """What a chunk is of: the task but for its limit, and each document that there is."""
    task = loaded.task.model_dump(mode="json", exclude={"limit", "path"})
    ids = loaded.order[places.start : places.stop]
    documents = [[one, document_hash(loaded.documents[one])] for one in ids]
    return digest_json({"task": task, "documents": documents})


def _direction(loaded: LoadedTask) -> bool:
    task = loaded.task
    is_higher_better = loaded.inner.higher_is_better().get(task.metric)
    if is_higher_better is None:
        raise ConfigError(
            f"task {task.name} does not say whether more {task.metric} is better",
            hint="set higher_is_better in its metric_list",
        )
    return bool(is_higher_better)


def _evaluation(loaded: LoadedTask, chunks: Sequence[Chunk], total: int) -> Evaluation:
    """The chunks as one, by document; a limit takes a part of a chunk that was kept."""
    task, aggregate = loaded.task, chunks[0].aggregate
    pairs = [
        pair
        for chunk in chunks
        for pair in zip(chunk.samples, chunk.documents, strict=True)
        if pair[0].place < total
    ]
    pairs.sort(key=lambda pair: pair[0].id)
    samples = _alike([sample for sample, _ in pairs])
    _require_finite(task, aggregate, samples)
    return Evaluation(
        task=task.name,
        metric=task.metric,
        higher_is_better=chunks[0].higher_is_better,
        is_binary=_is_binary(task, aggregate, samples),
        aggregate=aggregate,
        available=len(loaded.order),
        documents=tuple(document for _, document in pairs),
        samples=samples,
    )


def _alike(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The samples with statistics of one length: fewer choices mean fewer labels to count."""
    most = max(len(sample.statistics) for sample in samples)
    return tuple(
        sample.model_copy(
            update={"statistics": sample.statistics + (0.0,) * (most - len(sample.statistics))}
        )
        if len(sample.statistics) < most
        else sample
        for sample in samples
    )


def _require_finite(task: Task, aggregate: str, samples: Sequence[Sample]) -> None:
    if aggregate == "mean":
        return
    sums = np.array([sample.statistics for sample in samples]).sum(axis=0)
    value = float(aggregate_of(aggregate)(sums))
    if not math.isfinite(value):
        raise StageError(
            f"task {task.name}: {task.metric} of its {len(samples):,} documents is {value}",
            hint="the texts are so improbable that it is beyond a float: is the model broken?",
        )


def _is_binary(task: Task, aggregate: str, samples: Sequence[Sample]) -> bool:
    """Whether the metric is right or wrong by its nature, and here.

    Values alone do not decide: one variant may happen to have no value between 0 and 1.
    """
    is_mean = aggregate == "mean" and task.metric in BINARY_METRICS
    return is_mean and all(sample.value in (0, 1) for sample in samples)
