import pytest
from test_examples import EXAMPLES
from verdict_builder import build_result, build_verdict

from gate.audit_records import ArtifactAudit, Audit
from gate.reporting.report_files import read_record
from gate.reporting.sentences import (
    blocking_checks,
    settling,
    verdict_sentence,
    warnings_of,
)

TASKS = ("arc_easy", "desk_intent", "desk_reply")


def say(verdict, *results, **settings):
    return verdict_sentence(*build_verdict(verdict, *results, **settings))


def audited(record, audit=None, error=None):
    one = ArtifactAudit(
        of="quantize",
        label="audit quantize q4_k_m",
        variants=("q4_k_m",),
        audit=audit,
        error=error,
    )
    return record.model_copy(update={"audits": (one,)})


def test_a_variant_that_may_ship_is_told_with_what_it_keeps():
    assert say("promote", *(build_result(task=task) for task in TASKS)) == (
        "q4_k_m may ship: it keeps the adapter's accuracy within 2 points on all 3 tasks; "
        "at worst it loses 1.1 points on arc_easy, at 95 % confidence"
    )


def test_a_variant_whose_checks_bound_no_loss_is_told_in_the_records_words():
    flips = build_result(compare="flips", unit="share of documents", at_most=0.08)
    said = say("promote", flips, reasons=("warning: one flips", "passed 1 blocking check"))
    assert said == "q4_k_m may ship: passed 1 blocking check"


def test_a_verdict_without_results_and_reasons_says_that_there_are_none():
    assert say("block") == "q4_k_m may not ship: no reason was recorded"


def test_a_block_says_which_step_lost_how_much_where_and_what_else_failed():
    results = (
        build_result(reference="merged-llamacpp", low=-0.09, high=-0.045, outcome="fail"),
        build_result("merged", "adapter", low=-0.05, high=-0.031, outcome="fail"),
        build_result("merged", "adapter", "desk_intent", low=-0.05, outcome="inconclusive"),
    )
    assert say("block", *results) == (
        "q4_k_m may not ship: quantization loses at least 4.5 points on arc_easy, beyond the "
        "margin of 2 points (q4_k_m against merged-llamacpp, 95 % confidence); 1 more check "
        "failed, 1 undecided"
    )


def test_a_block_by_the_weights_says_their_fault():
    record, found = build_verdict("block", reasons=("audit quantize q4_k_m: wrong scale",))
    record = audited(record, Audit(faults=("wrong scale",), tensors=(), quantized=()))
    assert verdict_sentence(record, found) == (
        "q4_k_m may not ship: its weights are not as they should be "
        "(audit quantize q4_k_m: wrong scale)"
    )


def test_an_open_verdict_says_what_may_still_be_lost_and_what_would_settle_it():
    result = build_result(
        low=-0.031, outcome="inconclusive", needed=740, reason="changes by -3.1 to 0.4 points"
    )
    record, found = build_verdict("inconclusive", result)
    assert verdict_sentence(record, found) == (
        "q4_k_m may not ship yet: merge, runtime and quantization may lose up to 3.1 points on "
        "arc_easy, the margin is 2 points (q4_k_m against adapter, 95 % confidence)"
    )
    assert settling(record, found) == (
        "q4_k_m against adapter on arc_easy: about 440 more documents would probably settle it",
    )


def test_more_documents_than_a_task_has_are_said_to_be_more():
    result = build_result(low=-0.031, outcome="inconclusive", needed=740)
    record, found = build_verdict("inconclusive", result)
    scores = tuple(one.model_copy(update={"available": 500}) for one in record.scores)
    (told,) = settling(record.model_copy(update={"scores": scores}), found)
    assert told.endswith("would probably settle it, but the task has 500 in all")


def test_where_more_documents_do_not_help_the_records_reason_is_told():
    reason = "2 of 3; the estimate itself is not inside, so more documents are unlikely to help; x"
    result = build_result(low=-0.06, high=-0.01, outcome="inconclusive", reason=reason)
    assert settling(*build_verdict("inconclusive", result)) == (
        "q4_k_m against adapter on arc_easy: the estimate itself is not inside, so more documents "
        "are unlikely to help",
    )


def test_a_kept_bound_in_doubt_is_told_by_the_doubt():
    doubt = "adapter is right on 80 of 300 documents, not significantly above chance"
    result = build_result(outcome="inconclusive", reason=f"{doubt}; loses at most 1.1 points")
    record, found = build_verdict("inconclusive", result)
    assert verdict_sentence(record, found).startswith(
        f"q4_k_m may not ship yet: q4_k_m against adapter on arc_easy: {doubt}"
    )
    assert settling(record, found) == (f"q4_k_m against adapter on arc_easy: {doubt}",)


def test_what_could_not_be_measured_is_named_with_its_reason():
    result = build_result(outcome="error", reason="its engine stopped", is_measured=False)
    record, found = build_verdict("error", result)
    assert verdict_sentence(record, found) == (
        "q4_k_m may not ship: q4_k_m against adapter on arc_easy could not be measured: its engine "
        "stopped"
    )
    assert settling(record, found) == (
        "q4_k_m against adapter on arc_easy: a measurement (its engine stopped)",
    )


def test_checks_that_failed_for_one_reason_are_settled_together():
    tasks = ("arc_easy", "desk_intent")
    results = [build_result(task=one, outcome="error", reason="killed") for one in tasks]
    assert settling(*build_verdict("error", *results)) == ("2 checks: a measurement (killed)",)


def test_an_audit_that_was_not_done_is_told_and_would_settle_it():
    record, found = build_verdict("error")
    record = audited(record, error="killed")
    assert verdict_sentence(record, found) == (
        "q4_k_m may not ship: its weights are not proven (audit quantize q4_k_m: killed)"
    )
    assert settling(record, found) == (
        "an audit of the weights that ends (audit quantize q4_k_m: killed)",
    )


def test_a_variant_whose_answers_nothing_judges_needs_a_check_of_them():
    reason = "no blocking check was made of the answers of q4_k_m"
    record, found = build_verdict("inconclusive", reasons=(reason,))
    assert verdict_sentence(record, found) == f"q4_k_m may not ship yet: {reason}"
    assert settling(record, found) == ("a blocking check of the answers of q4_k_m",)


@pytest.mark.parametrize("verdict", ["promote", "block"])
def test_nothing_would_settle_what_is_settled(verdict):
    result = build_result(low=-0.031, outcome="inconclusive", needed=740)
    assert settling(*build_verdict(verdict, result)) == ()


def test_checks_of_other_lines_and_those_that_warn_decide_nothing():
    results = (
        build_result("q8_0", "adapter", outcome="fail"),
        build_result(outcome="fail", at_least=-0.02, level="warn"),
        build_result("merged", "adapter"),
        build_result(outcome="inconclusive"),
    )
    checks = blocking_checks(*build_verdict("inconclusive", *results))
    assert [one.number for one in checks] == [4, 3]


def test_what_only_warns_is_told_apart():
    _, found = build_verdict("promote", reasons=("passed", "warning: flips: at least 9 %"))
    assert warnings_of(found) == ("flips: at least 9 %",)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_of_a_real_record_as_many_checks_are_counted_as_its_verdict_says(folder):
    record = read_record(folder)
    passed = [found for found in record.verdicts if found.verdict == "promote"]
    for found in passed:
        number = len(blocking_checks(record, found))
        assert found.reasons[0] == f"passed {number} blocking checks"
    assert passed
