"""The record that assertions of one's own are made on."""

import pytest
from records_builder import build_record

from gate.collecting.measured_record import MeasuredRecord
from gate.errors import ConfigError, StageError
from gate.terms import Sequential

RECORD = build_record()
MEASURED = MeasuredRecord(RECORD)


def test_two_variants_that_no_check_compares_can_be_compared():
    pairs = {(one.variant, one.reference) for one in RECORD.results}
    assert ("q4_k_m", "base") not in pairs
    found = MEASURED.delta("q4_k_m", "base", "desk_intent")
    assert found.low < found.value < found.high
    assert found.n == 300


def test_a_comparison_turned_round_has_the_other_sign():
    there = MEASURED.delta("merged", "adapter", "desk_intent")
    back = MEASURED.delta("adapter", "merged", "desk_intent")
    assert back.value == -there.value
    assert back.low == pytest.approx(-there.high)


def test_more_confidence_is_a_wider_interval():
    usual = MEASURED.delta("q4_k_m", "merged", "arc_easy")
    surer = MEASURED.delta("q4_k_m", "merged", "arc_easy", confidence=0.99)
    assert surer.low < usual.low


def test_flips_are_a_share_of_documents():
    assert 0 < MEASURED.flips("q4_k_m", "merged", "desk_intent").value < 1


def test_a_score_is_the_tasks_own_metric_unrounded():
    score = next(
        one for one in RECORD.scores if (one.variant, one.task) == ("merged", "desk_intent")
    )
    assert MEASURED.score("merged", "desk_intent") == score.mean


def test_verdicts_are_the_records():
    assert MEASURED.verdict == RECORD.verdict
    assert MEASURED.verdict_of("q8_0") == "promote"
    assert MEASURED.results == RECORD.results


def test_a_sequential_comparison_holds_at_every_look():
    scores = tuple(one.model_copy(update={"available": 300}) for one in RECORD.scores)
    placed = tuple(
        one.model_copy(
            update={
                "samples": tuple(
                    sample.model_copy(update={"place": place})
                    for place, sample in enumerate(one.samples)
                )
            }
        )
        for one in scores
    )
    record = RECORD.model_copy(update={"scores": placed})
    once = MEASURED.delta("q4_k_m", "merged", "desk_intent")
    always = MeasuredRecord(record, Sequential()).delta("q4_k_m", "merged", "desk_intent")
    assert "anytime-valid" in always.method
    assert always.low < once.low


@pytest.mark.parametrize(
    ("asked", "problem", "hint"),
    [
        (("merged", "adapter", "desk_intnet"), "no task 'desk_intnet' in this gate", "desk_intent"),
        (("q4_km", "adapter", "desk_intent"), "no variant 'q4_km' in this gate", "q4_k_m"),
    ],
)
def test_a_name_that_is_not_there_is_met_with_the_nearest(asked, problem, hint):
    with pytest.raises(ConfigError, match=problem) as caught:
        MEASURED.delta(*asked)
    assert caught.value.hint == f"did you mean {hint}?"


def test_a_verdict_of_what_cannot_ship_is_refused():
    with pytest.raises(ConfigError, match="no verdict of 'adapter'"):
        MEASURED.verdict_of("adapter")


def test_what_was_not_scored_is_no_number():
    with pytest.raises(StageError, match="w8a8 was not scored on desk_reply"):
        MEASURED.score("w8a8", "desk_reply")


def test_what_was_not_read_or_measured_is_refused():
    with pytest.raises(StageError, match="was not read against merged on the text replies"):
        MEASURED.compare("kl", "q8_0", "merged", "replies")
    with pytest.raises(StageError, match="it was not measured what merged costs to serve"):
        MEASURED.compare("size", "q8_0", "merged")


def test_an_unknown_comparison_is_refused():
    with pytest.raises(ConfigError, match="detla"):
        MEASURED.compare("detla", "q8_0", "merged", "desk_intent")
