"""The order of stages: how long each is expected to take, and what is done soonest by that."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from gate.extensions import find
from gate.planning.plan import Plan
from gate.planning.stages import PlannedStage
from gate.store import Finished
from gate.terms import ResolvedCheck

Stages = tuple[PlannedStage, ...]
"""Stages that run together, as they share a loaded model."""


class _Path(NamedTuple):
    """The batches that one question still waits for, and what they are expected to take."""

    seconds: float
    batches: tuple[int, ...]


def expected_seconds(
    stages: Iterable[PlannedStage], finished: Iterable[Finished]
) -> dict[str, float]:
    """What stages took before: the last of the same name, else the median of their like.

    Args:
        stages: what is to run.
        finished: what earlier runs did, of this candidate or another.

    Returns:
        {stage key: seconds}, without those of which nothing alike has ever run.
    """
    named: dict[tuple[str, str], Finished] = {}
    alike: dict[tuple[str, str], list[float]] = {}
    for one in sorted(finished, key=lambda one: one.finished_at):
        named[one.stage.kind, one.label] = one
        alike.setdefault((one.stage.kind, one.stage.use.name), []).append(one.cost.seconds)
    expected = {}
    for planned in stages:
        kind = planned.stage.kind
        last, like = named.get((kind, planned.label)), alike.get((kind, planned.stage.use.name))
        if last is not None:
            expected[planned.stage.key] = last.cost.seconds
        elif like:
            expected[planned.stage.key] = median(like)
    return expected


def questions(plan: Plan, ship: Iterable[str]) -> tuple[frozenset[str], ...]:
    """The keys of the stages that answer each question on the way of what is up for release.

    The questions are the audits and the blocking checks, in the order of the plan: one that is
    answered badly settles the verdict.
    """
    ways = [plan.lineages[name] for name in ship if name in plan.lineages]
    names = {name for way in ways for name in way}
    audits = [frozenset({one.key}) for one in plan.audits if names & {*one.variants}]
    checks = [one for one in plan.checks if one.check.level == "block" and one.variant in names]
    return (*audits, *(frozenset(_answers(one, plan)) for one in checks))


def soonest_first(
    batches: Sequence[Stages],
    asked: Iterable[frozenset[str]],
    expected: Mapping[str, float],
) -> tuple[Stages, ...]:
    """The batches, those first that answer a question in the least time, each after its needs.

    Args:
        batches: in an order in which each follows what it needs.
        asked: what `questions` gave.
        expected: {stage key: seconds}; a stage that is not in it counts as the median of the rest.
    """
    seconds = _seconds(batches, expected)
    places = _places(batches)
    needed = _needed(batches)
    open_questions = [
        {place for key in keys & places.keys() for place in needed[places[key]]} for keys in asked
    ]
    order: list[int] = []
    while open_questions := [one for one in open_questions if one]:
        nearest = min(
            _Path(sum(seconds[at] for at in one), tuple(sorted(one))) for one in open_questions
        )
        order += nearest.batches
        open_questions = [one.difference(order) for one in open_questions]
    rest = (place for place in range(len(batches)) if place not in order)
    return tuple(batches[place] for place in (*order, *rest))


def longest_first(batches: Sequence[Stages], expected: Mapping[str, float]) -> tuple[Stages, ...]:
    """The batches, those first that most work waits for, so that several workers end together.

    That is the time of a batch with the longest chain of what needs it, one after the other
    (Hu 1961, Parallel sequencing and assembly line problems). Measurements of speed come last:
    they run alone.

    Args:
        batches: in an order in which each follows what it needs.
        expected: {stage key: seconds}; a stage that is not in it counts as the median of the rest.
    """
    seconds = _seconds(batches, expected)
    chains = list(seconds)
    needed = _needed(batches)
    for place in reversed(range(len(batches))):
        for before in needed[place] - {place}:
            chains[before] = max(chains[before], seconds[before] + chains[place])
    order = sorted(range(len(batches)), key=lambda at: (is_alone(batches[at]), -chains[at], at))
    return tuple(batches[place] for place in order)


def is_alone(batch: Stages) -> bool:
    """Whether nothing may run beside a batch: it measures what the machine can do."""
    return any(one.stage.kind == "speed" for one in batch)


def _seconds(batches: Sequence[Stages], expected: Mapping[str, float]) -> list[float]:
    usual = median(expected.values()) if expected else 1.0
    return [sum(expected.get(one.stage.key, usual) for one in batch) for batch in batches]


def _places(batches: Sequence[Stages]) -> dict[str, int]:
    return {one.stage.key: place for place, batch in enumerate(batches) for one in batch}


def _needed(batches: Sequence[Stages]) -> list[set[int]]:
    """For each batch, the places of all that has to run before it, and its own."""
    places = _places(batches)
    needed: list[set[int]] = []
    for place, batch in enumerate(batches):
        before = {places[key] for one in batch for key in one.needs.values() if key in places}
        needed.append({place}.union(*(needed[at] for at in before - {place})))
    return needed


def _answers(one: ResolvedCheck, plan: Plan) -> Iterator[str]:
    """The stages whose outputs a check compares, with the second runs that tell its noise."""
    arms = (one.variant, one.reference)
    compares = find("comparisons", one.check.compare.name).compares
    if compares == "serving":
        yield from (key for arm in arms for key in plan.speeds.get(arm, ()))
        return
    engines = {variant.name: variant.backend.name for variant in plan.variants}
    served_by = {engines[arm] for arm in arms if arm in engines}
    if compares == "scores":
        asked = (plan.evaluations.get(arm, {}) for arm in arms)
        yield from (tasks[one.task] for tasks in asked if one.task in tasks)
        noise = (other for other in plan.noise if other.task == one.task)
        yield from (other.again for other in noise if other.engine in served_by)
        return
    pair = (one.variant, one.reference, one.task)
    yield from (
        read.key for read in plan.readings if (read.variant, read.reference, read.text) == pair
    )
    again = (read for read in plan.readings_again if read.text == one.task)
    yield from (read.key for read in again if engines[read.variant] in served_by)
