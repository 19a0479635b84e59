"""Signing a record: the chain of entries, every way to tamper with it, and what is refused."""

import json
from datetime import UTC, date, datetime, timedelta
from xml.etree.ElementTree import fromstring

import pytest
from records_builder import HOSTILE, build_record

from gate.errors import ConfigError, RecordError
from gate.records import Record
from gate.renderers import junit, markdown, text
from gate.reporting.signoff_views import signoff_lines, waivers_beside, waivers_of_check
from gate.result_records import labels_of
from gate.signoff import chain_faults, open_labels, record_digest, signed

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
YEAR_END = date(2026, 12, 31)
WAIVED = "q4_k_m-vs-merged-llamacpp[arc_easy]:delta"


def record_of(**settings):
    return build_record(documents=20, **settings)


def sign(record, *, at=NOW, **settings):
    given = {"name": "Ada Lovelace", "decision": "approve", "reason": "within the margins"}
    return signed(record, at=at, **(given | settings))


def waive(record, **settings):
    given = {"decision": "waive", "check": WAIVED, "until": YEAR_END, "reason": "a pilot only"}
    return sign(record, **(given | settings))


@pytest.fixture(scope="module")
def thrice():
    """Signed by three, an hour apart."""
    record = sign(record_of())
    record = waive(record, name="Grace Hopper", at=NOW + timedelta(hours=1))
    return sign(record, name="Alan Turing", decision="reject", at=NOW + timedelta(hours=2))


def tampered(record, change):
    """The record after its JSON was changed by hand."""
    content = json.loads(record.model_dump_json())
    change(content)
    return Record.model_validate_json(json.dumps(content))


def test_each_entry_is_chained_to_the_one_before(thrice):
    first, second, third = thrice.signoff
    assert (first.previous, second.previous, third.previous) == ("", first.digest, second.digest)
    assert {one.record for one in thrice.signoff} == {record_digest(thrice)}
    assert chain_faults(thrice) == ()


def test_signing_changes_nothing_else_of_the_record(thrice):
    assert thrice.model_copy(update={"signoff": ()}) == record_of()
    assert record_digest(thrice) == record_digest(record_of())


def test_a_chain_holds_after_it_was_written_and_read(thrice):
    again = Record.model_validate_json(thrice.model_dump_json(indent=1))
    assert chain_faults(again) == ()
    assert record_digest(again) == record_digest(thrice)


def test_a_record_written_before_there_were_sign_offs_can_be_signed():
    written = json.loads(record_of().model_dump_json())
    for later in ("signoff", "serving", "policy", "duplicates", "lineages"):
        del written[later]
    old = Record.model_validate_json(json.dumps(written))
    assert record_digest(old) == record_digest(record_of())
    assert chain_faults(sign(old)) == ()


def test_a_record_that_nobody_signed_has_no_fault():
    assert chain_faults(record_of()) == ()


def test_names_and_reasons_of_any_script_are_kept():
    record = sign(record_of(), name="  Ελένη  Δημητρίου ", reason="見た。\nOK 🙂")
    assert (record.signoff[0].name, record.signoff[0].reason) == (
        "Ελένη Δημητρίου",
        "見た。\nOK 🙂",
    )
    again = Record.model_validate_json(record.model_dump_json())
    assert chain_faults(again) == ()


def test_the_moment_is_kept_in_utc_whatever_zone_the_clock_has():
    zone = datetime.fromisoformat("2026-11-23T07:30:00.5-05:00")
    assert sign(record_of(), at=zone).signoff[0].signed_at == NOW


def test_two_sign_offs_within_one_second_are_in_order():
    assert chain_faults(sign(sign(record_of()))) == ()


def change_score(content):
    content["scores"][0]["samples"][3]["value"] = 0.5


def change_verdict(content):
    content["verdict"] = "promote"


def remove_an_artifact(content):
    content["artifacts"].pop()


@pytest.mark.parametrize("change", [change_score, change_verdict, remove_an_artifact])
def test_a_changed_record_is_named_at_every_entry(thrice, change):
    said = "was given for another content: the record was changed since, or is another one"
    assert chain_faults(tampered(thrice, change)) == (
        f"sign-off 1 (approve by Ada Lovelace) {said}",
        f"sign-off 2 (waive by Grace Hopper) {said}",
        f"sign-off 3 (reject by Alan Turing) {said}",
    )


