"""What one check found, as a clause for who decides: which step, how much at the least, where."""

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_UP

from gate.judging.bounds import Bound, bounds_of
from gate.judging.reasons import confidence_percent
from gate.presentation import amount, bounds, exact, is_counted, task_text
from gate.records import Record
from gate.result_records import DIFFERENCE_OF_SHARES, CheckResult, Estimate
from gate.serving_records import RATIO
from gate.terms import Check, Variant

_BROKEN_CHANGE = {1: ("loses at least", "gains at most"), -1: ("loses at most", "gains at least")}
_OPEN_CHANGE = {
    1: ("may lose up to", "may gain as little as"),
    -1: ("may lose as little as", "may gain up to"),
}
_BROKEN_LEVEL = {1: "is at most", -1: "is at least"}
_OPEN_LEVEL = {1: "may be as low as", -1: "may be as high as"}


def pair_text(result: CheckResult) -> str:
    """What was compared, and where: 'q4_k_m against merged on desk_intent, slice spanish'."""
    return f"{result.variant} against {result.reference}{_place(result)}"


def step_text(record: Record, result: CheckResult) -> str:
    """What lies between the two variants: 'quantization', 'merge and runtime'.

    The candidate's name where that is nothing the line from base to release has a word for.
    """
    pair = (result.reference, result.variant)
    for lineage in record.lineages:
        for step in lineage.steps:
            if (step.reference, step.variant) == pair:
                return step.causes
    known = {one.name: one for one in record.variants}
    if not known.keys() >= set(pair):
        return result.variant
    *first, last = tuple(_causes(*(known[name] for name in pair))) or (result.variant,)
    return f"{', '.join(first)} and {last}" if first else last


def broken_text(record: Record, result: CheckResult) -> str | None:
    """The bound that a check broke most: 'quantization loses at least 12.0 points on intent, ...'.

    None where no bound is broken by the whole interval.
    """
    broken = [bound for bound in _bounds(result) if bound.is_broken]
    if result.estimate is None or not broken:
        return None
    bound = max(broken, key=_excess)
    said = _said(record, result, result.estimate, bound, is_broken=True)
    return f"{said}{_asked(result.check, result.estimate.unit, bound, 'beyond')}{_basis(result)}"


def open_text(record: Record, result: CheckResult) -> str | None:
    """The bound that an interval leaves open: 'quantization may lose up to 5.3 points on ...'.

    None where every bound is kept, or one is broken, so that the doubt is another.
    """
    found = [bound for bound in _bounds(result) if not bound.is_kept]
    if result.estimate is None or not found or any(bound.is_broken for bound in found):
        return None
    said = _said(record, result, result.estimate, found[0], is_broken=False)
    return f"{said}{_asked(result.check, result.estimate.unit, found[0], 'beside')}{_basis(result)}"


def excess(result: CheckResult) -> float:
    """By how much the whole interval lies beyond a bound; 0 where it does not."""
    return max((_excess(bound) for bound in _bounds(result) if bound.is_broken), default=0.0)


def change_text(record: Record, result: CheckResult, end: float, *, is_low: bool) -> str:
    """The size of a change of the check's metric: '1.1 points', '0.0123 of token_f1'.

    It is an end of an interval, rounded out of the interval: no more is said than was proven.
    Its digits put it on the side of each bound on which the unrounded end is.
    """
    unit = result.estimate.unit if result.estimate else ""
    apart_from = (0.0, *(abs(bound) for bound in bounds(result.check)))
    decimals = 1 if unit == DIFFERENCE_OF_SHARES else None
    rounding = ROUND_UP if (end < 0) == is_low else ROUND_DOWN
    number = amount(abs(end), unit, decimals=decimals, apart_from=apart_from, rounding=rounding)
    if unit == DIFFERENCE_OF_SHARES:
        return f"{number} points"
    if unit.startswith("ln "):
        return f"{number} in {unit}"
    metric = next((one.metric for one in record.tasks if one.name == result.task), unit)
    return f"{number} {unit}" if unit.startswith("bits") else f"{number} of {metric}"


def margin_text(margin: float, unit: str) -> str:
    """A margin as it was written: '2 points', '1 point', '0.05'."""
    said = exact(margin, unit if unit == DIFFERENCE_OF_SHARES else "")
    return "1 point" if said == "1 points" else said


def confidence_text(check: Check) -> str:
    """How sure each end of the interval is: '95 % confidence'."""
    return f"{confidence_percent(check.confidence)} % confidence"


def is_change(check: Check) -> bool:
    """Whether a check is of how a metric changed, and told as losing and gaining."""
    return check.compare.name == "delta"


def _bounds(result: CheckResult) -> tuple[Bound, ...]:
    return bounds_of(result.check, result.estimate) if result.estimate else ()


def _excess(bound: Bound) -> float:
    return bound.sign * (bound.limit - bound.far)


def _place(result: CheckResult) -> str:
    return f" on {task_text(result)}" if result.task else ""


def _said(
    record: Record, result: CheckResult, estimate: Estimate, bound: Bound, *, is_broken: bool
) -> str:
    """The end of the interval that tells of a bound, as what it says of the truth."""
    end = bound.far if is_broken else bound.near
    is_low = (bound.sign > 0) != is_broken
    if is_change(result.check):
        lost, gained = (_BROKEN_CHANGE if is_broken else _OPEN_CHANGE)[bound.sign]
        change = f"{lost if end < 0 else gained} {change_text(record, result, end, is_low=is_low)}"
        return f"{step_text(record, result)} {change}{_place(result)}"
    verb = (_BROKEN_LEVEL if is_broken else _OPEN_LEVEL)[bound.sign]
    rounding = ROUND_FLOOR if is_low else ROUND_CEILING
    if is_counted(estimate):
        verb, rounding = "is", ROUND_HALF_EVEN
    number = amount(end, estimate.unit, apart_from=bounds(result.check), rounding=rounding)
    if estimate.unit.startswith(RATIO):
        return f"{result.variant} {verb} {number} {estimate.unit}"
    return f"the {estimate.unit}{_place(result)} {verb} {number}{_percent(estimate.unit)}"


def _asked(check: Check, unit: str, bound: Bound, side: str) -> str:
    """What the check asks, to stand behind what was found beyond it, or on both sides of it."""
    if is_change(check) and bound.margin > 0:
        margin = margin_text(bound.margin, unit)
        return (
            f", beyond the margin of {margin}" if side == "beyond" else f", the margin is {margin}"
        )
    least, verb = ("least", "asked") if bound.sign > 0 else ("most", "allowed")
    limit = exact(bound.limit, unit) if _percent(unit) else margin_text(bound.limit, unit)
    return f", where at {least} {limit} is {verb}"


def _basis(result: CheckResult) -> str:
    """What was compared, and how sure it is."""
    pair = f"{result.variant} against {result.reference}"
    is_sure = result.estimate is not None and is_counted(result.estimate)
    return f" ({pair})" if is_sure else f" ({pair}, {confidence_text(result.check)})"


def _percent(unit: str) -> str:
    return " %" if unit.startswith("share of") else ""


def _causes(before: Variant, after: Variant) -> Iterator[str]:
    """What is different of two variants, in the order of the line."""
    if after.adapters and not before.adapters:
        yield "training"
    if after.merge is not None and before.merge is None:
        yield "merge"
    if after.backend.name != before.backend.name:
        yield "runtime"
    if after.kind == "quantized" and before.kind != "quantized":
        yield "quantization"
