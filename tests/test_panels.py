"""Where the figures of checks, slices and looks put their marks."""

import pytest
from evidence_builder import LOOKS, SLICES, build_evidence

from gate.renderers import html
from gate.reporting.panels import draw_looks, draw_panels, draw_slices


@pytest.fixture(scope="module")
def record():
    return build_evidence()


def test_a_marks_side_of_the_bound_in_the_figure_is_its_side_in_the_record(record):
    for panel in draw_panels(record):
        for row in panel.rows:
            estimate, check = row.result.estimate, row.result.check
            if estimate is None or check.at_least is None:
                continue
            line = panel.axis.bounds[0].x
            assert (row.spot.low_x >= line) == (estimate.low >= check.at_least)
            assert (row.spot.high_x >= line) == (estimate.high >= check.at_least)
            assert 0 <= row.spot.low_x <= row.spot.value_x <= row.spot.high_x <= 100


def test_an_estimate_far_beyond_the_bounds_is_an_arrow_and_does_not_squash_the_others(record):
    first = next(one for one in record.results if one.estimate and one.check.at_least == -0.025)
    far = first.estimate.model_copy(update={"low": -0.9, "value": -0.85, "high": -0.8})
    lost = first.model_copy(update={"estimate": far, "outcome": "fail"})
    (panel,) = draw_panels(record.model_copy(update={"results": (first, lost)}))
    assert [row.spot.beyond for row in panel.rows] == [None, "left"]
    assert panel.rows[0].spot.high_x - panel.rows[0].spot.low_x > 5
    assert "◀" in html.render(record.model_copy(update={"results": (first, lost)}))


def test_slices_stand_below_all_documents_and_those_that_collapsed_first(record):
    kept, lost = draw_slices(record)
    assert [line.name for line in kept.lines] == ["all documents", *SLICES]
    assert {line.state for line in kept.lines[1:]} == {"neutral"}
    collapsed = [line.state == "fail" for line in lost.lines[1:]]
    assert collapsed == sorted(collapsed, reverse=True)
    assert any(collapsed)


def test_a_collapsed_slice_is_drawn_beyond_the_bound(record):
    _, lost = draw_slices(record)
    assert lost.has_collapsed
    line = lost.axis.bounds[0].x
    for one in lost.lines[1:]:
        assert (one.spot.high_x < line) == (one.state == "fail")


def test_every_slice_is_on_its_axis_however_far_from_the_bound(record):
    _, lost = draw_slices(record)
    assert [one.spot.beyond for one in lost.lines] == [None] * 4
    assert lost.lines[1].spot.low_x > 0


def test_labels_of_bounds_that_are_close_are_turned_away_from_each_other(record):
    found = next(one for one in record.results if one.check.at_most == 0.02 and one.estimate)
    wide = found.estimate.model_copy(update={"low": -0.08, "high": 0.08})
    for estimate, anchors in ((wide, ["end", "start"]), (found.estimate, ["start", "end"])):
        one = found.model_copy(update={"estimate": estimate})
        (panel,) = draw_panels(record.model_copy(update={"results": (one,)}))
        assert [bound.text_anchor for bound in panel.axis.bounds] == anchors


def test_every_look_is_drawn_and_the_last_has_the_outcome(record):
    undecided, failed = draw_looks(record)
    assert [line.name for line in undecided.lines] == [f"{size} documents" for size in LOOKS]
    assert [line.words for line in undecided.lines] == [*["goes on"] * 3, "inconclusive"]
    assert [line.state for line in failed.lines] == ["neutral", "neutral", "fail"]


def test_a_record_without_slices_and_looks_has_no_such_figures(record):
    quiet = record.model_copy(
        update={
            "results": tuple(
                one.model_copy(update={"slices": (), "looks": ()}) for one in record.results
            )
        }
    )
    assert not [*draw_slices(quiet), *draw_looks(quiet)]
