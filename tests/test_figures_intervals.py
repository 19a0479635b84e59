"""The key figure: which checks it has, in which order, and what it says of each."""

import pytest
from evidence_builder import build_evidence
from figure_parts import facts, short_words, words
from records_builder import HOSTILE

from gate.figures.drawing import draw_for_page
from gate.figures.facts import numbered
from gate.figures.intervals import MOST_ROWS, choose, draw
from gate.records import Record


@pytest.fixture(scope="module")
def record() -> Record:
    return build_evidence()


def with_results(record: Record, *results) -> Record:
    return record.model_copy(update={"results": results})


def test_every_check_has_a_row_with_its_number_and_its_interval(record):
    figures = draw(record)
    told = facts(figures)
    numbers = sorted(int(one["Check"].split()[0].removeprefix("#")) for one in told)
    assert numbers == list(range(1, len(record.results) + 1))
    assert "-6.67 points (-9.53 to -4.46)" in words(figures)
    assert "#14 · desk_intent" in words(figures)


def test_the_check_that_blocks_is_in_the_first_panel(record):
    figures = draw(record)
    assert facts(figures)[0]["Check"].startswith("#10 ")
    assert "quantized against bridge: delta at least -2.5 points" in words(figures)


def test_what_is_not_up_for_release_comes_last_and_says_so(record):
    figures = draw(record.model_copy(update={"ship": ("q8_0",)}))
    told = facts(figures)
    aside = ["not up for release" in one["Outcome"] for one in told]
    assert aside == sorted(aside)
    named = {one["Variant"].split()[0] for one in told if "not up for" in one["Outcome"]}
    assert named == {"q4_k_m", "w8a8"}
    assert any(text.endswith(", not up for release") for text in words(figures))


def test_checks_are_grouped_by_rule_and_unit(record):
    figures = draw(record)
    titles = [text for text in words(figures) if " against " in text]
    assert len(titles) == len(set(titles))
    assert "bridge against merged: delta at least -2 points" in titles
    assert "bridge against merged: delta at least -0.02" in titles


def test_a_row_tells_its_reason_method_and_number_of_documents(record):
    figures = draw(record)
    lost = next(one for one in facts(figures) if one["Check"].startswith("#14 "))
    assert lost["Outcome"] == "failed"
    assert lost["n"] == "300"
    assert lost["Bound"] == "at least -2.5 points"
    assert lost["Method"].startswith("Tango score interval")
    assert "beyond the bound" in lost["Reason"]


def test_what_was_not_measured_is_said_not_to_be(record):
    figures = draw(record)
    failed = next(one for one in facts(figures) if one["Outcome"] == "error")
    assert failed["Estimate (interval)"] == "not measured"
    assert failed["Bound"] == "at least -0.025"
    assert "not measured" in words(figures)
    assert "not measured" in short_words(figures)


def test_a_number_does_not_reach_a_bound_that_the_estimate_does_not(record):
    found = record.results[9]
    close = found.estimate.model_copy(update={"value": -0.0249999})
    figures = draw(with_results(record, found.model_copy(update={"estimate": close})))
    assert any(text.startswith("-2.49999") for text in words(figures))
    assert any(text.startswith("-2.49999") for text in short_words(figures))


def test_beyond_the_most_rows_those_that_passed_with_the_most_room_are_left_out(record):
    passed = record.results[0]
    close = passed.estimate.model_copy(update={"low": 0.0001})
    near = passed.model_copy(update={"estimate": close})
    many = with_results(record, *[passed] * MOST_ROWS, near, record.results[13])
    shown = choose(numbered(many), most=MOST_ROWS)
    assert len(shown) == MOST_ROWS
    assert [one.number for one in shown[-2:]] == [MOST_ROWS + 1, MOST_ROWS + 2]
    assert "2 checks that passed with the most room: in the table only" in draw(many)[0].caption


def test_nothing_that_did_not_pass_is_left_out(record):
    failed = record.results[13]
    figures = draw(with_results(record, *[failed] * (MOST_ROWS + 5)))
    assert len(facts(figures)) == MOST_ROWS + 5
    assert "in the table only" not in figures[0].caption


def test_a_record_without_checks_has_no_figure(record):
    assert draw(with_results(record)) == ()


def test_hostile_names_are_texts_in_the_drawing():
    figures = draw(build_evidence(hostile=True))
    svg = draw_for_page(figures[0].spec)
    assert "<script" not in svg
    assert "w8a8&lt;script&gt;" in svg
    assert "\x1b" not in figures[0].spec
    assert HOSTILE[:20] in figures[0].spec.replace('\\"', '"')


def test_a_usual_record_takes_little_room_in_the_page(record):
    figures = draw(record)
    assert len(draw_for_page(figures[0].spec)) < 40_000
