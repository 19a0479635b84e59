"""Whether a record lets a variant go out: verdicts, edits by hand, people, and days."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from records_builder import build_record
from signed_release import VARIANT, passing
from test_statement import warned

from gate.records import Record
from gate.releasing.standing import standing_faults
from gate.reporting.report_files import read_record
from gate.result_records import labels_of
from gate.signoff import signed

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
TODAY = NOW.date()
YEAR_END = date(2026, 12, 31)
_REPORTS = Path(__file__).parent.parent / "reports"


def faults(record, *, variant=VARIANT, today=TODAY):
    return standing_faults(record, variant, today=today)


def sign(record, *, name="Ada", decision="approve", hours=0, **more):
    given = {"name": name, "decision": decision, "reason": f"so says {name}"} | more
    return signed(record, at=NOW + timedelta(hours=hours), **given)


def waive(record, **more):
    check = labels_of(record.results)[-1]
    return sign(record, **({"decision": "waive", "check": check, "until": YEAR_END} | more))


def without(record, keep):
    """The record with some of its results taken out by hand."""
    return record.model_copy(update={"results": tuple(filter(keep, record.results))})


def test_a_promoted_variant_may_go_out():
    assert faults(passing()) == ()


@pytest.mark.parametrize("variant", ["merged", "nobody"])
def test_a_variant_that_was_not_up_for_release_may_not(variant):
    assert faults(passing(), variant=variant) == (f"{variant} was not up for release",)


def test_a_blocked_variant_may_not_and_the_reasons_are_told():
    record = build_record(documents=300)
    (fault,) = faults(record, variant="w8a8")
    assert fault.startswith("the verdict on w8a8 is error: w8a8 against merged on desk_reply: ")


def test_a_verdict_that_was_edited_is_noticed():
    record = build_record(documents=300)
    verdicts = tuple(one.model_copy(update={"verdict": "promote"}) for one in record.verdicts)
    edited = record.model_copy(update={"verdicts": verdicts, "verdict": "promote"})
    assert faults(edited, variant="w8a8") == (
        "the record was edited: it says promote of w8a8, and its own checks and audits give error",
    )


def test_a_pass_that_its_own_interval_denies_is_noticed():
    first, *others = passing().results
    worse = first.estimate.model_copy(update={"low": -0.9})
    edited = passing().model_copy(
        update={"results": (first.model_copy(update={"estimate": worse}), *others)}
    )
    assert faults(edited) == (
        "the record was edited: check adapter-vs-base[arc_easy]:delta is said to have passed, and "
        "its interval does not lie within its bound",
    )


def test_a_check_that_was_taken_out_is_noticed():
    edited = without(passing(), lambda result: result.check.of != "merged")
    assert faults(edited) == (
        "the record was edited: no result of the check merged against adapter, "
        "delta at least -0.02 and at most 0.02",
    )


def test_a_record_without_any_check_of_the_variant_is_noticed():
    edited = without(passing(), lambda result: result.variant != VARIANT)
    assert "its own checks and audits give inconclusive" in faults(edited)[0]


def test_a_comparison_that_is_not_installed_leaves_the_verdict_unproven():
    text = passing().model_dump_json().replace('"compare":{"name":"delta"', '"compare":{"name":"x"')
    (fault,) = faults(Record.model_validate_json(text))
    assert fault == "the verdict on q8_0 cannot be derived again: no comparison named 'x'"


def test_a_broken_chain_of_sign_offs_is_named():
    record = sign(passing())
    entry = record.signoff[0].model_copy(update={"name": "Grace"})
    assert faults(record.model_copy(update={"signoff": (entry,)})) == (
        "sign-off 1 (approve by Grace) was changed after it was signed",
    )


def test_a_rejection_stands_against_another_persons_approval():
    record = sign(sign(passing(), decision="reject"), name="Grace", hours=1)
    assert faults(record) == ("rejected by Ada: so says Ada",)


def test_who_rejected_can_approve_later():
    record = sign(sign(passing(), decision="reject"), hours=1)
    assert faults(record) == ()


def test_a_rejection_ends_with_its_last_day():
    record = sign(passing(), decision="reject", until=YEAR_END)
    assert faults(record, today=YEAR_END) == ("rejected by Ada: so says Ada",)
    assert faults(record, today=YEAR_END + timedelta(days=1)) == ()


def test_a_waiver_counts_until_its_last_day_is_over():
    record = waive(warned(passing()))
    label = labels_of(record.results)[-1]
    assert faults(record, today=YEAR_END) == ()
    assert faults(record, today=YEAR_END + timedelta(days=1)) == (
        f"the waiver of {label} by Ada ended on 2026-12-31",
    )


def test_a_waiver_that_was_renewed_holds():
    later = YEAR_END + timedelta(days=90)
    record = waive(waive(warned(passing())), name="Grace", until=later, hours=1)
    assert faults(record, today=YEAR_END + timedelta(days=1)) == ()
    assert "by Grace ended on 2027-03-31" in faults(record, today=later + timedelta(days=1))[0]


def test_an_approval_that_ended_counts_unless_another_holds():
    record = sign(passing(), until=YEAR_END)
    late = YEAR_END + timedelta(days=1)
    assert faults(record, today=late) == ("the approval by Ada ended on 2026-12-31",)
    assert faults(sign(record, name="Grace", hours=1), today=late) == ()


@pytest.mark.parametrize(
    ("run", "variant"), [("example-demo", "q8_0"), ("example-engines", "w8a8")]
)
def test_the_verdicts_of_real_records_are_derived_again(run, variant):
    assert faults(read_record(_REPORTS / run), variant=variant) == ()
