"""What a run shows while several stages go on at once."""

import io

from rich.console import Console
from rich.progress import Progress as Display
from test_soonest import stage

from gate.cli.live import Live
from gate.cli.progress import PlainLines
from gate.jobs import Done, Failed, Progress, Started
from gate.planning.todo import Todo

ONE, OTHER = stage("evaluate one"), stage("evaluate other")


class Plan:
    """As much of a plan as a watcher looks at."""

    stages = (ONE, OTHER)


TODO = Todo(Plan(), (), (ONE, OTHER))


def started(planned):
    return planned, Started(key=planned.stage.key)


def progress(planned, done):
    return planned, Progress(key=planned.stage.key, done=done, total=100)


def done(planned, seconds):
    key = planned.stage.key
    return planned, Done(key=key, seconds=seconds, peak_memory_bytes=1, interpreter="")


def failed(planned):
    return planned, Failed(key=planned.stage.key, problem="it broke", hint=None, exit_status=3)


def test_plain_lines_number_a_stage_by_when_it_began():
    told = io.StringIO()
    watcher = PlainLines(told)
    watcher.planned(TODO)
    for event in (started(ONE), started(OTHER), progress(ONE, 5), done(OTHER, 2.0), failed(ONE)):
        watcher.event(*event)
    assert told.getvalue().splitlines() == [
        "2 stages: 0 cached, 2 to run",
        "[1/2] evaluate one: started",
        "[2/2] evaluate other: started",
        "[2/2] evaluate other: done in 2.0 s",
        "[1/2] evaluate one: FAILED: it broke",
    ]


def bars(display) -> dict[str, float]:
    return {task.description: task.completed for task in display.tasks}


def test_a_live_display_has_a_bar_for_each_stage_that_runs():
    display = Display(console=Console(file=io.StringIO()))
    watcher = Live(display)
    watcher.planned(TODO)
    for event in (started(ONE), started(OTHER), progress(ONE, 40), progress(OTHER, 10)):
        watcher.event(*event)
    assert bars(display) == {"stages": 0, "evaluate one": 40, "evaluate other": 10}
    watcher.event(*done(ONE, 2.0))
    assert bars(display) == {"stages": 1, "evaluate other": 10}
    watcher.event(*failed(OTHER))
    assert bars(display) == {"stages": 2}
