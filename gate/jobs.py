"""What a worker is told to do, and what it tells while it does it."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from gate.terms import JsonValue, LocalAdapter, Noun, Stage, Task


class Job(Noun):
    """A stage with the local paths it works on.

    Attributes:
        model: the directory it reads: a base, a merged or a quantized checkpoint.
        out: the existing, empty directory it writes into.
        base: the base model's directory, for an audit.
        merged: the merged checkpoint that a quantized one was made from, for an audit of it.
    """

    stage: Stage
    label: str
    model: str
    adapters: tuple[LocalAdapter, ...]
    task: Task | None
    out: str
    base: str | None = None
    merged: str | None = None


class Batch(Noun):
    """Jobs for one child: one build, or the evaluations that share a loaded model."""

    jobs: tuple[Job, ...]
    options: dict[str, JsonValue]
    """Keyword arguments that the gate gives to every extension: trust_remote_code and such."""


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
    """A job's output is whole."""

    event: Literal["done"] = "done"
    key: str
    seconds: float
    peak_memory_bytes: int


class Failed(Noun):
    """A job ended in an error."""

    event: Literal["failed"] = "failed"
    key: str
    problem: str
    hint: str | None
    exit_status: int


Event = Started | Progress | Done | Failed
OnEvent = Callable[[Event], None]
RunBatch = Callable[[Batch, Path, OnEvent], None]
"""Runs a batch with a log file: in a child (`run_in_child`), or here (`run_in_process`)."""
