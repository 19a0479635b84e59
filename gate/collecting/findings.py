"""What a check or the weights of a variant come to as a test: its outcome, and what it prints."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from gate.descent import lineage_of
from gate.errors import StageError
from gate.presentation import (
    OUTCOME_WORDS,
    count,
    interval_text,
    one_line,
    percent,
    printable,
    rule_text,
)
from gate.records import Record
from gate.reporting.concerns import NamedResult, named_results
from gate.reporting.document_views import Change, Pair, changes_between
from gate.reporting.views import weights_views
from gate.result_records import CheckResult
from gate.terms import ResolvedCheck

State = Literal["pass", "fail", "inconclusive", "error", "warning", "aside"]

_GRAVEST_FIRST: tuple[Literal["error", "fail", "pass"], ...] = ("error", "fail", "pass")
_SHOWN = 3
_PROMPT = 120
_ANSWER = 60
_HANG = " " * 11


class Found(NamedTuple):
    """What a test has found.

    Attributes:
        state: the outcome; `warning` of a check that does not pass and only warns, `aside` of one
            that does not pass and is of a variant that is not up for release.
        reason: in one sentence.
        text: the reason, with everything that a person needs to follow it.
        facts: {name: value} for machines, unrounded.
    """

    state: State
    reason: str
    text: str
    facts: dict[str, str]


def results_of(record: Record, checks: Sequence[ResolvedCheck]) -> tuple[NamedResult, ...]:
    """What a run found of each check, in their order.

    Raises:
        StageError: the run was of other checks than these.
    """
    found = tuple(named_results(record))
    ran = [(one.check, one.variant, one.reference, one.task) for one in record.results]
    if ran != [(one.check, one.variant, one.reference, one.task) for one in checks]:
        raise StageError(
            f"{record.release} was run on other checks than were collected",
            hint="was the suite edited meanwhile? run pytest again",
        )
    return found


def check_found(record: Record, named: NamedResult) -> Found:
    """What a check came to.

    Args:
        record: of the run.
        named: one of its results.
    """
    result = named.result
    reason = printable("".join((*_qualms(named), result.reason)))
    return Found(
        state=_state(named),
        reason=reason,
        text="\n".join((reason, *map(printable, _details(record, result)))),
        facts=_facts(result),
    )


def weights_found(record: Record, variant: str) -> Found:
    """What the audits of a variant's weights came to, and of those it was made from."""
    own = (one for one in record.variants if one.name == variant)
    way = {name for one in own for name in lineage_of(one, record.variants, record.results)}
    views = [
        view
        for audit, view in zip(record.audits, weights_views(record), strict=True)
        if way & {*audit.variants}
    ]
    states = {view.state for view in views} or {"error"}
    worst = next(one for one in _GRAVEST_FIRST if one in states)
    told = [view for view in views if view.state == worst]
    reason = "; ".join(f"{view.label}: {view.sentence}" for view in told) or "not audited"
    faults = (f"  - {fault}" for view in told for fault in view.faults)
    reason = printable(reason)
    return Found(worst, reason, "\n".join((reason, *map(printable, faults))), {})


def _qualms(named: NamedResult) -> Iterator[str]:
    """What has to be said before the reason: a failure and a pass are told as such by pytest."""
    outcome = named.result.outcome
    if outcome == "pass":
        return
    if named.effect != "blocks":
        yield "not up for release; " if named.effect == "aside" else "only warns; "
        yield f"{OUTCOME_WORDS[outcome]}: "
    elif outcome != "fail":
        yield "not measured: " if outcome == "error" else "inconclusive: "


def _state(named: NamedResult) -> State:
    if named.result.outcome == "pass":
        return "pass"
    if named.effect == "aside":
        return "aside"
    return "warning" if named.effect == "warns" else named.result.outcome


def _details(record: Record, result: CheckResult) -> Iterator[str]:
    yield f"  rule:    {rule_text(result)}"
    estimate = result.estimate
    if estimate is None:
        return
    unit = "" if estimate.unit.startswith("share") else f" {estimate.unit}"
    confidence = percent(result.check.confidence, decimals=0)
    yield (
        f"  found:   {interval_text(estimate, result.check)}{unit}, {confidence} one-sided, "
        f"n = {count(estimate.n)}"
    )
    yield f"  by:      {estimate.method}"
    if result.needed is not None:
        yield f"  needs:   about {count(result.needed, 'document')} in all"
    collapsed = [part for part in result.slices if part.has_collapsed]
    for part in collapsed[:_SHOWN]:
        yield f"  slice:   {part.slice}: {interval_text(part.estimate, result.check)}"
    if len(collapsed) > _SHOWN:
        yield f"{_HANG}and {count(len(collapsed) - _SHOWN, 'more slice')} beyond the bound"
    yield from _flipped(record, result)


def _flipped(record: Record, result: CheckResult) -> Iterator[str]:
    """How many documents changed, and the first of them: losses before gains."""
    pair = Pair(result.task, result.reference, result.variant)
    changes = [
        one
        for one in changes_between(record, pair)
        if result.check.slice in (None, one.after.slice)
    ]
    flips = [one for one in changes if one.direction != "other"] or changes
    if not flips:
        return
    losses = sum(one.direction == "loss" for one in flips)
    gains = sum(one.direction == "gain" for one in flips)
    yield f"  flipped: {count(len(flips), 'document')}: {losses:,} lost, {gains:,} gained"
    for change in flips[:_SHOWN]:
        yield from _document(change)


def _document(change: Change) -> Sequence[str]:
    """The end of what a document asks, where the question is, and what each variant said."""
    document, pair = change.document, change.pair
    before, after = (one_line(one.answer, _ANSWER) for one in (change.before, change.after))
    answers = f"{pair.reference}: {before}; {pair.candidate}: {after}"
    place = f"{_HANG}{change.direction}, document {change.after.id}"
    if document is None:
        return place, f"{_HANG}{answers}"
    right = one_line(document.target, _ANSWER)
    asked = one_line(document.prompt, len(document.prompt))
    cut = "…" if len(asked) > _PROMPT else ""
    return f"{place}: {cut}{asked[-_PROMPT:]}", f"{_HANG}right: {right}; {answers}"


def _facts(result: CheckResult) -> dict[str, str]:
    facts = {"outcome": result.outcome, "rule": rule_text(result), "reason": result.reason}
    if result.estimate is not None:
        estimate = result.estimate
        facts |= {
            "value": repr(estimate.value),
            "low": repr(estimate.low),
            "high": repr(estimate.high),
            "n": repr(estimate.n),
            "unit": estimate.unit,
        }
    if result.needed is not None:
        facts["needed"] = repr(result.needed)
    return {name: printable(value) for name, value in facts.items()}
