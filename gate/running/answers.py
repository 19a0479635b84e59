"""What a worker does of an evaluation: all documents, a share, or what others kept as one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gate.errors import StageError
from gate.jobs import Job, OnEvent, Progress, Share
from gate.terms import Task

if TYPE_CHECKING:
    from gate.engines.language_models import GateLM

EVALUATION_FILE = "evaluation.json"
"""The file in an evaluate stage's output."""


def answer(job: Job, lm: "GateLM", on_event: OnEvent, *, share: Share | None = None) -> None:
    """Write a model's evaluation, or keep a share of its documents in the job's folder.

    Raises:
        StageError: the job has no task, or no folder for a share.
        GateError: as `evaluate.evaluate_task`.
    """
    from gate.evaluate import evaluate_share, evaluate_task  # loads lm-eval

    task, told = _task(job), telling(job, on_event)
    if share is not None:
        evaluate_share(lm, task, share, on_progress=told, partial=_kept(job))
        return
    partial = Path(job.partial) if job.partial else None
    evaluation = evaluate_task(lm, task, on_progress=told, partial=partial)
    (Path(job.out) / EVALUATION_FILE).write_text(evaluation.model_dump_json(), encoding="utf-8")


def gather(job: Job) -> None:
    """Write the evaluation whose documents other workers have kept; no model is loaded.

    Raises:
        StageError: the job has no task or no folder, or documents are not there.
    """
    from gate.evaluate import gather_shares  # loads lm-eval

    evaluation = gather_shares(_task(job), partial=_kept(job))
    (Path(job.out) / EVALUATION_FILE).write_text(evaluation.model_dump_json(), encoding="utf-8")


def telling(job: Job, on_event: OnEvent) -> Callable[[int, int], None]:
    """What tells how many of a job's documents or texts are done."""
    return lambda done, total: on_event(Progress(key=job.stage.key, done=done, total=total))


def _task(job: Job) -> Task:
    if job.task is None:
        raise StageError(f"{job.label}: an evaluate stage without a task")
    return job.task


def _kept(job: Job) -> Path:
    if job.partial is None:
        raise StageError(f"{job.label}: shared out, and its documents are kept nowhere")
    return Path(job.partial)
