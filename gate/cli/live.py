"""What a run shows on a terminal: a bar for the run and one for each stage that runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as Display,
)
from rich.text import Text

from gate.jobs import Done, Event, Failed, NotRun, Progress, Started
from gate.planning.stages import PlannedStage
from gate.planning.todo import Todo
from gate.running.filling import Watcher


@contextmanager
def display_on(stream: TextIO) -> Iterator["Live"]:
    """A watcher that draws on a terminal until this is left."""
    with Display(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        console=Console(file=stream),
    ) as display:
        yield Live(display)


class Live(Watcher):
    """A bar for the run and one for each stage that runs; finished ones scroll away above."""

    def __init__(self, display: Display) -> None:
        """Draw on this display."""
        self._display = display
        self._run: TaskID | None = None
        self._stages: dict[str, TaskID] = {}
        self._total = 0
        self._is_first_look = True

    def planned(self, todo: Todo) -> None:
        """Begin the run's bar."""
        self.say(f"{len(todo.plan.stages)} stages: {len(todo.cached)} cached")
        self._add(todo)

    def look(self, sentence: str, todo: Todo) -> None:
        """Make the run's bar longer; the stages of a look leave no lines."""
        self._is_first_look = False
        self.say(sentence)
        self._add(todo)

    def event(self, planned: PlannedStage, event: Event) -> None:
        """Move the stage's bar, and the run's when it ends."""
        if isinstance(event, Started):
            self._drop(event.key)
            bar = self._display.add_task(planned.label, total=None, unit="documents")
            self._stages[event.key] = bar
        elif isinstance(event, Progress) and event.key in self._stages:
            bar = self._stages[event.key]
            self._display.update(bar, completed=event.done, total=event.total)
        elif isinstance(event, Done):
            self._end(event.key)
            if self._is_first_look:
                done = f"  [green]done[/] {planned.label} [dim]{event.seconds:.1f} s[/]"
                self._display.console.print(done)
        elif isinstance(event, Failed):
            self._end(event.key)
            came_to = "stopped" if isinstance(event.problem, NotRun) else "[red]failed[/]"
            self._display.console.print(f"  {came_to} {planned.label}")
            self._display.console.print(Text(f"    {event.problem}"))

    def say(self, sentence: str) -> None:
        """Print a line above the bars."""
        self._display.console.print(Text(sentence))

    def _add(self, todo: Todo) -> None:
        """Make room in the run's bar for the stages to run."""
        self._total += len(todo.to_run)
        if self._run is not None:
            self._display.update(self._run, total=self._total)
        elif self._total:
            self._run = self._display.add_task("stages", total=self._total, unit="")

    def _end(self, key: str) -> None:
        self._drop(key)
        if self._run is not None:
            self._display.advance(self._run)

    def _drop(self, key: str) -> None:
        if key in self._stages:
            self._display.remove_task(self._stages.pop(key))


class _Rate(ProgressColumn):
    """Documents a second and the time left, of a bar that counts documents."""

    def render(self, task: Task) -> Text:
        """The rate so far, over the whole of the stage."""
        elapsed, total = task.elapsed or 0.0, task.total
        if not task.fields.get("unit") or not total or not task.completed or not elapsed:
            return Text("")
        rate = task.completed / elapsed
        return Text(f"{rate:.1f}/s, {(total - task.completed) / rate:.0f} s left", style="cyan")
