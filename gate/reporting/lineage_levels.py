"""Lineages as levels of a metric: where each step begins and ends, what several share told once."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gate.lineage_records import Lineage, LineageStep
from gate.records import Record
from gate.result_records import Estimate

_CUT = 2.5
"""The axis leaves out the way from zero where that is so many times what happens at its end."""


class Level(NamedTuple):
    """A step from one level of a metric to another, both told from the first of the line.

    Attributes:
        causes: what the step changes, in words; empty of all steps together.
        reference: the variant before it.
        variant: the variant after it.
        start: the level before it, in the unit of its change.
        change: of the metric, larger being better.
    """

    causes: str
    reference: str
    variant: str
    start: float
    change: Estimate

    @property
    def end(self) -> float:
        """The level after it."""
        return self.start + self.change.value

    @property
    def ends(self) -> tuple[float, float]:
        """The interval around the level after it."""
        return self.start + self.change.low, self.start + self.change.high


class TaskLevels(NamedTuple):
    """The lineages of one task that begin at the same variant.

    Attributes:
        task: the task.
        first: where they begin.
        unit: of every change in them.
        steps: each step once, however many lineages share it; those of the first lineage first.
        totals: one a lineage, from its first variant to its last.
    """

    task: str
    first: str
    unit: str
    steps: tuple[Level, ...]
    totals: tuple[Level, ...]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The steps, then the totals."""
        return *self.steps, *self.totals


class Span(NamedTuple):
    """What an axis spans."""

    low: float
    high: float


def levels_by_task(record: Record) -> tuple[TaskLevels, ...]:
    """The levels of each task's lineages; none of a task whose lineages all have but one step."""
    groups: dict[tuple[str, str, str], list[Lineage]] = {}
    for one in record.lineages:
        if one.steps:
            key = one.task, one.steps[0].reference, one.total.unit
            groups.setdefault(key, []).append(one)
    return tuple(
        TaskLevels(
            *key, steps=tuple(dict.fromkeys(_steps(found))), totals=tuple(map(_total, found))
        )
        for key, found in groups.items()
        if any(len(one.steps) > 1 for one in found)
    )


def span(levels: Sequence[Level]) -> Span:
    """From zero to the last level, or around that level alone where zero is far from it."""
    ends = [end for level in levels for end in level.ends]
    low, high = min(ends), max(ends)
    reach = (high - low) or abs(high) or 1.0
    is_far = min(abs(low), abs(high)) > _CUT * reach and low * high > 0
    if not is_far:
        low, high = min(low, 0.0), max(high, 0.0)
        reach = high - low
    margin = 0.04 * (reach or 1.0)
    start = 0.3 * reach if is_far else margin
    rises = high > abs(low)
    return Span(low - (start if rises else margin), high + (margin if rises else start))


def _steps(lineages: Iterable[Lineage]) -> Iterator[Level]:
    for one in lineages:
        level = 0.0
        for step in one.steps:
            yield _level(step, level)
            level += step.change.value


def _level(step: LineageStep, start: float) -> Level:
    return Level(step.causes, step.reference, step.variant, start, step.change)


def _total(one: Lineage) -> Level:
    return Level("", one.steps[0].reference, one.variant, 0.0, one.total)
