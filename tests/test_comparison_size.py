"""Ratios of bytes: counted, exact, and told as such."""

import pytest
from serving_builder import build_serving

from gate import extensions
from gate.comparisons import size
from gate.errors import StageError
from gate.judging.bounds import bounds_of
from gate.judging.reasons import Finding
from gate.presentation import interval_text, rule_text
from gate.result_records import CheckResult
from gate.terms import Check, Use

ADAPTER = build_serving("adapter", size_bytes=1000, weight_bytes=900, parameters=450)
HALF = build_serving("q8_0", size_bytes=535, weight_bytes=450, parameters=450)


def told(estimate, outcome, **bounds):
    check = Check(of="q8_0", against="adapter", compare=Use(name="size"), **bounds)
    return Finding(estimate, bounds_of(check, estimate), 0.95, False).sentence(outcome)


def test_it_is_found_by_name_and_says_that_it_compares_what_is_served():
    extension = extensions.find("comparisons", "size")
    assert extension.constant("COMPARES", "scores") == "serving"
    use = Use(name="size", params={"measure": "weights"})
    extensions.check_parameters(extension, use, given_by_gate=["confidence"])


@pytest.mark.parametrize(
    ("measure", "ratio", "unit"),
    [("disk", 0.535, "times the size on disk"), ("weights", 0.5, "times the size of the weights")],
)
def test_the_ratio_is_the_candidates_bytes_over_the_references(measure, ratio, unit):
    estimate = size.compare(ADAPTER, HALF, confidence=0.95, measure=measure)
    assert (estimate.value, estimate.low, estimate.high) == (ratio, ratio, ratio)
    assert (estimate.n, estimate.unit, estimate.method) == (1, unit, "exact")


def test_swapping_the_arms_inverts_the_ratio():
    estimate = size.compare(HALF, ADAPTER, confidence=0.95, measure="weights")
    assert estimate.value == 2.0


@pytest.mark.parametrize(
    ("measure", "problem"),
    [("disk", "endpoint: its size on disk is not known"),
     ("weights", "endpoint: the size of its weights is not known")],
)  # fmt: skip
def test_a_size_that_is_not_known_is_an_error(measure, problem):
    with pytest.raises(StageError, match=problem):
        size.compare(ADAPTER, build_serving("endpoint"), confidence=0.95, measure=measure)


def test_bits_per_weight_are_those_of_all_weights():
    assert (ADAPTER.bits_per_weight, HALF.bits_per_weight) == (16.0, 8.0)
    assert build_serving("endpoint").bits_per_weight is None


def test_a_counted_ratio_is_told_without_an_interval():
    estimate = size.compare(ADAPTER, HALF, confidence=0.95)
    sentence = "0.535 times the size on disk, at most 0.6 is asked"
    assert told(estimate, "pass", at_most=0.6) == sentence
    assert told(estimate, "fail", at_most=0.5) == sentence.replace("0.6", "0.5")


def test_a_ratio_on_the_bound_itself_says_so():
    same = size.compare(ADAPTER, ADAPTER, confidence=0.95)
    assert told(same, "inconclusive", at_most=1.0) == (
        "1 times the size on disk, exactly the bound: at most 1 is asked"
    )


def test_a_counted_ratio_is_shown_without_an_interval():
    estimate = size.compare(ADAPTER, HALF, confidence=0.95)
    check = Check(of="q8_0", against="adapter", compare=Use(name="size"), at_most=0.6)
    result = CheckResult(
        check=check,
        variant="q8_0",
        reference="adapter",
        task="",
        outcome="pass",
        reason="",
        estimate=estimate,
    )
    assert interval_text(estimate, check) == "0.535"
    assert rule_text(result) == "size at most 0.6 times the size on disk"
