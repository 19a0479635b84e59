"""The figure of documents to a decision: every look, and where it was decided."""

import pytest
from evidence_builder import LOOKS, build_evidence
from figure_parts import facts, short_words, words

from gate.figures.decisions import MOST_CHECKS, draw
from gate.reporting.sequential_views import planned_documents


@pytest.fixture(scope="module")
def record():
    return build_evidence()


def test_each_check_says_at_how_many_of_how_many_documents_it_was_decided(record):
    figures = draw(record)
    assert "undecided at 300 of 900" in words(figures)
    assert "failed at 200 of 900" in words(figures)
    assert "failed at 200 of 900 documents" in short_words(figures)


def test_every_look_is_told_with_its_interval(record):
    figures = draw(record)
    undecided, failed = (one["Looks"] for one in facts(figures))
    assert [part.split(":")[0] for part in undecided.split("; ")] == [str(size) for size in LOOKS]
    assert [part.split(":")[0] for part in failed.split("; ")] == ["50", "100", "200"]
    assert "200: -6.50 points (-12.62 to -2.53)" in failed


def test_numbers_of_documents_without_room_are_left_out_and_the_last_never(record):
    figures = draw(record)
    numbers = [text for text in words(figures) if text.isdigit()]
    assert numbers == ["900", "300", "200", "100", "900", "200", "100"]


def test_the_documents_that_were_planned_are_the_limit_or_all_there_are(record):
    one = next(result for result in record.results if result.looks)
    assert planned_documents(record, one) == 900
    free = tuple(task.model_copy(update={"limit": None}) for task in record.tasks)
    assert planned_documents(record.model_copy(update={"tasks": free}), one) == 1000


def test_checks_beyond_the_most_are_counted_in_the_caption(record):
    one = next(result for result in record.results if result.looks)
    many = record.model_copy(update={"results": (one,) * (MOST_CHECKS + 2)})
    figures = draw(many)
    assert len(facts(figures)) == MOST_CHECKS
    assert "2 more checks in the table only" in figures[0].caption


def test_a_record_without_looks_has_no_such_figure(record):
    bare = tuple(one.model_copy(update={"looks": ()}) for one in record.results)
    assert draw(record.model_copy(update={"results": bare})) == ()
