import pytest
from evidence_builder import build_evidence
from verdict_builder import build_result, build_verdict

from gate.reporting.findings import broken_text, excess, open_text, pair_text, step_text

RATIO = {"unit": "times the size on disk", "compare": "size", "task": ""}
SPEED = {"unit": "times as fast in decoding", "compare": "speed", "task": ""}
FLIPS = {"unit": "share of documents whose correctness changed", "compare": "flips"}
KL = {"unit": "KL divergence in nats a token", "compare": "kl", "task": "replies"}


def broken(**settings):
    result = build_result(reference="merged-llamacpp", **settings)
    return broken_text(build_verdict("block", result)[0], result)


def undecided(**settings):
    result = build_result(reference="merged-llamacpp", **settings)
    return open_text(build_verdict("inconclusive", result)[0], result)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"low": -0.2, "high": -0.12},
            "quantization loses at least 12.0 points on arc_easy, beyond the margin of 2 points",
        ),
        (
            {"low": 0.03, "high": 0.08, "at_least": 0.2},
            "quantization gains at most 8.0 points on arc_easy, where at least 20 points is asked",
        ),
        (
            {"low": 0.03, "high": 0.08, "at_least": -0.01, "at_most": 0.01},
            "quantization gains at least 3.0 points on arc_easy, beyond the margin of 1 point",
        ),
        (
            {"low": 0.1, "high": 0.2, "at_most": 0.08, **FLIPS},
            "the share of documents whose correctness changed on arc_easy is at least 10.00 %, "
            "where at most 8 % is allowed",
        ),
        (
            {"low": 11.2, "high": 11.8, "at_most": 0.08, **KL},
            "the KL divergence in nats a token on replies is at least 11.2, where at most 0.08 is "
            "allowed",
        ),
        (
            {"low": 0.4, "high": 0.8, "at_least": 1.0, **SPEED},
            "q4_k_m is at most 0.800 times as fast in decoding, where at least 1 is asked",
        ),
    ],
)
def test_a_broken_bound_is_told_by_the_end_of_the_interval_that_is_nearest_to_it(settings, said):
    assert broken(**settings) == f"{said} (q4_k_m against merged-llamacpp, 95 % confidence)"


@pytest.mark.parametrize(
    ("say", "settings", "said"),
    [
        (broken, {"low": -0.4, "high": -0.24650}, "loses at least 24.6 points"),
        (broken, {"low": 0.0319, "high": 0.08, "at_most": 0.01}, "gains at least 3.1 points"),
        (broken, {"low": 0.03, "high": 0.0811, "at_least": 0.2}, "gains at most 8.2 points"),
        (broken, {"low": 11.19, "high": 11.8, "at_most": 0.08, **KL}, "is at least 11.1"),
        (undecided, {"low": -0.0531, "high": 0.01}, "may lose up to 5.4 points"),
        (undecided, {"low": -0.01, "high": 0.0299, "at_most": 0.02}, "may gain up to 3.0 points"),
    ],
)
def test_no_more_is_said_than_the_interval_proves(say, settings, said):
    assert said in say(**settings)


def test_a_size_is_counted_and_has_no_confidence():
    assert broken(low=0.91, high=0.91, at_most=0.75, **RATIO) == (
        "q4_k_m is 0.910 times the size on disk, where at most 0.75 is allowed "
        "(q4_k_m against merged-llamacpp)"
    )


def test_a_share_just_beyond_its_bound_is_not_rounded_onto_it():
    assert "is at least 8.004 %, where at most 8 %" in broken(
        low=0.08004, high=0.2, at_most=0.08, **FLIPS
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"low": -0.053}, "quantization may lose up to 5.3 points on arc_easy, the margin is 2"),
        (
            {"low": 0.1, "high": 0.3, "at_least": 0.2},
            "quantization may gain as little as 10.0 points on arc_easy, where at least 20 points",
        ),
        (
            {"low": 0.0, "high": 0.04, "at_least": -0.02, "at_most": 0.02},
            "quantization may gain up to 4.0 points on arc_easy, the margin is 2 points",
        ),
        (
            {"low": 0.06, "high": 0.09, "at_most": 0.08, **FLIPS},
            "the share of documents whose correctness changed on arc_easy may be as high as 9.00 %",
        ),
        (
            {"low": 0.9, "high": 1.4, "at_least": 1.0, **SPEED},
            "q4_k_m may be as low as 0.900 times as fast in decoding, where at least 1 is asked",
        ),
    ],
)
def test_an_open_bound_is_told_by_the_end_of_the_interval_that_lies_beyond_it(settings, said):
    assert undecided(**settings).startswith(said)


def test_a_kept_bound_is_neither_broken_nor_open():
    assert broken(low=-0.01) is None
    assert undecided(low=-0.01) is None


def test_what_was_not_measured_is_neither_broken_nor_open():
    assert broken(is_measured=False) is None
    assert undecided(is_measured=False) is None


def test_the_excess_is_the_distance_from_the_bound_to_the_interval():
    assert excess(build_result(low=-0.2, high=-0.12)) == pytest.approx(0.1)
    assert excess(build_result()) == 0


def test_a_pair_is_told_with_its_task_and_slice():
    result = build_result(at_least=-0.02, slice="spanish")
    assert pair_text(result) == "q4_k_m against adapter on arc_easy, slice spanish"
    assert pair_text(build_result(**RATIO)) == "q4_k_m against adapter"


@pytest.mark.parametrize(
    ("variant", "reference", "step"),
    [
        ("adapter", "base", "training"),
        ("merged", "adapter", "merge"),
        ("merged-llamacpp", "merged", "runtime"),
        ("q4_k_m", "merged-llamacpp", "quantization"),
        ("w8a8", "adapter", "merge, runtime and quantization"),
        ("q8_0", "q4_k_m", "q8_0"),
        ("unknown", "merged", "unknown"),
    ],
)
def test_a_step_is_told_by_what_it_changes(variant, reference, step):
    result = build_result(variant, reference)
    assert step_text(build_verdict("block", result)[0], result) == step


def test_a_step_of_a_recorded_lineage_is_told_in_its_words():
    record = build_evidence()
    lineage = record.lineages[0]
    step = lineage.steps[0].model_copy(update={"also": ("runtime",)})
    lineage = lineage.model_copy(update={"steps": (step, *lineage.steps[1:])})
    told = step_text(
        record.model_copy(update={"lineages": (lineage,)}), build_result("adapter", "base")
    )
    assert told == "training and runtime"
