"""Slices: one that collapses is told even where the mean holds, and may have a check of its own."""

import pytest
from judged_pairs import both
from test_judge import arms, judged, make_check

from gate.stats import proportions


def language(i):
    """Documents 5 to 104 are German, of the rest every other one English."""
    if 5 <= i < 105:
        return "de"
    return "en" if i % 2 else "fr"


COLLAPSED = both(arms(3, 20, 2000, wrong=100), part=language)
CHECK = make_check(at_least=-0.02)


def test_a_slice_that_collapses_is_told_though_the_mean_holds():
    result = judged(COLLAPSED, CHECK)
    assert result.outcome == "pass"
    assert result.reason == (
        "passes on average, but slice de loses at least 10 points (98.3 % one-sided); loses at "
        "most 1.4 points (95 % one-sided), within the margin of 2 points; 3 gains, 20 losses in "
        "2,000 documents; 13 more losses would undo it"
    )
    assert [(one.slice, one.has_collapsed) for one in result.slices] == [
        ("de", True),
        ("en", False),
        ("fr", False),
    ]


def test_a_slice_has_its_own_documents_and_a_confidence_corrected_for_their_number():
    german = judged(COLLAPSED, CHECK).slices[0].estimate
    assert (german.n, german.flips.gains, german.flips.losses) == (100, 0, 18)
    corrected = proportions.paired_interval(0, 18, n=100, confidence=1 - 0.05 / 3)
    assert (german.low, german.high) == pytest.approx(corrected)


def test_a_collapsed_slice_is_told_beside_a_fail_too():
    pair = both(arms(0, 300, 2000, wrong=100), part=language)
    result = judged(pair, CHECK)
    assert result.outcome == "fail"
    assert "documents; 3 of 3 slices are beyond the bound, the worst 'de': loses" in result.reason


def test_slices_that_hold_are_not_told():
    result = judged(both(arms(3, 3, 2000, wrong=100), part=language), CHECK)
    assert "slice" not in result.reason
    assert len(result.slices) == 3


def test_a_slice_of_one_document_is_not_compared():
    pair = both(arms(0, 0, 400, wrong=40), part=lambda i: "rare" if i == 7 else "usual")
    assert [one.slice for one in judged(pair, CHECK).slices] == ["usual"]


def test_a_check_of_a_slice_is_judged_on_its_documents_alone():
    result = judged(COLLAPSED, make_check(at_least=-0.02, slice="de"))
    assert result.outcome == "fail"
    assert result.reason == (
        "loses at least 11 points (95 % one-sided), beyond the margin of 2 points; "
        "0 gains, 18 losses in 100 documents"
    )
    assert result.slices == ()


def test_a_check_of_a_slice_needs_as_many_documents_as_any_other():
    pair = both(arms(0, 0, 2000, wrong=100), part=language)
    result = judged(pair, make_check(at_least=-0.02, slice="de"))
    assert result.outcome == "inconclusive"
    assert "100 documents cannot prove a margin of 2 %" in result.reason
    assert result.needed == 149


def test_chance_is_that_of_the_slices_documents():
    pair = both(arms(0, 0, 2000, wrong=1000), part=lambda i: "hard" if i < 1000 else "easy")
    hard, easy = (judged(pair, make_check(at_least=-0.02, slice=s)) for s in ("hard", "easy"))
    assert (hard.outcome, easy.outcome) == ("inconclusive", "pass")
    assert "merged is right on 0 of 1,000 documents" in hard.reason


def test_an_unknown_slice_is_an_error_that_lists_the_slices():
    result = judged(COLLAPSED, make_check(at_least=-0.02, slice="es"))
    assert result.outcome == "error"
    assert result.reason == "desk_intent has no slice 'es': it has de, en, fr"


def test_a_slice_of_a_task_that_names_no_field_is_an_error():
    result = judged(arms(0, 0, 400), make_check(at_least=-0.02, slice="de"))
    assert result.outcome == "error"
    assert result.reason == "no document of desk_intent is in a slice, and the check asks for 'de'"
