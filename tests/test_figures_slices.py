"""The figure of slices: its order, its marks, and what it leaves out."""

import pytest
from evidence_builder import SLICES, build_evidence
from figure_parts import facts

from gate.figures.slices import MOST_ROWS, draw


@pytest.fixture(scope="module")
def record():
    return build_evidence()


def test_slices_stand_below_all_documents_and_those_that_collapsed_first(record):
    figures = draw(record)
    names = [one["Slice"] for one in facts(figures)]
    assert names[:2] == ["all documents", "tables"]
    assert names[4:] == ["all documents", *SLICES]
    assert [one["State"] for one in facts(figures)[:4]] == [
        "failed",
        "collapsed",
        "not collapsed",
        "not collapsed",
    ]


def test_the_check_with_a_slice_that_collapsed_comes_first(record):
    figures = draw(record)
    assert [one["Check"] for one in facts(figures)[::4]] == ["#14 delta", "#11 delta"]


def test_checks_without_room_are_counted_in_the_caption(record):
    one = next(result for result in record.results if result.slices)
    many = record.model_copy(update={"results": (one,) * (MOST_ROWS // 4 + 3)})
    figures = draw(many)
    assert len(facts(figures)) == MOST_ROWS
    assert "3 checks without room here: in the table." in figures[0].caption


def test_a_record_without_slices_has_no_such_figure(record):
    bare = tuple(one.model_copy(update={"slices": ()}) for one in record.results)
    assert draw(record.model_copy(update={"results": bare})) == ()