def test_sign_offs_of_another_record_are_named(thrice):
    other = record_of(seed=8).model_copy(update={"signoff": thrice.signoff[:1]})
    assert chain_faults(other) == (
        "sign-off 1 (approve by Ada Lovelace) was given for another content: "
        "the record was changed since, or is another one",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reason", "another"),
        ("name", "Mallory"),
        ("until", "2030-01-01"),
        ("check", None),
        ("decision", "approve"),
        ("signed_at", "2026-11-23T13:31:00Z"),
    ],
)
def test_a_changed_entry_is_named(thrice, field, value):
    def change(content):
        content["signoff"][1][field] = value

    (fault,) = chain_faults(tampered(thrice, change))
    assert fault.startswith("sign-off 2 (")
    assert fault.endswith("was changed after it was signed")


NOT_AFTER = "was not given after the one before it: that was changed, inserted, removed or moved"
NOT_FIRST = "is not the first that was given: what came before it was removed or moved"


def test_a_removed_entry_is_named_by_the_one_after_it(thrice):
    assert chain_faults(tampered(thrice, lambda content: content["signoff"].pop(1))) == (
        f"sign-off 2 (reject by Alan Turing) {NOT_AFTER}",
    )


def test_a_removed_first_entry_is_named_by_the_one_after_it(thrice):
    assert chain_faults(tampered(thrice, lambda content: content["signoff"].pop(0))) == (
        f"sign-off 1 (waive by Grace Hopper) {NOT_FIRST}",
    )


def test_entries_in_another_order_are_named(thrice):
    faults = chain_faults(tampered(thrice, lambda content: content["signoff"].reverse()))
    assert faults == (
        f"sign-off 1 (reject by Alan Turing) {NOT_FIRST}",
        f"sign-off 2 (waive by Grace Hopper) {NOT_AFTER}",
        "sign-off 2 (waive by Grace Hopper) is dated 2026-11-23 13:30 UTC, "
        "earlier than the one before it",
        f"sign-off 3 (approve by Ada Lovelace) {NOT_AFTER}",
        "sign-off 3 (approve by Ada Lovelace) is dated 2026-11-23 12:30 UTC, "
        "earlier than the one before it",
    )


def test_an_inserted_entry_is_named_by_the_one_after_it(thrice):
    first, *rest = thrice.signoff
    inserted = sign(thrice.model_copy(update={"signoff": (first,)}), name="Mallory")
    forged = thrice.model_copy(update={"signoff": (*inserted.signoff, *rest)})
    assert chain_faults(forged) == (f"sign-off 3 (waive by Grace Hopper) {NOT_AFTER}",)


def test_a_changed_digest_is_named_there_and_after(thrice):
    def change(content):
        content["signoff"][0]["digest"] = "0" * 64

    assert chain_faults(tampered(thrice, change)) == (
        "sign-off 1 (approve by Ada Lovelace) was changed after it was signed",
        f"sign-off 2 (waive by Grace Hopper) {NOT_AFTER}",
    )


def test_a_fault_names_a_hostile_signer_on_one_printable_line(thrice):
    def change(content):
        content["signoff"][0]["name"] = f"{HOSTILE}\nMallory"

    (fault,) = chain_faults(tampered(thrice, change))
    assert fault.isprintable()


def refusal(kind, **settings):
    with pytest.raises(ConfigError) as caught:
        kind(record_of(), **settings)
    return str(caught.value)


def test_a_chain_that_is_broken_is_not_signed_further(thrice):
    with pytest.raises(RecordError) as caught:
        sign(tampered(thrice, lambda content: content["signoff"].pop(0)), at=NOW)
    assert str(caught.value) == (
        "the sign-offs of support-bot-v3 do not hold: "
        f"sign-off 1 (waive by Grace Hopper) {NOT_FIRST}\n"
        "  hint: nothing is signed on top of them: take the record from where it is intact"
    )


def test_a_clock_that_runs_behind_the_last_entry_is_refused(thrice):
    with pytest.raises(RecordError) as caught:
        sign(thrice, at=NOW)
    assert str(caught.value) == (
        "the last sign-off is dated 2026-11-23 14:30 UTC, later than now, 2026-11-23 12:30 UTC\n"
        "  hint: set the clock of this machine"
    )


