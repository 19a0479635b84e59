"""What a run shows while it goes: a live display on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from gate.jobs import Done, Event, Failed, NotRun, Progress
from gate.planning.stages import PlannedStage
from gate.planning.todo import Todo
from gate.running.filling import Watcher

_PLAIN_SECONDS = 15.0


@contextmanager
def watch(stream: TextIO) -> Iterator[Watcher]:
    """A watcher for a stream: live where it is a terminal, else a line at a time."""
    if not stream.isatty():
        yield PlainLines(stream)
        return
    from gate.cli.live import display_on  # rich takes a while to import

    with display_on(stream) as watcher:
        yield watcher


class _Stage:
    """A stage that has been told of: its number, when it began, when it was told of last."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.begun = self.told = time.monotonic()


class PlainLines(Watcher):
    """One line when a stage begins, moves on after a while, and ends; one for each later look."""

    def __init__(self, stream: TextIO) -> None:
        """Write to this stream."""
        self._stream = stream
        self._total = 0
        self._stages: dict[str, _Stage] = {}
        self._is_first_look = True

    def planned(self, todo: Todo) -> None:
        """Say how much there is to do."""
        self._total = len(todo.to_run)
        self.say(f"{len(todo.plan.stages)} stages: {len(todo.cached)} cached, {self._total} to run")

    def look(self, sentence: str, todo: Todo) -> None:
        """Say that a look begins; its stages are told where they take long or fail."""
        self._total += len(todo.to_run)
        self._is_first_look = False
        self.say(sentence)

    def event(self, planned: PlannedStage, event: Event) -> None:
        """Say what a stage did, progress at most every quarter of a minute."""
        stage = self._stages.setdefault(event.key, _Stage(len(self._stages) + 1))
        told = f"[{stage.number}/{self._total}] {planned.label}"
        if isinstance(event, Progress):
            self._move(stage, planned, event)
        elif isinstance(event, Failed):
            came_to = "" if isinstance(event.problem, NotRun) else "FAILED: "
            self.say(f"{told}: {came_to}{event.problem}")
        elif self._is_first_look:
            came_to = f"done in {event.seconds:.1f} s" if isinstance(event, Done) else "started"
            self.say(f"{told}: {came_to}")

    def _move(self, stage: _Stage, planned: PlannedStage, event: Progress) -> None:
        """Say how far a stage is, unless that was said a moment ago."""
        now = time.monotonic()
        if now - stage.told < _PLAIN_SECONDS:
            return
        stage.told = now
        rate = event.done / (now - stage.begun)
        left = (event.total - event.done) / rate if rate else 0.0
        self.say(
            f"    {planned.label}: {event.done}/{event.total} documents, "
            f"{rate:.1f}/s, {left:.0f} s left"
        )

    def say(self, sentence: str) -> None:
        """Write one line now."""
        self._stream.write(f"{sentence}\n")
        self._stream.flush()
