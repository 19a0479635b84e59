"""A variant's verdict in one sentence, and what would settle it, for who decides on a release.

The verdict is the record's own; a sentence says what it rests on, and nothing that the record's
results do not say.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gate.audit_records import ArtifactAudit
from gate.judging.reasons import more_documents
from gate.presentation import count
from gate.records import Record
from gate.reporting.findings import broken_text, excess, is_change, open_text, pair_text
from gate.reporting.kept import kept_text
from gate.reporting.views import relied_on
from gate.result_records import DECIDED_BY, CheckResult, Outcome, VariantVerdict

NO_REASON = "no reason was recorded"
"""What stands where a verdict has none."""

_NO_ANSWERS = "no blocking check was made of the answers of"
_WARNING = "warning: "
_OUTLOOKS = ("would probably settle it", "unlikely to help")
_OTHERS: dict[Outcome, str] = {
    "error": "not measured",
    "fail": "failed",
    "inconclusive": "undecided",
}


class NumberedResult(NamedTuple):
    """A check's result with its number in the table of checks, from 1."""

    number: int
    result: CheckResult


def verdict_sentence(record: Record, found: VariantVerdict) -> str:
    """Whether a variant may ship, and what that rests on: one sentence without its full stop."""
    if found.verdict == "promote":
        kept = kept_text(record, found.variant, [one.result for one in _decisive(record, found)])
        return f"{found.variant} may ship: {kept or _recorded(found)}"
    yet = " yet" if found.verdict == "inconclusive" else ""
    told = tuple(_obstacles(record, found))
    why = f"{told[0]}{_others(record, found, len(told) - 1)}" if told else _recorded(found)
    return f"{found.variant} may not ship{yet}: {why}"


def settling(record: Record, found: VariantVerdict) -> tuple[str, ...]:
    """What would settle a verdict that is inconclusive or an error, each in one sentence.

    None for a variant that may ship or is blocked: no more evidence is asked for then.
    """
    if found.verdict not in ("inconclusive", "error"):
        return ()
    return tuple(dict.fromkeys(_settling(record, found)))


def blocking_checks(record: Record, found: VariantVerdict) -> tuple[NumberedResult, ...]:
    """The blocking checks that a verdict rests on, those that decide it first."""
    lineage = relied_on(record, found.variant)
    related = (
        NumberedResult(number, result)
        for number, result in enumerate(record.results, start=1)
        if result.variant in lineage and result.check.level == "block"
    )
    order = (*_OTHERS, "pass")
    return tuple(sorted(related, key=lambda one: order.index(one.result.outcome)))


def reasons_of(found: VariantVerdict) -> tuple[str, ...]:
    """What the verdict rests on, in the record's own words, without what only warns."""
    return tuple(one for one in found.reasons if not one.startswith(_WARNING))


def warnings_of(found: VariantVerdict) -> tuple[str, ...]:
    """What the checks found that only warn."""
    told = (one for one in found.reasons if one.startswith(_WARNING))
    return tuple(one.removeprefix(_WARNING) for one in told)


def _recorded(found: VariantVerdict) -> str:
    """The first reason in the record's own words."""
    return next(iter(reasons_of(found)), NO_REASON)


def _decisive(record: Record, found: VariantVerdict) -> list[NumberedResult]:
    """The blocking checks whose outcome is what the verdict says, the gravest first."""
    outcome = DECIDED_BY[found.verdict]
    results = [one for one in blocking_checks(record, found) if one.result.outcome == outcome]
    return sorted(results, key=lambda one: (not is_change(one.result.check), -excess(one.result)))


def _audits(record: Record, found: VariantVerdict) -> Iterator[ArtifactAudit]:
    """The audits of weights that the verdict rests on."""
    lineage = relied_on(record, found.variant)
    yield from (one for one in record.audits if lineage & {*one.variants})


def _obstacles(record: Record, found: VariantVerdict) -> Iterator[str]:
    """Each thing that the verdict rests on, what is wrong with the weights first."""
    for audit in _audits(record, found):
        if found.verdict == "error" and audit.audit is None:
            yield f"its weights are not proven ({_unaudited(audit)})"
        elif found.verdict == "block" and audit.audit and audit.audit.faults:
            yield f"its weights are not as they should be ({audit.label}: {audit.audit.faults[0]})"
    for _, result in _decisive(record, found):
        yield _obstacle(record, result)


def _obstacle(record: Record, result: CheckResult) -> str:
    """What a check found, by its bounds; by its own reason where they do not tell."""
    told = None
    if result.outcome == "fail":
        told = broken_text(record, result)
    elif result.outcome == "inconclusive":
        told = open_text(record, result)
    elif result.outcome == "error":
        told = f"{pair_text(result)} could not be measured: {result.reason}"
    return told or f"{pair_text(result)}: {result.reason}"


def _others(record: Record, found: VariantVerdict, alike: int) -> str:
    """How many more stand in the way: '; 2 more checks failed, 1 undecided'."""
    deciding = DECIDED_BY[found.verdict]
    outcomes = [one.result.outcome for one in blocking_checks(record, found)]
    told = [f"{count(alike, 'more check')} {_OTHERS[deciding]}"] if alike else []
    for outcome, word in _OTHERS.items():
        number = outcomes.count(outcome)
        if number and outcome != deciding:
            told.append(f"{f'{number:,}' if told else count(number, 'check')} {word}")
    return f"; {', '.join(told)}" if told else ""


def _settling(record: Record, found: VariantVerdict) -> Iterator[str]:
    for audit in _audits(record, found):
        if audit.audit is None:
            yield f"an audit of the weights that ends ({_unaudited(audit)})"
    results = [one.result for one in blocking_checks(record, found)]
    failed = [one for one in results if one.outcome == "error"]
    for reason in dict.fromkeys(one.reason for one in failed):
        alike = [one for one in failed if one.reason == reason]
        what = pair_text(alike[0]) if len(alike) == 1 else count(len(alike), "check")
        yield f"{what}: a measurement ({reason})"
    for result in results:
        if result.outcome == "inconclusive":
            yield f"{pair_text(result)}: {_outlook(record, result)}"
    if any(reason.startswith(_NO_ANSWERS) for reason in found.reasons):
        yield f"a blocking check of the answers of {found.variant}"


def _unaudited(audit: ArtifactAudit) -> str:
    return f"{audit.label}: {audit.error or 'it was not run'}"


def _outlook(record: Record, result: CheckResult) -> str:
    """How many more documents or repeats would settle a check; else why it is undecided."""
    asked = result.estimate.n if result.estimate else 0
    if result.needed is not None and result.needed > asked:
        there = max((one.available for one in record.scores if one.task == result.task), default=0)
        short = f", but the task has {count(there)} in all" if 0 < there < result.needed else ""
        return f"{more_documents(result.needed - asked)}{short}"
    clauses = result.reason.split("; ")
    outlooks = (clause for clause in clauses if clause.endswith(_OUTLOOKS))
    return next(outlooks, clauses[0])
