"""Ratios of speed and memory on figures made by hand: values, intervals, direction, words."""

import math

import pytest
from scipy import stats as scipy_stats
from serving_builder import build_run, build_serving

from gate import extensions
from gate.comparisons import speed
from gate.errors import ConfigError, StageError
from gate.judging.bounds import bounds_of
from gate.judging.reasons import Finding
from gate.result_records import Estimate
from gate.terms import Check, Use


def pair(before, after, quantity="decode"):
    """Two servings whose runs differ in one quantity."""
    return tuple(
        build_serving(name, *(build_run(n, **{quantity: v}) for n, v in enumerate(values, 1)))
        for name, values in (("adapter", before), ("q8_0", after))
    )


def find(estimate, **bounds):
    check = Check(of="q8_0", against="adapter", compare=Use(name="speed"), **bounds)
    finding = Finding(estimate, bounds_of(check, estimate), check.confidence, False)
    kept = [bound.is_kept for bound in finding.bounds]
    is_broken = any(bound.is_broken for bound in finding.bounds)
    outcome = "fail" if is_broken else "pass" if all(kept) else "inconclusive"
    return outcome, finding.sentence(outcome)


def ratio(value, low, high, n=3):
    return Estimate(
        value=value, low=low, high=high, n=n, unit="times as fast in decoding", method="t"
    )


def test_it_is_found_by_name_and_says_that_it_compares_what_is_served():
    extension = extensions.find("comparisons", "speed")
    assert extension.constant("COMPARES", "scores") == "serving"
    use = Use(name="speed", params={"measure": "prefill", "batch": "one"})
    extensions.check_parameters(extension, use, given_by_gate=["confidence"])


def test_a_measure_of_another_name_is_refused_when_the_suite_is_read():
    extension = extensions.find("comparisons", "speed")
    use = Use(name="speed", params={"measure": "latency"})
    with pytest.raises(ConfigError, match="latency"):
        extensions.check_parameters(extension, use, given_by_gate=["confidence"])


def test_the_value_is_the_geometric_mean_of_the_repeats_ratios():
    estimate = speed.compare(*pair([10, 10, 10], [10, 20, 40]), confidence=0.95)
    assert estimate.value == pytest.approx(2.0)
    assert (estimate.n, estimate.unit) == (3, "times as fast in decoding")


def test_the_interval_is_students_of_the_logarithms():
    before, after = [10.0, 11.0, 9.0, 10.5], [21.0, 25.0, 20.0, 22.0]
    logarithms = [math.log(b / a) for a, b in zip(before, after, strict=True)]
    low, high = scipy_stats.ttest_1samp(logarithms, 0).confidence_interval(0.90)
    estimate = speed.compare(*pair(before, after), confidence=0.95)
    assert (estimate.low, estimate.high) == pytest.approx((math.exp(low), math.exp(high)))


def test_repeats_are_paired_by_their_number_and_not_by_their_place():
    reference, candidate = pair([10, 30, 90], [20, 60, 180])
    shuffled = candidate.model_copy(update={"runs": candidate.runs[::-1]})
    estimate = speed.compare(reference, shuffled, confidence=0.95)
    assert (estimate.low, estimate.high) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(
    ("measure", "quantity", "factor"),
    [("decode", "decode", 2.0), ("prefill", "prefill", 2.0), ("load", "load", 0.5)],
)
def test_above_one_is_faster_whether_rates_or_times_are_measured(measure, quantity, factor):
    before, after = [8.0, 9.0], [8.0 * factor, 9.0 * factor]
    estimate = speed.compare(*pair(before, after, quantity), confidence=0.95, measure=measure)
    assert estimate.value == pytest.approx(2.0)
    assert estimate.unit.startswith("times as fast")


def test_the_time_to_the_first_token_is_that_of_one_prompt_alone():
    pairs = pair([100.0, 100.0], [400.0, 400.0], "prefill")
    estimate = speed.compare(*pairs, confidence=0.95, measure="first_token")
    assert estimate.value == pytest.approx(4.0)


def test_of_memory_above_one_is_more():
    pairs = pair([1000, 1000], [3000, 3000], "memory")
    estimate = speed.compare(*pairs, confidence=0.95, measure="memory")
    assert estimate.value == pytest.approx(3.0)
    assert estimate.unit == "times the peak memory"


def test_memory_is_the_gpus_where_both_used_one():
    reference, candidate = pair([1000, 1000], [3000, 3000], "memory")
    on_gpu = [
        one.model_copy(
            update={"runs": tuple(build_run(r.repeat, memory=9, cuda=cuda) for r in one.runs)}
        )
        for one, cuda in ((reference, 500), (candidate, 250))
    ]
    estimate = speed.compare(*on_gpu, confidence=0.95, measure="memory")
    assert estimate.value == pytest.approx(0.5)


