"""Whether a record, as it stands on a day, lets a variant go out: its verdict and its sign-offs."""

from collections.abc import Iterator
from datetime import date

from gate.descent import lineage_of
from gate.errors import ConfigError
from gate.judging.bounds import bounds_of
from gate.judging.judge import verdict_of
from gate.presentation import one_line
from gate.records import Record
from gate.released_records import RELEASED
from gate.reporting.signoff_views import waivers_beside
from gate.result_records import CheckResult, VariantVerdict, labels_of
from gate.signoff import chain_faults, in_force
from gate.signoff_records import SignOff

_SHOWN_CHARACTERS = 300


def standing_faults(record: Record, variant: str, *, today: date) -> tuple[str, ...]:
    """Why a record does not let a variant go out: a sentence each, empty where it does.

    The verdict has to be `promote`, and to be what the record's own checks and audits give; a
    check that passed has to have its interval within its bound. Of each person the last approval
    or rejection counts; a waiver or an approval that has ended counts against the release unless
    another one holds.

    Args:
        record: as it was read.
        variant: the one that goes out.
        today: in UTC.
    """
    return (
        *_verdict_faults(record, variant),
        *_false_passes(record),
        *chain_faults(record),
        *_rejections(record.signoff, today),
        *_ended_waivers(record, variant, today),
        *_ended_approvals(record.signoff, today),
    )


def verdict_on(record: Record, variant: str) -> VariantVerdict | None:
    """The verdict on a variant; None where it was not up for release."""
    return next((one for one in record.verdicts if one.variant == variant), None)


def lineage_in(record: Record, variant: str) -> tuple[str, ...]:
    """The variants of a record on whose checks a variant's verdict rests, itself last."""
    return next(
        (
            lineage_of(one, record.variants, record.results)
            for one in record.variants
            if one.name == variant
        ),
        (variant,),
    )


def _verdict_faults(record: Record, variant: str) -> Iterator[str]:
    named = one_line(variant, _SHOWN_CHARACTERS)
    judged = verdict_on(record, variant)
    if judged is None or variant not in record.ship:
        yield f"{named} was not up for release"
        return
    if judged.verdict != "promote":
        reasons = "; ".join(one_line(reason, _SHOWN_CHARACTERS) for reason in judged.reasons)
        yield f"the verdict on {named} is {judged.verdict}: {reasons}"
        return
    lineage = lineage_in(record, variant)
    try:
        derived = verdict_of(variant, lineage, record.results, record.audits).verdict
    except ConfigError as error:
        yield f"the verdict on {named} cannot be derived again: {error.problem}"
        return
    if derived != judged.verdict:
        yield (
            f"the record was edited: it says {judged.verdict} of {named}, "
            f"and its own checks and audits give {derived}"
        )
    yield from _unjudged(record)


def _unjudged(record: Record) -> Iterator[str]:
    """The checks of the policy that were never judged, which no run leaves out."""
    judged = [result.check for result in record.results]
    named = {one.name for one in record.variants} | {one.kind for one in record.variants}
    subjects = named - {"bridge"}  # those that the gate adds by itself are of no check's
    is_first = record.first_release == record.release and record.released is None
    for check in record.policy.checks if record.policy else ():
        if is_first and check.against == RELEASED:
            continue  # there was none to be held against, as the record tells
        if check.of in subjects and check not in judged:
            yield (
                f"the record was edited: no result of the check {check.of} against "
                f"{check.against}, {check.compare} {check.bound_text}"
            )


def _false_passes(record: Record) -> Iterator[str]:
    """Checks that are said to have passed, and whose own numbers say that they did not."""
    for label, result in zip(labels_of(record.results), record.results, strict=True):
        if result.outcome == "pass" and not _is_kept(result):
            yield (
                f"the record was edited: check {one_line(label, _SHOWN_CHARACTERS)} is said to "
                "have passed, and its interval does not lie within its bound"
            )


def _is_kept(result: CheckResult) -> bool:
    estimate = result.estimate
    return estimate is not None and all(one.is_kept for one in bounds_of(result.check, estimate))


def _rejections(signoff: tuple[SignOff, ...], today: date) -> Iterator[str]:
    last = {one.name: one for one in signoff if one.decision != "waive" and in_force(one, today)}
    for one in last.values():
        if one.decision == "reject":
            yield (
                f"rejected by {one_line(one.name, _SHOWN_CHARACTERS)}: "
                f"{one_line(one.reason, _SHOWN_CHARACTERS)}"
            )


def _ended_waivers(record: Record, variant: str, today: date) -> Iterator[str]:
    by_end = sorted(waivers_beside(record, variant), key=lambda one: one.until)
    for check, one in {one.check: one for one in by_end}.items():
        if one.until < today:
            yield (
                f"the waiver of {one_line(check, _SHOWN_CHARACTERS)} "
                f"by {one_line(one.name, _SHOWN_CHARACTERS)} ended on {one.until}"
            )


def _ended_approvals(signoff: tuple[SignOff, ...], today: date) -> Iterator[str]:
    approvals = [one for one in signoff if one.decision == "approve"]
    if approvals and not any(in_force(one, today) for one in approvals):
        last = approvals[-1]
        yield f"the approval by {one_line(last.name, _SHOWN_CHARACTERS)} ended on {last.until}"
