"""The trends of a product: its scores, changes and sizes put in the order of its runs."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from gate import presentation as say
from gate.figures.courses import MOST_LINES, Changes, Judged, Line, Point, Sizes, Trend
from gate.history.runs import Measured, Run
from gate.result_records import DIFFERENCE_OF_SHARES, CheckResult
from gate.stats.intervals import Interval

MOST_RUNS = 24
"""Runs that a trend has room for: the newest."""

_MOST_CHANGES = 6
_LONGEST_NAME = 18


def trends(runs: Sequence[Run]) -> Iterator[Trend]:
    """A trend for each task that the runs were scored on, in the order of the newest run.

    Args:
        runs: of one product, the oldest first.
    """
    kept = runs[-MOST_RUNS:]
    for task in dict.fromkeys(one.task for run in reversed(kept) for one in run.scores):
        yield _trend(task, kept, older=len(runs) - len(kept))


def sizes(runs: Sequence[Run]) -> Sizes | None:
    """The sizes of the shipped variants; None where no run tells any.

    Args:
        runs: of one product, the oldest first.
    """
    kept = runs[-MOST_RUNS:]
    known = [one.size_bytes for run in kept for one in run.shipped if one.size_bytes is not None]
    if not known:
        return None
    unit, factor = say.unit_of_sizes(max(known))
    variants = dict.fromkeys(one.variant for run in reversed(kept) for one in run.shipped)
    lines = [Line(name, tuple(_size_points(name, kept, factor))) for name in variants]
    drawn = tuple(line for line in lines if line.points)
    left_out = _left_out(len(drawn) - MOST_LINES, "variant", older=len(runs) - len(kept))
    return Sizes(unit, run_names(kept), drawn[:MOST_LINES], left_out)


def run_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """A short name for each run, no two alike: its release, and which of its runs it is."""
    names: list[str] = []
    for run in runs:
        name, number = say.one_line(run.release, _LONGEST_NAME) or "no name", 1
        fresh = name
        while fresh in names:
            number += 1
            fresh = f"{name} ({number})"
        names.append(fresh)
    return tuple(names)


def _trend(task: str, runs: Sequence[Run], *, older: int) -> Trend:
    named = dict.fromkeys(
        one.variant for run in reversed(runs) for one in run.scores if one.task == task
    )
    shipped = {one.variant for run in runs for one in run.shipped}
    variants = sorted(named, key=lambda name: name in shipped)
    latest = next(one for run in reversed(runs) for one in run.scores if one.task == task)
    lines = (Line(name, tuple(_points(name, latest, runs))) for name in variants[:MOST_LINES])
    changes = tuple(_changes(task, runs))
    missing = max(0, len(variants) - MOST_LINES) + max(0, len(changes) - _MOST_CHANGES)
    return Trend(
        task=task,
        metric=latest.metric,
        suffix=" %" if latest.is_share else "",
        runs=run_names(runs),
        lines=tuple(line for line in lines if line.points),
        changes=changes[:_MOST_CHANGES],
        breaks=_breaks(task, runs),
        left_out=_left_out(missing, "line", older=older),
    )


def _points(variant: str, latest: Measured, runs: Sequence[Run]) -> Iterator[Point]:
    """A variant's scores, each joined to that of the run before where it is of the same questions.

    A score by another metric than the latest has no place on the same axis.
    """
    before: Measured | None = None
    for place, run in enumerate(runs):
        score = run.score(variant, latest.task)
        if score is not None and _is_alike(score, latest):
            is_joined = before is not None and before.asked == score.asked
            yield _point(place, score, is_joined=is_joined)
        before = score


def _is_alike(score: Measured, other: Measured) -> bool:
    return (score.metric, score.is_share) == (other.metric, other.is_share)


def _point(place: int, score: Measured, *, is_joined: bool) -> Point:
    factor = 100 if score.is_share else 1
    found = score.interval
    return Point(
        run=place,
        value=factor * score.value,
        text=_score_text(score.value, score),
        low=None if found is None else factor * found.low,
        high=None if found is None else factor * found.high,
        interval=say.MISSING if found is None else _interval_text(found, score),
        documents=say.count(score.documents, "document"),
        is_joined=is_joined,
    )


def _score_text(value: float, score: Measured) -> str:
    """As the report of the run tells the score."""
    if not score.is_share:
        return say.amount(value, "")
    return say.percent(value, decimals=max(1, len(str(score.documents - 1)) - 2))


def _interval_text(interval: Interval, score: Measured) -> str:
    low, high = (_score_text(end, score) for end in interval)
    return f"{low} to {high}"


def _breaks(task: str, runs: Sequence[Run]) -> dict[int, str]:
    """{place of a run: what is not as it was in the run before that was scored on the task}."""
    scored = [
        (place, one)
        for place, run in enumerate(runs)
        if (one := next((score for score in run.scores if score.task == task), None))
    ]
    return {
        place: _other(before, now)
        for (_, before), (place, now) in pairwise(scored)
        if now.asked != before.asked
    }


def _other(before: Measured, now: Measured) -> str:
    if not _is_alike(before, now):
        return f"was {say.one_line(before.metric, 20)}"
    return "other documents" if now.corpus != before.corpus else "asked otherwise"


def _changes(task: str, runs: Sequence[Run]) -> Iterator[Changes]:
    """The changes of each variant against each of its references, in the newest run's order."""
    found = [[one for one in run.changes if one.task == task] for run in runs]
    pairs = dict.fromkeys((one.variant, one.reference) for some in reversed(found) for one in some)
    for variant, reference in pairs:
        of_pair = {
            place: one
            for place, some in enumerate(found)
            for one in reversed(some)
            if (one.variant, one.reference) == (variant, reference)
        }
        units = [one.estimate.unit for one in of_pair.values() if one.estimate is not None]
        unit = units[-1] if units else ""
        yield Changes(
            title=f"{say.one_line(variant, 40)} against {say.one_line(reference, 40)}",
            unit="points" if unit == DIFFERENCE_OF_SHARES else "",
            judged=tuple(
                _judged(place, one)
                for place, one in of_pair.items()
                if one.estimate is None or one.estimate.unit == unit
            ),
        )


