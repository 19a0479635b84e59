"""What a worker is told to do, and what it tells while it does it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field

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
        converted: the directory of what a quantizer reads in the model's place.
        is_repeat: the second of two runs of one variant, in other batches and another order.
        speed: what to measure, for a speed stage.
        repeat: which of its repeats this is.
        partial: the folder in which the documents of an evaluation are kept as they are scored.
        text: the text to read, for a read stage.
        reading: how distributions are compared over it.
        reference: what a candidate is compared with: the variant to load beside it, or the
            directory of what was read of it; None where a reference is read.
        variant: the first variant that needs it.
    """

    stage: Stage
    label: str
    model: str
    adapters: tuple[LocalAdapter, ...]
    task: Task | None
    out: str
    base: str | None = None
    merged: str | None = None
    converted: str | None = None
    is_repeat: bool = False
    speed: Speed | None = None
    repeat: int = 0
    partial: str | None = None
    text: Text | None = None
    reading: Reading | None = None
    reference: Served | str | None = None
    variant: str = ""

    @property
    def served(self) -> Served:
        """The variant that it loads."""
        return Served(use=self.stage.use, model=self.model, adapters=self.adapters)


class Share(Noun):
    """A part of the documents of each evaluation of a batch, for a worker of its own.

    Attributes:
        part: which one, from 0.
        of: how many there are.
    """

    part: int
    of: int


class Batch(Noun):
    """Jobs for one child: one build, or the evaluations that share a loaded model.

    Those of a base may be followed by those of adapters, which are put on it then.

    Attributes:
        jobs: what to do, in order.
        options: keyword arguments that the gate gives to every extension that has them.
        python: the interpreter to run in; None for the gate's own.
        timeout_seconds: the longest that one job may take; None for no end.
        limit_seconds: the longest that all of them may take; None for no end.
        share: the documents that are asked and kept, with no output; None for all of them.
        is_answered: whether all documents are kept already, and no model is loaded.
        variables: of the child's environment, which say what of the machine is its own.
    """

    jobs: tuple[Job, ...]
    options: dict[str, JsonValue]
    python: str | None = None
    timeout_seconds: float | None = None
    limit_seconds: float | None = None
    share: Share | None = None
    is_answered: bool = False
    variables: dict[str, str] = Field(default_factory=dict)


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


class Line:
    """Takes a batch's events, and lets who listens to them stop what sends them.

    Attributes:
        is_cut: whether nobody listens any more.
    """

    def __init__(self, on_event: OnEvent) -> None:
        """Give each event to `on_event`, in the thread that sends it."""
        self.is_cut = False
        self._on_event = on_event
        self._stops: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Send an event; nothing happens once the line is cut."""
        if not self.is_cut:
            self._on_event(event)

    @contextmanager
    def stopped_by(self, stop: Callable[[], None]) -> Iterator[None]:
        """While this lasts, cutting the line calls `stop`; at once where it has been cut."""
        with self._lock:
            self._stops.append(stop)
            is_late = self.is_cut
        if is_late:
            stop()
        try:
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)

    def cut(self) -> None:
        """Listen no longer, and stop what sends."""
        with self._lock:
            self.is_cut = True
            stops = tuple(self._stops)
        for stop in stops:
            stop()
