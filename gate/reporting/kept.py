"""What a variant that may ship is proven to keep, and the largest loss that is still possible."""

from collections.abc import Iterable, Sequence

from gate.presentation import count, task_text
from gate.records import Record
from gate.reporting.findings import change_text, confidence_text, is_change, margin_text
from gate.result_records import DIFFERENCE_OF_SHARES, CheckResult, Estimate


def kept_text(record: Record, variant: str, passed: Iterable[CheckResult]) -> str | None:
    """'it keeps the adapter's accuracy within 2 points on all 4 tasks; at worst it loses ...'.

    Where no check compares the variant with adapter or base, the same of each step on the way to
    it. The largest possible loss is that of the interval that reaches lowest; it holds at the
    checks' confidence though it is the largest of several, as the true loss of whichever step
    loses most lies above it only if it lies above its own interval (the argument of Berger 1982).

    Args:
        record: what the results are of.
        variant: the variant.
        passed: the blocking checks that its verdict rests on, all of which passed.

    Returns:
        None where none of them bounds a loss of the variant's own.
    """
    bounding = [
        one
        for one in passed
        if is_change(one.check) and one.estimate and (one.check.at_least or 0.0) < 0
    ]
    kinds = {one.name: one.kind for one in record.variants}
    own = [one for one in bounding if one.variant == variant]
    direct = [one for one in own if kinds.get(one.reference) in ("adapter", "base")]
    steps = [one for one in bounding if kinds.get(one.variant) != "adapter"]
    if not own:
        return None
    if direct or len(_pairs(steps)) == 1:
        kept = direct or own
        said = f"it keeps {_whose(record, kept)} {_quality(kept)}"
        worst, end = _largest_losses(record, kept, is_one_step=True), "at worst it loses"
    else:
        kept = steps
        said = f"{_steps(record, kept)} keeps the {_quality(kept)}"
        worst, end = _largest_losses(record, kept, is_one_step=False), "at worst one step loses"
    least = min((one.check for one in kept), key=lambda check: check.confidence)
    end = f"{end} {worst}" if worst else "no loss is left open"
    return f"{said} {_within(kept)} {_tasks(record, kept)}; {end}, at {confidence_text(least)}"


def _steps(record: Record, kept: Sequence[CheckResult]) -> str:
    """How many steps there are: 'each of the 3 steps from the adapter to it'."""
    kinds = {one.name: one.kind for one in record.variants}
    is_from_adapter = any(kinds.get(one.reference) == "adapter" for one in kept)
    start = "from the adapter " if is_from_adapter else ""
    return f"each of the {len(_pairs(kept))} steps {start}to it"


def _pairs(results: Iterable[CheckResult]) -> set[tuple[str, str]]:
    return {(one.reference, one.variant) for one in results}


def _estimates(results: Iterable[CheckResult]) -> tuple[Estimate, ...]:
    return tuple(one.estimate for one in results if one.estimate)


def _whose(record: Record, kept: Iterable[CheckResult]) -> str:
    """Whose quality: 'the adapter's', or that of a variant by its name."""
    names = dict.fromkeys(one.reference for one in kept)
    kinds = {one.kind for one in record.variants if one.name in names}
    if kinds == {"adapter"}:
        return "the adapter's" if len(names) == 1 else "the adapters'"
    return f"{' and '.join(names)}'s"


def _quality(kept: Iterable[CheckResult]) -> str:
    units = {one.unit for one in _estimates(kept)}
    return "accuracy" if units == {DIFFERENCE_OF_SHARES} else "score"


def _within(kept: Iterable[CheckResult]) -> str:
    """The margins: 'within 2 points', 'within 3 to 5 points'; without numbers of several units."""
    margins = sorted({-(one.check.at_least or 0.0) for one in kept})
    units = {one.unit for one in _estimates(kept)}
    if len(units) != 1:
        return "within its margins"
    (unit,) = units
    low, high = (margin_text(margins[at], unit) for at in (0, -1))
    return f"within {high}" if low == high else f"within {low.split()[0]} to {high}"


def _tasks(record: Record, kept: Sequence[CheckResult]) -> str:
    """Where: 'on all 4 tasks', 'on 2 of 4 tasks', 'on intent'; slices of tasks by their names."""
    asked = {one.name for one in record.tasks}
    whole = {one.task for one in kept if one.check.slice is None}
    if not whole:
        slices = {task_text(one) for one in kept}
        return f"on {slices.pop() if len(slices) == 1 else count(len(slices), 'slice')}"
    if len({one.variant for one in kept}) > 1:  # what is said of each step is said of its tasks
        whole = set.intersection(*(_tasks_of(pair, kept) for pair in _pairs(kept)))
    if len(whole) == 1:
        return f"on {whole.pop()}"
    if not whole:
        return "on the tasks it was checked on"
    some = "all" if whole >= asked else f"{len(whole)} of"
    return f"on {some} {count(len(asked), 'task')}"


def _tasks_of(pair: tuple[str, str], kept: Iterable[CheckResult]) -> set[str]:
    return {
        one.task for one in kept if (one.reference, one.variant) == pair and one.check.slice is None
    }


def _largest_losses(record: Record, kept: Sequence[CheckResult], *, is_one_step: bool) -> str:
    """The largest loss of each unit, and where: '2.4 points on intent (merged against adapter)'."""
    told = []
    for unit in dict.fromkeys(one.unit for one in _estimates(kept)):
        alike = [
            (one.estimate.low, one) for one in kept if one.estimate and one.estimate.unit == unit
        ]
        low, worst = min(alike, key=lambda found: found[0])
        if low < 0:
            step = "" if is_one_step else f" ({worst.variant} against {worst.reference})"
            lost = change_text(record, worst, low, is_low=True)
            told.append(f"{lost} on {task_text(worst)}{step}")
    return " and ".join(told)