def test_swapping_the_arms_inverts_value_and_interval():
    one, other = pair([10, 11, 9], [21, 25, 20])
    there = speed.compare(one, other, confidence=0.95)
    back = speed.compare(other, one, confidence=0.95)
    assert (back.value, back.low, back.high) == pytest.approx(
        (1 / there.value, 1 / there.high, 1 / there.low)
    )


def test_more_repeats_of_one_spread_narrow_the_interval():
    few = speed.compare(*pair([10, 11] * 2, [20, 20] * 2), confidence=0.95)
    many = speed.compare(*pair([10, 11] * 8, [20, 20] * 8), confidence=0.95)
    assert many.high - many.low < few.high - few.low


def test_one_prompt_and_many_are_told_apart():
    reference, candidate = pair([10, 10], [20, 20])
    faster_alone = candidate.model_copy(
        update={
            "runs": tuple(
                run.model_copy(update={"one": build_run(decode=80.0).one}) for run in candidate.runs
            )
        }
    )
    many = speed.compare(reference, faster_alone, confidence=0.95)
    one = speed.compare(reference, faster_alone, confidence=0.95, batch="one")
    assert (many.value, one.value) == pytest.approx((2.0, 8.0))


def changed(serving, **changes):
    return serving.model_copy(update=changes)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda one: changed(one, runs=one.runs[:1]),
            "the speed of q8_0 was measured in 1 repeat: an interval takes 2",
        ),
        (
            lambda one: changed(one, machine="a laptop"),
            "adapter and q8_0 were measured on different machines: .*; a laptop",
        ),
        (
            lambda one: changed(one, runs=one.runs[1:]),
            r"adapter and q8_0 were not measured in the same repeats: \[1, 2, 3\] and \[2, 3\]",
        ),
        (
            lambda one: changed(one, runs=tuple(build_run(n, batch_size=4) for n in (1, 2, 3))),
            "adapter and q8_0 were not measured with the same prompts, lengths and batch size",
        ),
        (
            lambda one: changed(one, runs=tuple(build_run(n, cuda=5) for n in (1, 2, 3))),
            "q8_0 was measured on a GPU and adapter was not: their memory is not the same",
        ),
    ],
)
def test_figures_that_cannot_be_set_against_each_other_are_refused(change, problem):
    reference, candidate = pair([10, 10, 10], [20, 20, 20])
    with pytest.raises(StageError, match=problem):
        speed.compare(reference, change(candidate), confidence=0.95, measure="memory")


@pytest.mark.parametrize(
    ("estimate", "bounds", "outcome", "sentence"),
    [
        (
            ratio(2.312, 2.21, 2.42),
            {"at_least": 1.5},
            "pass",
            "2.31 times as fast in decoding (2.2 to 2.5; 95 % one-sided), at least 1.5 is asked; "
            "3 repeats",
        ),
        (
            ratio(1.2, 1.1, 1.31),
            {"at_least": 1.5},
            "fail",
            "1.2 times as fast in decoding (1.1 to 1.4; 95 % one-sided), at least 1.5 is asked; "
            "3 repeats",
        ),
        (
            ratio(1.02, 0.95, 1.1),
            {"at_least": 0.9, "at_most": 1.2},
            "pass",
            "1.02 times as fast in decoding (0.95 to 1.1; 95 % one-sided), at least 0.9 and at "
            "most 1.2 is asked; 3 repeats",
        ),
        (
            ratio(1.8, 1.4, 2.314),
            {"at_least": 1.5},
            "inconclusive",
            "1.8 times as fast in decoding (1.4 to 2.4; 95 % one-sided), at least 1.5 is asked; "
            "about 3 more repeats would probably settle it; 3 repeats",
        ),
        (
            ratio(1.4, 1.2, 1.633),
            {"at_least": 1.5},
            "inconclusive",
            "1.4 times as fast in decoding (1.2 to 1.7; 95 % one-sided), at least 1.5 is asked; "
            "the ratio itself is not inside, so more repeats are unlikely to help; 3 repeats",
        ),
        (
            ratio(1.5004, 1.5001, 1.5007),
            {"at_least": 1.5},
            "pass",
            "1.5004 times as fast in decoding (1.5001 to 1.5007; 95 % one-sided), at least 1.5 is "
            "asked; 3 repeats",
        ),
    ],
)
def test_a_ratio_is_told_with_what_is_asked_of_it(estimate, bounds, outcome, sentence):
    assert find(estimate, **bounds) == (outcome, sentence)


def test_so_many_more_repeats_of_the_same_spread_do_settle_it():
    spread = [1.72, 1.8, 1.9, 1.62]
    estimate = speed.compare(*pair([1.0] * 4, spread), confidence=0.95)
    outcome, sentence = find(estimate, at_least=1.65)
    assert outcome == "inconclusive"
    assert "about 5 more repeats would probably settle it; 4 repeats" in sentence
    longer = speed.compare(*pair([1.0] * 9, [*spread, *spread, 1.76]), confidence=0.95)
    assert find(longer, at_least=1.65)[0] == "pass"
