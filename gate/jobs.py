"""What a worker is told to do, and what it tells while it does it."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from gate.errors import GateError
from gate.terms import JsonValue, LocalAdapter, Noun, Reading, Speed, Stage, Task, Text, Use


class NotRun(str):
    """Why a stage was not run at all: nothing failed, and a later run may do it."""

    __slots__ = ()


class Served(Noun):
    """A variant as a backend opens it: by which, from which directory, with which adapters."""

    use: Use
    model: str
    adapters: tuple[LocalAdapter, ...]


class Job(Noun):
    """A stage with the local paths it works on.

    Attributes:
        model: the directory it reads: a base, a merged or a quantized checkpoint.
        out: the existing, empty directory it writes into.
        base: the base model's directory, for an audit.
        merged: the merged checkpoint that a quantized one was made from, for an audit of it.
        is_repeat: the second of two runs of one variant, in other batches and another order.
        speed: what to measure, for a speed stage.
        repeat: which of its repeats this is.
        partial: the folder in which the documents of an evaluation are kept as they are scored.
        text: the text to read, for a read stage.
        reading: how distributions are compared over it.
        reference: what a candidate is compared with: the variant to load beside it, or the
            directory of what was read of it; None where a reference is read.
    """

    stage: Stage
    label: str
    model: str
    adapters: tuple[LocalAdapter, ...]
    task: Task | None
    out: str
    base: str | None = None
    merged: str | None = None
    is_repeat: bool = False
    speed: Speed | None = None
    repeat: int = 0
    partial: str | None = None
    text: Text | None = None
    reading: Reading | None = None
    reference: Served | str | None = None

    @property
    def served(self) -> Served:
        """The variant that it loads."""
        return Served(use=self.stage.use, model=self.model, adapters=self.adapters)


class Batch(Noun):
    """Jobs for one child: one build, or the evaluations that share a loaded model.

    Attributes:
        jobs: what to do, in order.
        options: keyword arguments that the gate gives to every extension that has them.
        python: the interpreter to run in; None for the gate's own.
        timeout_seconds: the longest that one job may take; None for no end.
        limit_seconds: the longest that all of them may take; None for no end.
    """

    jobs: tuple[Job, ...]
    options: dict[str, JsonValue]
    python: str | None = None
    timeout_seconds: float | None = None
    limit_seconds: float | None = None


class Started(Noun):
    """A job begins."""

    event: Literal["started"] = "started"
    key: str


class Progress(Noun):
    """A job has done so many of its documents."""

    event: Literal["progress"] = "progress"
    key: str
    done: int
    total: int


class Done(Noun):
    """A job's output is whole; `interpreter` says which Python made it: version and path."""

    event: Literal["done"] = "done"
    key: str
    seconds: float
    peak_memory_bytes: int
    interpreter: str


class Failed(Noun):
    """A job ended in an error."""

    event: Literal["failed"] = "failed"
    key: str
    problem: str
    hint: str | None
    exit_status: int


def failed(job: Job, error: GateError) -> Failed:
    """The event of a job that ended in an error."""
    return Failed(
        key=job.stage.key, problem=error.problem, hint=error.hint, exit_status=error.exit_status
    )


Event = Started | Progress | Done | Failed
OnEvent = Callable[[Event], None]
RunBatch = Callable[[Batch, Path, OnEvent], None]
"""Runs a batch with a log file: in a child (`run_in_child`), or here (`run_in_process`)."""
