"""Signatures in a real browser: shown, marked where they have ended, and never more than text."""

from datetime import UTC, date, datetime, timedelta

import pytest
from records_builder import HOSTILE, build_record

from gate.renderers.html import render
from gate.signoff import open_labels, signed

pytestmark = pytest.mark.browser

LONG_AGO = datetime(2020, 3, 1, 9, 0, tzinfo=UTC)
OVER = "q4_k_m-vs-merged-llamacpp[arc_easy]:delta"
LASTING = "q4_k_m-vs-merged-llamacpp[desk_reply]:delta"


def sign(record, *, days=0, **settings):
    given = {"name": "Ada Lovelace", "decision": "approve", "reason": "within the margins"}
    return signed(record, at=LONG_AGO + timedelta(days=days), **(given | settings))


def waive(record, check, until, **settings):
    return sign(record, decision="waive", check=check, until=until, **settings)


@pytest.fixture(scope="module")
def record():
    """Waived until a day that is over, waived for long, and approved."""
    record = waive(build_record(documents=20), OVER, date(2020, 12, 31))
    record = waive(record, LASTING, date(2999, 12, 31), name="Grace Hopper", days=1)
    return sign(record, name="Alan Turing", reason="first line\nsecond line", days=2)


def test_who_decided_what_when_and_why_is_shown_in_order(open_page, record):
    page = open_page(render(record))
    said = page.locator("ol.signatures > li").all_inner_texts()
    assert [one.split()[0] for one in said] == ["waived", "waived", "approved"]
    assert "Alan Turing" in said[2]
    assert "2020-03-03 09:00 UTC" in said[2]
    assert "first line\nsecond line" in said[2]
    assert page.locator("#sign-off code").first.inner_text() == record.signoff[-1].digest


def test_the_last_decision_on_the_release_is_told_at_the_top(open_page, record):
    top = open_page(render(record)).locator(".masthead")
    assert "approved by Alan Turing, 2020-03-03 09:00 UTC: 3 signatures" in top.inner_text()
    rejected = sign(record, decision="reject", until=date(2020, 4, 1), days=3)
    top = open_page(render(rejected)).locator(".masthead")
    assert "rejected until 2020-04-01 expired by Ada Lovelace" in top.inner_text()


def test_a_waiver_leads_to_its_check(open_page, record):
    page = open_page(render(record))
    page.locator("#sign-off-1 a").click()
    assert page.url.endswith("#check-13")
    assert OVER.partition("-vs-")[0] in page.locator("#check-13").inner_text()


def test_only_what_has_ended_by_the_readers_day_is_marked(open_page, record):
    page = open_page(render(record))
    assert page.locator("ol.signatures > li.is-over").all_inner_texts()[0].count(OVER) == 1
    assert page.locator("#sign-off .expired").all_inner_texts() == ["expired"]


@pytest.mark.parametrize(("day", "marks"), [("2020-12-31", 0), ("2021-01-01", 1)])
def test_a_waiver_is_marked_from_the_day_after_its_last(open_page, record, day, marks):
    page = open_page("<p></p>")
    page.clock.install(time=f"{day}T12:00:00Z")
    page.set_content(render(record))
    assert page.locator("#sign-off .expired").count() == marks


def test_waivers_stand_beside_the_verdict_that_they_do_not_change(open_page, record):
    page = open_page(render(record))
    card = page.locator(".card", has_text="q4_k_m").first
    assert card.locator("h2 .mark").inner_text() == "inconclusive"
    assert card.locator(".waiver").all_inner_texts() == [
        f"waived {OVER} until 2020-12-31 expired by Ada Lovelace: within the margins",
        f"waived {LASTING} until 2999-12-31 by Grace Hopper: within the margins",
    ]
    assert page.locator(".waiver").count() == 2


def test_a_broken_chain_is_warned_of_at_the_top_and_where_it_is_shown(open_page, record):
    broken = record.model_copy(update={"signoff": record.signoff[1:]})
    page = open_page(render(broken))
    top, section = page.locator(".broken-chain").all_inner_texts()
    assert "Do not rely on the signatures of this record" in top
    assert "sign-off 1 (waive by Grace Hopper) is not the first that was given" in section


def test_a_record_that_nobody_signed_says_so(open_page):
    page = open_page(render(build_record(documents=20)))
    assert "Nobody has signed this record" in page.locator("#sign-off").inner_text()
    assert page.locator(".waiver, .broken-chain, .expired").count() == 0


def test_the_lines_for_a_signature_by_hand_are_on_paper_only(open_page, record):
    page = open_page(render(record))
    assert not page.locator(".signature").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".signature").is_visible()


def test_the_digest_can_be_copied(open_page, record):
    page = open_page(render(record), permissions=["clipboard-read", "clipboard-write"])
    page.locator("#sign-off button", has_text="Copy").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == record.signoff[-1].digest


@pytest.mark.parametrize("dark", [False, True])
def test_hostile_names_stay_text_and_fit_a_phone(open_page, dark):
    record = build_record(documents=20, hostile=True)
    label = next(one for one in open_labels(record) if HOSTILE in one)
    entry = waive(record, label, date(2020, 12, 31)).signoff[0]
    forged = entry.model_copy(update={"name": HOSTILE, "reason": f"{HOSTILE}{'x' * 2_000}"})
    page = open_page(
        render(record.model_copy(update={"signoff": (forged,)})), width=390, height=800, dark=dark
    )
    shown = HOSTILE.replace("\x1b", "\ufffd").replace("\x00", "\ufffd")
    assert shown in page.locator("#sign-off-1").inner_text()
    widest = "Math.max(...[...document.querySelectorAll('#sign-off *')].map((n) => n.scrollWidth))"
    assert page.evaluate(widest) <= 390


def test_the_section_has_no_serious_accessibility_violation(open_page, barriers, record):
    broken = record.model_copy(update={"signoff": record.signoff[1:]})
    for dark in (False, True):
        page = open_page(render(broken), dark=dark)
        assert barriers(page, "#sign-off, .masthead") == []