@pytest.mark.parametrize("part", ["name", "reason"])
def test_an_empty_name_or_reason_is_refused(part):
    assert refusal(sign, **{part: " \n "}) == (
        f"the {part} is empty\n  hint: a sign-off says who decided, and why"
    )


def test_a_reason_that_is_too_long_is_refused():
    assert refusal(sign, reason="x" * 2_001) == (
        "the reason has 2,001 characters, more than 2,000\n"
        "  hint: say the rest in a document, and name that one here"
    )
    assert sign(record_of(), reason="x" * 2_000)


def test_a_name_that_is_too_long_is_refused():
    assert "the name has 201 characters, more than 200" in refusal(sign, name="x" * 201)


@pytest.mark.parametrize("hidden", ["\x1b[31m", "\x00", "\u202e", "\udcff"])
def test_characters_that_hide_what_is_signed_are_refused(hidden):
    assert refusal(sign, name=f"Ada{hidden}") == (
        "the name has a character that cannot be shown\n"
        "  hint: leave out control characters and marks that turn the direction of text"
    )


def test_a_waiver_names_its_check():
    said = refusal(waive, check=None)
    assert said.startswith(
        "a waiver names its check\n  hint: --check LABEL; did not pass: q4_k_m-vs-merged-llamacpp["
    )


def test_a_check_that_there_is_not_is_refused_with_the_nearest_and_all_that_are_open():
    said = refusal(waive, check="q4_k_m-vs-merged-llamacpp[arc_easi]:delta")
    assert said.startswith(
        "no check 'q4_k_m-vs-merged-llamacpp[arc_easi]:delta'\n"
        f"  hint: did you mean {WAIVED}? did not pass: "
    )
    assert all(label in said for label in open_labels(record_of()))


@pytest.mark.parametrize("number", ["#0", "#99", "0"])
def test_a_number_that_no_check_has_is_refused(number):
    assert refusal(waive, check=number).startswith(f"no check '{number}'\n  hint: did not pass: ")


def test_a_check_that_passed_is_not_waived():
    record = record_of()
    place = next(i for i, one in enumerate(record.results) if one.outcome == "pass")
    label = labels_of(record.results)[place]
    assert refusal(waive, check=label).startswith(
        f"check {label} passed: there is nothing to waive\n  hint: did not pass: "
    )


def test_a_release_that_passed_has_nothing_to_waive():
    results = tuple(one.model_copy(update={"outcome": "pass"}) for one in record_of().results)
    with pytest.raises(ConfigError, match="hint: every check passed"):
        waive(record_of().model_copy(update={"results": results}))


def test_only_a_waiver_names_a_check():
    assert refusal(sign, check=WAIVED) == (
        f"approve stands for the whole release, not for check {WAIVED}\n"
        "  hint: to accept that one check did not pass: --decision waive"
    )


def test_a_waiver_has_a_last_day():
    assert refusal(waive, until=None) == (
        "a waiver has a last day\n  hint: for example --until 2026-12-31"
    )


@pytest.mark.parametrize("kind", [sign, waive])
@pytest.mark.parametrize("day", [NOW.date(), date(2025, 1, 1)])
def test_nothing_ends_before_it_has_begun(kind, day):
    assert refusal(kind, until=day) == (
        f"until {day}: that is not in the future\n"
        "  hint: the last day on which it counts, after today, 2026-11-23"
    )


@pytest.mark.parametrize("written", ["#13", "13", WAIVED])
def test_a_check_is_named_by_its_label_or_its_number_in_the_report(written):
    assert waive(record_of(), check=written).signoff[0].check == WAIVED


def test_a_hostile_label_is_named_as_it_is_shown():
    record = record_of(hostile=True)
    label = next(one for one in open_labels(record) if HOSTILE in one)
    shown = label.replace("\x1b", "\ufffd").replace("\x00", "\ufffd")
    assert waive(record, check=shown).signoff[0].check == label


def test_checks_of_one_name_are_told_apart():
    record = record_of()
    twice = record.model_copy(update={"results": (*record.results, record.results[12])})
    assert waive(twice, check=f"{WAIVED}#2").signoff[0].check == f"{WAIVED}#2"


def test_lines_tell_who_decided_what_when_and_why(thrice):
    assert signoff_lines(thrice) == (
        "approved by Ada Lovelace, 2026-11-23 12:30 UTC: within the margins",
        f"{WAIVED}: waived until 2026-12-31 by Grace Hopper, 2026-11-23 13:30 UTC: a pilot only",
        "rejected by Alan Turing, 2026-11-23 14:30 UTC: within the margins",
    )


