"""What a check comes to as a test: its state, and the words it prints."""

import pytest
from records_builder import HOSTILE, build_record

from gate.audit_records import ArtifactAudit, Audit
from gate.collecting.findings import check_found, results_of, weights_found
from gate.errors import StageError
from gate.reporting.concerns import named_results
from gate.terms import ResolvedCheck

RECORD = build_record()


def found(variant, task, compare="delta", record=RECORD):
    named = next(
        one
        for one in named_results(record)
        if (one.result.variant, one.result.task, one.result.check.compare.name)
        == (variant, task, compare)
    )
    return check_found(record, named)


def audited(of, *variants, **found):
    return ArtifactAudit(of=of, label=f"audit {of} {variants[0]}", variants=variants, **found)


@pytest.mark.parametrize(
    ("variant", "task", "state"),
    [
        ("q8_0", "desk_intent", "pass"),
        ("q4_k_m", "desk_intent", "fail"),
        ("q4_k_m", "desk_reply", "inconclusive"),
        ("w8a8", "desk_reply", "error"),
    ],
)
def test_a_check_of_what_is_to_ship_is_what_it_found(variant, task, state):
    assert found(variant, task).state == state


def test_a_check_that_only_warns_says_so_and_fails_nothing():
    told = found("q4_k_m", "desk_intent", "flips")
    assert told.state == "warning"
    assert told.reason.startswith("only warns; inconclusive: the interval reaches across")


def test_a_check_of_what_is_not_up_for_release_stands_aside():
    told = found("q4_k_m", "desk_intent", record=RECORD.model_copy(update={"ship": ("q8_0",)}))
    assert told.state == "aside"
    assert told.reason.startswith("not up for release; failed: the whole interval is beyond")


def test_what_was_not_measured_has_a_rule_and_no_interval():
    told = found("w8a8", "desk_reply")
    assert told.reason == "not measured: there is no score: its engine stopped (out of memory)"
    assert told.text.splitlines()[1:] == ["  rule:    delta at least -0.025"]
    assert "low" not in told.facts


def test_the_first_flipped_documents_are_losses_with_what_each_variant_said():
    lines = found("q4_k_m", "desk_intent").text.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("  flipped: "))
    assert " lost, " in lines[at]
    assert len(lines[at + 1 :]) == 6
    assert lines[at + 1].strip().startswith("loss, document ")
    assert "; merged-llamacpp: " in lines[at + 2]
    assert "; q4_k_m: " in lines[at + 2]


def test_facts_are_unrounded():
    told = found("q4_k_m", "desk_intent")
    result = next(
        one for one in RECORD.results if (one.variant, one.task) == ("q4_k_m", "desk_intent")
    )
    assert float(told.facts["low"]) == result.estimate.low
    assert told.facts["outcome"] == "fail"


def test_nothing_that_a_terminal_obeys_is_printed():
    record = build_record(hostile=True)
    texts = [check_found(record, named).text for named in named_results(record)]
    assert any("alert(1)" in text for text in texts)
    assert not any("\x1b" in text or "\x00" in text for text in texts)
    assert "\x1b" in HOSTILE


def test_weights_that_are_proven_pass():
    audits = (audited("merge", "merged", "q8_0", audit=Audit()),)
    assert weights_found(RECORD.model_copy(update={"audits": audits}), "q8_0").state == "pass"


def test_weights_fail_by_a_fault_of_what_they_were_made_from():
    audits = (
        audited("merge", "merged", "q8_0", audit=Audit(faults=("lm_head.weight: wrong",))),
        audited("quantize", "q8_0", audit=Audit()),
    )
    told = weights_found(RECORD.model_copy(update={"audits": audits}), "q8_0")
    assert told.state == "fail"
    assert told.text == "audit merge merged: not proven: 1 fault\n  - lm_head.weight: wrong"


@pytest.mark.parametrize(
    ("audits", "reason"),
    [
        ((), "not audited"),
        (
            (audited("merge", "merged", error="it broke"),),
            "audit merge merged: could not be done: it broke",
        ),
    ],
)
def test_weights_that_were_not_audited_are_an_error(audits, reason):
    told = weights_found(RECORD.model_copy(update={"audits": audits}), "merged")
    assert (told.state, told.reason) == ("error", reason)


def checks_of(record):
    return [
        ResolvedCheck(check=one.check, variant=one.variant, reference=one.reference, task=one.task)
        for one in record.results
    ]


def test_each_check_gets_its_own_result():
    assert results_of(RECORD, checks_of(RECORD)) == tuple(named_results(RECORD))


def test_a_run_of_other_checks_than_were_collected_tells_nothing_of_them():
    with pytest.raises(StageError, match="was run on other checks than were collected"):
        results_of(RECORD, checks_of(RECORD)[::-1])
