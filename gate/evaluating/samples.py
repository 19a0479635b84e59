"""What lm-eval logs of a document, as the document and the sample of a record."""

from collections.abc import Mapping, Sequence
from typing import Any

from gate.errors import ConfigError
from gate.evaluating.loading import LoadedTask
from gate.evaluating.metrics import Aggregation, measure
from gate.evaluation_records import Document, Sample
from gate.terms import Task

Logged = Mapping[str, Any]
"""What lm-eval logs of one document, read after one filter."""


def read_document(logged: Logged, loaded: LoadedTask) -> Document:
    """A document as it was asked."""
    is_text_alone = loaded.inner.OUTPUT_TYPE == "loglikelihood_rolling"
    choices = _choices(logged, loaded)
    return Document(
        id=logged["doc_id"],
        hash=logged["doc_hash"],
        prompt="" if is_text_alone else logged["arguments"][0][0],
        target=_target(logged["target"], choices),
        choices=choices,
    )


def read_sample(
    logged: Logged, loaded: LoadedTask, aggregation: Aggregation, *, place: int, request_hash: str
) -> Sample:
    """What the model made of a document.

    Args:
        logged: by lm-eval, with the metric.
        loaded: the task.
        aggregation: how the metric is aggregated.
        place: the document's in the seeded order.
        request_hash: of all the model was given for it.

    Raises:
        ConfigError: it has no such metric, or not what the aggregation is made from.
        StageError: its value is not finite.
    """
    task, number = loaded.task, logged["doc_id"]
    if task.metric not in logged["metrics"]:
        raise ConfigError(
            f"task {task.name}: document {number} has no {task.metric}, which others have",
            hint="its process_results must give the metric for every document",
        )
    choices = _choices(logged, loaded)
    likelihoods = [] if loaded.inner.OUTPUT_TYPE == "generate_until" else logged["resps"]
    scores = [first[0] if isinstance(first, tuple) else first for first, *_ in likelihoods]
    found = measure(
        aggregation.name,
        logged[task.metric],
        choices=len(choices),
        what=f"task {task.name}: document {number}: {task.metric}",
    )
    return Sample(
        id=number,
        hash=logged["doc_hash"],
        value=found.value,
        answer=_answer(logged, task, choices, scores),
        request_hash=request_hash,
        loglikelihoods=tuple(scores[: len(choices) or None]),
        place=place,
        cluster=loaded.clusters[number] if loaded.clusters else None,
        slice=loaded.slices[number] if loaded.slices else None,
        statistics=found.statistics,
    )


def _target(target: Any, choices: Sequence[str]) -> str:
    """The right answer as text: lm-eval gives a choice by its number, and several as a list."""
    if isinstance(target, list):
        return " | ".join(_target(part, choices) for part in target)
    if isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    return str(target)


def _choices(logged: Logged, loaded: LoadedTask) -> tuple[str, ...]:
    if loaded.inner.OUTPUT_TYPE != "multiple_choice":
        return ()
    return tuple(map(str, loaded.inner.doc_to_choice(logged["doc"])))


def _answer(logged: Logged, task: Task, choices: Sequence[str], scores: Sequence[float]) -> str:
    """The text written, or the choice taken, by the metric's own way of choosing."""
    if choices:
        taken = max(range(len(choices)), key=lambda place: _strength(place, task, choices, scores))
        return choices[taken]
    first = logged["resps"][0][0]
    if isinstance(first, str):
        return first
    is_greedy = isinstance(first, tuple) and first[1]
    return str(logged["target"]) if is_greedy else ""


def _strength(place: int, task: Task, choices: Sequence[str], scores: Sequence[float]) -> float:
    """What lm-eval 0.4.13 takes the largest of (ConfigurableTask.process_results)."""
    if task.metric == "acc_norm":
        return scores[place] / len(choices[place])
    if task.metric == "acc_bytes":
        return scores[place] / len(choices[place].encode())
    if task.metric == "acc_mutual_info":
        return scores[place] - scores[place + len(choices)]
    return scores[place]
