import re
from datetime import UTC, date, datetime

from evidence_builder import build_evidence
from records_builder import build_record

from gate.renderers import html
from gate.reporting.contents import contents, results_of_shipped
from gate.signoff import open_labels, signed

AT = datetime(2026, 11, 23, tzinfo=UTC)
UNTIL = date(2026, 12, 31)


def told(record):
    return {part.id: (part.state, part.told) for part in contents(record)}


def decided(record, *decisions):
    """The record with these decisions, a waiver being of a check that did not pass."""
    for decision in decisions:
        check = open_labels(record)[0] if decision == "waive" else None
        record = signed(
            record, name="Ada", decision=decision, reason="seen", at=AT, check=check, until=UNTIL
        )
    return record


def test_the_contents_are_the_sections_of_the_page_in_their_order():
    for record in (build_evidence(), build_record(documents=30)):
        sections = re.findall(r'<section id="([a-z-]+)"', html.render(record))
        assert [part.id for part in contents(record)] == sections


def test_the_state_of_the_checks_is_the_gravest_of_those_that_decide():
    assert told(build_record())["checks"] == ("error", "1 error")
    assert told(build_record(passing=True))["checks"] == ("pass", "12 passed")


def test_checks_of_what_is_not_up_for_release_do_not_count():
    record = build_record()
    shipped = record.model_copy(update={"ship": ("q8_0",)})
    assert {one.outcome for one in results_of_shipped(shipped)} == {"pass"}


def test_a_record_without_a_blocking_check_says_so():
    empty = build_record(documents=3).model_copy(update={"results": ()})
    assert told(empty)["checks"] == ("error", "none blocks")


def test_slices_that_collapsed_are_counted():
    assert told(build_evidence())["slices"] == ("fail", "1 collapsed")
    assert told(build_evidence(passing=True))["slices"] == ("pass", "none collapsed")


def test_the_last_decision_on_the_release_is_told_and_a_waiver_is_none():
    record = build_record(documents=30)
    assert told(record)["sign-off"] == ("neutral", "not signed")
    signed_off = decided(record, "reject", "approve", "waive")
    assert told(signed_off)["sign-off"] == ("neutral", "approved")


def test_sign_offs_that_were_changed_are_said_not_to_be_reliable():
    record = decided(build_record(documents=30), "approve")
    changed = record.signoff[0].model_copy(update={"name": "Eve"})
    forged = record.model_copy(update={"signoff": (changed,)})
    assert told(forged)["sign-off"] == ("fail", "not reliable")