def test_lines_begin_with_what_is_wrong_with_the_chain(thrice):
    first, *rest = signoff_lines(tampered(thrice, lambda content: content["signoff"].pop(0)))
    assert first == (
        f"WARNING, do not rely on these sign-offs: sign-off 1 (waive by Grace Hopper) {NOT_FIRST}"
    )
    assert len(rest) == 2


def test_nobody_signed_is_no_line():
    assert signoff_lines(record_of()) == ()


def test_a_waiver_stands_beside_the_verdicts_that_rest_on_its_check(thrice):
    (waiver,) = waivers_beside(thrice, "q4_k_m")
    assert waiver.check == WAIVED
    assert waiver.text == "waived until 2026-12-31 by Grace Hopper: a pilot only"
    assert waivers_beside(thrice, "q8_0") == ()


def test_a_waiver_of_a_variant_on_the_way_stands_beside_what_descends_from_it():
    record = record_of()
    label = "merged-vs-adapter[desk_intent]:delta"
    place = labels_of(record.results).index(label)
    failed = record.results[place].model_copy(update={"outcome": "fail"})
    results = (*record.results[:place], failed, *record.results[place + 1 :])
    record = waive(record.model_copy(update={"results": results}), check=label)
    beside = [waivers_beside(record, name) for name in ("merged", "q8_0", "adapter")]
    assert [[one.check for one in some] for some in beside] == [[label], [label], []]


def test_the_waivers_of_a_check_are_told_without_its_name(thrice):
    assert waivers_of_check(thrice, WAIVED) == (
        "waived until 2026-12-31 by Grace Hopper: a pilot only",
    )
    assert waivers_of_check(thrice, "another") == ()


def test_the_verdict_stays_what_it_was(thrice):
    assert (thrice.verdict, thrice.verdicts) == (record_of().verdict, record_of().verdicts)


def test_a_waived_check_fails_in_junit_as_before_and_says_that_it_is_waived(thrice):
    root = fromstring(junit.render(thrice))
    problem = root.find(f".//testcase[@name='{WAIVED}']/failure")
    assert problem.get("message") == (
        "the interval reaches across the bound (at least -0.025); "
        "waived until 2026-12-31 by Grace Hopper: a pilot only"
    )
    assert root.get("failures") == fromstring(junit.render(record_of())).get("failures")


def test_junit_has_a_property_for_each_sign_off(thrice):
    properties = fromstring(junit.render(thrice)).iterfind(".//property")
    told = [one.get("value") for one in properties if one.get("name").startswith("signoff.")]
    assert tuple(told) == signoff_lines(thrice)


def test_the_text_and_the_summary_tell_of_each_sign_off(thrice):
    said = " ".join(text.render(thrice).split())
    assert all(f"signed: {line}" in said for line in signoff_lines(thrice))
    summary = markdown.render(thrice)
    assert "approved by Ada Lovelace, 2026-11-23 12:30 UTC: within the margins" in summary
    assert "waived until 2026-12-31 by Grace Hopper" in summary
    assert "rejected by Alan Turing" in summary


@pytest.mark.parametrize("renderer", [text, markdown, junit])
def test_a_broken_chain_is_warned_of_in_every_report(thrice, renderer):
    broken = tampered(thrice, lambda content: content["signoff"].pop(0))
    said = " ".join(renderer.render(broken).split())
    assert "WARNING, do not rely on these sign-offs: sign-off 1 (waive by Grace Hopper)" in said


def hostile_chain():
    """A chain that holds, whose entries have every text that should not be shown as it is."""
    record = record_of(hostile=True)
    label = next(one for one in open_labels(record) if HOSTILE in one)
    entry = waive(record, check=label).signoff[0]
    forged = entry.model_copy(update={"name": HOSTILE, "reason": HOSTILE})
    return record.model_copy(update={"signoff": (forged,)})


@pytest.mark.parametrize("renderer", [text, markdown, junit])
def test_a_hostile_sign_off_is_text(renderer):
    shown = renderer.render(hostile_chain())
    assert not {"\x1b", "\x00"} & {*shown}
    if renderer is not text:
        assert "<script>" not in shown
