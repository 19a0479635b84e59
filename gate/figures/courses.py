"""What a trend shows: scores, changes with their margins, or sizes, from one run to the next."""

from collections.abc import Mapping
from typing import NamedTuple

from gate.presentation import MISSING
from gate.result_records import Outcome

MOST_LINES = 5
"""Lines that one view can hold and a reader can tell apart."""


class Point(NamedTuple):
    """A value in one run.

    Attributes:
        run: the run's place among the trend's runs.
        value: what is drawn.
        text: the value in words.
        low: lower end of its interval; None where it has none.
        high: upper end of its interval; None where it has none.
        interval: the interval in words.
        documents: how many the value stands on, in words; empty where it stands on none.
        is_joined: whether it can be compared with the point before it, and is joined to it.
    """

    run: int
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    interval: str = MISSING
    documents: str = ""
    is_joined: bool = True


class Line(NamedTuple):
    """The values of a variant, the oldest first."""

    variant: str
    points: tuple[Point, ...]


class Judged(NamedTuple):
    """A check's change in one run, with the bounds that it had then.

    Attributes:
        point: the change; None where it was not measured.
        run: the run's place among the trend's runs.
        outcome: what the check found.
        at_least: its lower bound.
        at_most: its upper bound.
        bound: the bounds in words.
    """

    point: Point | None
    run: int
    outcome: Outcome
    at_least: float | None
    at_most: float | None
    bound: str


class Changes(NamedTuple):
    """The changes of a variant against its reference, the oldest first.

    Attributes:
        title: which variant against which.
        unit: what the axis counts, such as 'points'; empty where that is the metric.
        judged: one a run at the most.
    """

    title: str
    unit: str
    judged: tuple[Judged, ...]


class Trend(NamedTuple):
    """A task over the runs.

    Attributes:
        task: its name.
        metric: the metric's name.
        suffix: what stands behind a number on the scores' axis, such as ' %'.
        runs: a name for each run, no two alike, the oldest first.
        lines: scores, `MOST_LINES` at the most.
        changes: of the shipped variants.
        breaks: {place of a run: why its scores do not go on from those before}.
        left_out: what is not drawn, in a sentence; empty where all is.
    """

    task: str
    metric: str
    suffix: str
    runs: tuple[str, ...]
    lines: tuple[Line, ...]
    changes: tuple[Changes, ...]
    breaks: Mapping[int, str]
    left_out: str = ""


class Sizes(NamedTuple):
    """Sizes on disk over the runs.

    Attributes:
        unit: that of the values, such as 'MB'.
        runs: a name for each run, no two alike, the oldest first.
        lines: the shipped variants, `MOST_LINES` at the most.
        left_out: what is not drawn, in a sentence; empty where all is.
    """

    unit: str
    runs: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: str = ""
