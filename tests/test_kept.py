from verdict_builder import build_result, build_verdict

from gate.reporting.kept import kept_text

TASKS = ("arc_easy", "desk_intent", "desk_reply")


def say(*results, variant="q4_k_m"):
    record, _ = build_verdict("promote", *results, variant=variant)
    return kept_text(record, variant, results)


def test_steps_to_a_variant_are_told_with_the_one_that_may_lose_most():
    results = [
        build_result(variant, reference, task, low=low)
        for task in TASKS
        for variant, reference, low in (
            ("merged", "adapter", -0.004),
            ("merged-llamacpp", "merged", -0.003),
            ("q4_k_m", "merged-llamacpp", -0.017),
        )
    ]
    assert say(*results) == (
        "each of the 3 steps from the adapter to it keeps the accuracy within 2 points on all 3 "
        "tasks; at worst one step loses 1.7 points on arc_easy (q4_k_m against merged-llamacpp), "
        "at 95 % confidence"
    )


def test_the_largest_loss_is_not_told_smaller_than_it_may_be():
    assert "at worst it loses 1.3 points" in say(build_result(low=-0.01201))
    assert "at worst it loses 1.98 points" in say(build_result(low=-0.01978))


def test_what_training_did_is_no_step_to_a_release():
    results = (build_result(low=-0.004), build_result("adapter", "base", low=-0.019))
    assert "0.4 points" in say(*results)


def test_a_task_that_not_every_step_was_checked_on_is_not_counted():
    results = (
        build_result("merged", "adapter"),
        build_result(reference="merged"),
        build_result(reference="merged", task="desk_intent"),
    )
    assert "on arc_easy; at worst one step loses" in say(*results)


def test_steps_that_share_no_task_do_not_claim_one():
    results = (build_result("merged", "adapter"), build_result(reference="merged", task="other"))
    assert "within 2 points on the tasks it was checked on;" in say(*results)


def test_different_margins_are_told_from_the_narrowest_to_the_widest():
    results = (build_result(), build_result(task="desk_intent", at_least=-0.05))
    assert "within 2 to 5 points on 2 of 3 tasks;" in say(*results)


def test_changes_in_several_units_are_told_each_in_its_own():
    results = (build_result(), build_result(task="desk_reply", unit="mean difference", low=-0.004))
    assert say(*results) == (
        "it keeps the adapter's score within its margins on 2 of 3 tasks; at worst it loses "
        "1.1 points on arc_easy and 0.00400 of token_f1 on desk_reply, at 95 % confidence"
    )


def test_a_loss_just_inside_the_margin_is_not_rounded_onto_it():
    assert "loses 1.999 points on" in say(build_result(low=-0.01999))


def test_where_every_interval_is_a_gain_no_loss_is_left_open():
    said = say(build_result(low=0.001, high=0.02))
    assert said.endswith("on arc_easy; no loss is left open, at 95 % confidence")


def test_the_least_confidence_of_the_checks_is_told():
    results = (build_result(), build_result(task="desk_intent", at_least=-0.02, confidence=0.9))
    assert say(*results).endswith("at 90 % confidence")


def test_a_slice_is_named_where_no_task_as_a_whole_was_bounded():
    said = say(build_result(at_least=-0.02, slice="spanish"))
    assert "on arc_easy, slice spanish;" in said


def test_a_gain_that_is_asked_for_bounds_no_loss():
    assert say(build_result(at_least=0.0, low=0.01, high=0.1)) is None


def test_checks_of_its_lineage_alone_say_nothing_of_a_variant():
    assert say(build_result("merged", "adapter")) is None
