"""What a run tells while it goes, on pytest's own terminal."""

from contextlib import nullcontext

import pytest

from gate.jobs import Done, Event, Failed, Started
from gate.planning.stages import PlannedStage
from gate.planning.todo import Todo
from gate.running.filling import Watcher


class TerminalLines(Watcher):
    """A line when a stage begins, ends or fails; silent where pytest is, and in its workers."""

    def __init__(self, config: pytest.Config) -> None:
        """Write where this session reports."""
        self._reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")

    def planned(self, todo: Todo) -> None:
        """Say how much there is to do."""
        cached, fresh = len(todo.cached), len(todo.to_run)
        self.say(f"{len(todo.plan.stages)} stages: {cached} cached, {fresh} to run")

    def look(self, sentence: str, todo: Todo) -> None:
        """Say that a look begins."""
        self.say(sentence)

    def event(self, planned: PlannedStage, event: Event) -> None:
        """Say what a stage did, its progress apart."""
        if isinstance(event, Started):
            self.say(f"{planned.label}: started")
        elif isinstance(event, Done):
            self.say(f"{planned.label}: done in {event.seconds:.1f} s")
        elif isinstance(event, Failed):
            self.say(f"{planned.label}: FAILED: {event.problem}")

    def say(self, sentence: str) -> None:
        """Write one line now, past pytest's capture of the test that waits for the run."""
        reporter = self._reporter
        if reporter is None or reporter.verbosity < 0:
            return
        with self._capture.global_and_fixture_disabled() if self._capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(f"gate: {sentence}")
            reporter.flush()