def _judged(place: int, result: CheckResult) -> Judged:
    found = result.estimate
    factor = 100 if found is not None and found.unit == DIFFERENCE_OF_SHARES else 1
    at_least, at_most = (
        None if bound is None else factor * bound
        for bound in (result.check.at_least, result.check.at_most)
    )
    return Judged(
        point=_change_point(place, result, factor),
        run=place,
        outcome=result.outcome,
        at_least=at_least,
        at_most=at_most,
        bound=say.rule_text(result),
    )


def _change_point(place: int, result: CheckResult, factor: int) -> Point | None:
    found = result.estimate
    if found is None:
        return None
    apart_from = say.bounds(result.check)
    low, high = (
        say.quantity(end, found.unit, apart_from=apart_from) for end in (found.low, found.high)
    )
    return Point(
        run=place,
        value=factor * found.value,
        text=say.quantity(found.value, found.unit, apart_from=apart_from),
        low=factor * found.low,
        high=factor * found.high,
        interval=f"{low} to {high}",
        documents=say.count(found.n, "document"),
    )


def _size_points(variant: str, runs: Sequence[Run], factor: float) -> Iterator[Point]:
    before: int | None = None
    for place, run in enumerate(runs):
        named = (one.size_bytes for one in run.shipped if one.variant == variant)
        size_bytes = next(named, None)
        if size_bytes is not None:
            is_joined = before is not None
            yield Point(place, size_bytes / factor, say.size(size_bytes), is_joined=is_joined)
        before = size_bytes


def _left_out(missing: int, noun: str, *, older: int) -> str:
    """What a figure has no room for, in a sentence; empty where there is nothing."""
    parts = (
        say.count(missing, noun) if missing > 0 else "",
        say.count(older, "older run") if older else "",
    )
    left_out = " and ".join(filter(None, parts))
    return f"Left out for want of room: {left_out}." if left_out else ""
