"""Holm's correction: many checks do not fail by chance, and a pass needs none."""

from statistics import NormalDist

import pytest
from judged_pairs import judged_together
from serving_builder import build_serving
from test_judge import arms, corpus, make_check

from gate.jobs import NotRun
from gate.judging.judge import judge, verdict_of
from gate.stats import proportions
from gate.terms import Check, ResolvedCheck, Use

CHECK = make_check(at_least=-0.02)
BROKEN, GONE, GOOD = (0, 30, 1000), (0, 200, 1000), (0, 0, 1000)
"""Gains, losses and documents: beyond the margin at 95 %, at any confidence, and within it."""


def pairs(*tables):
    return [arms(*table, wrong=100) for table in tables]


def size_check(**bounds):
    check = Check(of="q4", against="merged", compare=Use(name="size"), **bounds)
    return ResolvedCheck(check=check, variant="q4", reference="merged", task="")


def test_a_fail_of_the_only_check_is_held_to_its_own_confidence():
    (result,) = judged_together(pairs(BROKEN), CHECK)
    assert result.outcome == "fail"
    assert (result.correction.hypotheses, result.correction.is_confirmed) == (1, True)
    assert result.correction.confidence == pytest.approx(0.95)


def test_a_bound_broken_by_no_more_than_chance_breaks_one_of_twelve_is_inconclusive():
    result, *rest = judged_together(pairs(BROKEN, *[GOOD] * 11), CHECK)
    assert result.outcome == "inconclusive"
    assert result.reason == (
        "loses at least 2.1 points (95 % one-sided), beyond the margin of 2 points, but not at "
        "the 99.58 % that Holm's correction for 12 checks asks; about 1,700 more documents would "
        "probably settle it; 0 gains, 30 losses in 1,000 documents"
    )
    assert (result.correction.hypotheses, result.correction.is_confirmed) == (12, False)
    assert result.correction.confidence == pytest.approx(1 - 0.05 / 12)
    assert result.needed == 2662
    assert {one.outcome for one in rest} == {"pass"}
    assert {one.correction for one in rest} == {None}


def test_an_unconfirmed_fail_blocks_the_release():
    results = judged_together(pairs(BROKEN, *[GOOD] * 11), CHECK)
    assert verdict_of("q4", ["merged"], results).verdict == "inconclusive"


def test_the_interval_of_a_correction_is_that_of_its_confidence():
    result, *_ = judged_together(pairs(BROKEN, *[GOOD] * 11), CHECK)
    corrected = proportions.paired_interval(0, 30, n=1000, confidence=1 - 0.05 / 12)
    assert result.correction.estimate.high == pytest.approx(corrected.high)
    p_value = NormalDist().cdf(proportions.tango_z(0, 30, n=1000, difference=-0.02))
    assert 0.05 / 12 < p_value < 0.05


def test_each_confirmed_fail_makes_the_next_one_easier():
    *gone, last = judged_together(pairs(*[GONE] * 11, BROKEN), CHECK)
    assert {one.outcome for one in gone} == {"fail"}
    assert last.outcome == "fail"
    assert last.correction.confidence == pytest.approx(0.95)
    first, *_ = judged_together(pairs(BROKEN, GONE, *[GOOD] * 10), CHECK)
    assert first.correction.confidence == pytest.approx(1 - 0.05 / 11)


def test_checks_that_warn_are_hypotheses_too_so_that_a_level_changes_no_outcome():
    warning = CHECK.model_copy(update={"check": CHECK.check.model_copy(update={"level": "warn"})})
    scores = {(one.variant, one.task): one for one in arms(*BROKEN, wrong=100)}
    for others in (CHECK, warning):
        results = judge([CHECK, *[others] * 11], scores, corpus(1000), {})
        assert {one.outcome for one in results} == {"inconclusive"}
        assert {one.correction.hypotheses for one in results} == {12}


def test_what_is_not_asked_yet_counts_and_what_could_not_be_measured_does_not():
    """So a fail that stands before the rest has run still stands after it."""
    scores = {(one.variant, one.task): one for one in arms(*BROKEN, wrong=100)}
    others = [CHECK.model_copy(update={"task": f"t{at}"}) for at in range(11)]
    for why, hypotheses, outcome in (
        (NotRun("no time"), 12, "inconclusive"),
        ("it broke", 1, "fail"),
    ):
        missing = {(arm, one.task): why for one in others for arm in ("merged", "q4")}
        first, *rest = judge([CHECK, *others], scores, corpus(1000), missing)
        assert (first.outcome, first.correction.hypotheses) == (outcome, hypotheses)
        assert len({one.outcome for one in rest}) == 1
        assert rest[0].reason.endswith(f": {why}")


def test_what_failed_is_told_before_what_was_not_asked():
    missing = {("merged", CHECK.task): NotRun("no time"), ("q4", CHECK.task): "it broke"}
    (result,) = judge([CHECK], {}, corpus(1000), missing)
    assert (result.outcome, result.reason.rpartition(": ")[2]) == ("error", "it broke")


def test_every_check_has_its_own_alpha():
    strict = make_check(at_least=-0.02, confidence=0.99)
    scores = {(one.variant, one.task): one for one in arms(0, 35, 1000, wrong=100)}
    first, second = judge([CHECK, strict], scores, corpus(1000), {})
    assert first.correction.confidence == pytest.approx(1 - 0.05 / 2)
    assert second.correction.confidence == pytest.approx(1 - 0.01 / 2)
    assert (first.outcome, second.outcome) == ("fail", "fail")
    scores = {(one.variant, one.task): one for one in arms(*BROKEN, wrong=100)}
    lenient, stricter = judge([CHECK, strict], scores, corpus(1000), {})
    assert lenient.correction.confidence == pytest.approx(1 - 0.05 / 2)
    assert stricter.outcome == "inconclusive"
    assert stricter.correction is None


def test_two_bounds_of_one_check_are_one_hypothesis():
    (result,) = judged_together(pairs(BROKEN), make_check(at_least=-0.02, at_most=0.02))
    assert result.correction.hypotheses == 1
    assert result.outcome == "fail"


def test_what_was_counted_and_not_sampled_fails_outright_and_is_no_hypothesis():
    serving = {
        "merged": build_serving("merged", size_bytes=1000),
        "q4": build_serving("q4", size_bytes=900),
    }
    scores = {(one.variant, one.task): one for one in arms(*BROKEN, wrong=100)}
    size, delta = judge([size_check(at_most=0.5), CHECK], scores, corpus(1000), {}, serving=serving)
    assert (size.outcome, size.correction) == ("fail", None)
    assert delta.correction.hypotheses == 1


def test_what_could_not_be_measured_is_no_hypothesis():
    scores = {(one.variant, one.task): one for one in arms(*BROKEN, wrong=100)}
    missing = CHECK.model_copy(update={"variant": "q8"})
    result, error = judge([CHECK, missing], scores, corpus(1000), {})
    assert error.outcome == "error"
    assert result.correction.hypotheses == 1


def test_passes_are_an_intersection_and_are_not_corrected():
    table = (3, 5, 400)
    (alone,) = judged_together([arms(*table, wrong=40)], CHECK)
    among = judged_together([arms(*table, wrong=40)] * 12, CHECK)
    assert {one.reason for one in among} == {alone.reason}
    assert {one.outcome for one in among} == {"pass"}
