"""The figure and the table of lineages."""

from itertools import pairwise

import pytest
from evidence_builder import build_evidence

from gate.reporting.lineage_views import NO_STEP, lineage_table
from gate.reporting.waterfalls import LEFT, RIGHT, draw_waterfalls


@pytest.fixture(scope="module")
def record():
    return build_evidence()


def shifted(record, amount):
    """The record with a training gain that is larger by so much."""

    def moved(estimate):
        ends = {name: getattr(estimate, name) + amount for name in ("low", "value", "high")}
        return estimate.model_copy(update=ends)

    lineages = tuple(
        one.model_copy(
            update={
                "steps": (
                    one.steps[0].model_copy(update={"change": moved(one.steps[0].change)}),
                    *one.steps[1:],
                ),
                "total": moved(one.total),
            }
        )
        for one in record.lineages
    )
    return record.model_copy(update={"lineages": lineages})


def test_there_is_a_bar_for_each_step_and_one_for_all(record):
    fall = next(one for one in draw_waterfalls(record) if one.title == "q4_k_m on desk_intent")
    assert [bar.label for bar in fall.bars] == [
        "training",
        "merge",
        "runtime",
        "quantization",
        "total",
    ]
    assert [bar.kind for bar in fall.bars] == ["gain", "loss", "gain", "loss", "whole"]


def test_each_bar_begins_where_the_one_before_it_ended_and_the_total_ends_with_the_last(record):
    for fall in draw_waterfalls(record):
        *steps, total = fall.bars
        for before, after in pairwise(steps):
            assert before.value_x in (after.x, pytest.approx(after.x + after.width, abs=0.11))
        assert total.value_x == pytest.approx(steps[-1].value_x, abs=0.11)


def test_everything_stands_on_the_axis(record):
    for change in (0.0, 0.4, -0.9):
        for fall in draw_waterfalls(shifted(record, change)):
            for bar in fall.bars:
                assert LEFT <= bar.low_x <= bar.value_x <= bar.high_x <= RIGHT
                assert LEFT <= bar.x <= bar.x + bar.width <= RIGHT + 0.1


def test_the_way_from_zero_is_cut_where_it_would_squeeze_the_rest(record):
    whole, cut = draw_waterfalls(record)[0], draw_waterfalls(shifted(record, 2.0))[0]
    assert whole.zero_x is not None
    assert not any(bar.is_cut for bar in whole.bars)
    assert cut.zero_x is None
    assert [bar.is_cut for bar in cut.bars] == [True, False, True]


def test_the_figures_of_one_task_share_an_axis(record):
    ticks = {}
    for fall in draw_waterfalls(record):
        ticks.setdefault(fall.title.partition(" on ")[2], set()).add(fall.ticks)
    assert {len(found) for found in ticks.values()} == {1}


def test_the_table_has_a_column_for_each_cause_and_says_where_there_is_no_such_step(record):
    table = lineage_table(record)
    assert table.causes == ("training", "merge", "runtime", "quantization")
    merged = table.rows[0]
    assert (merged.variant, merged.cells[2:]) == ("merged", (NO_STEP, NO_STEP))
    assert merged.total == "30.00 points (25.75 to 34.57)"


def test_causes_without_a_variant_between_them_share_a_column(record):
    one = record.lineages[1]
    joined = one.steps[3].model_copy(update={"cause": "runtime", "also": ("quantization",)})
    short = one.model_copy(update={"steps": (*one.steps[:2], joined)})
    table = lineage_table(record.model_copy(update={"lineages": (short, one)}))
    assert table.causes == (
        "training",
        "merge",
        "runtime",
        "runtime and quantization",
        "quantization",
    )


def test_a_record_without_lineages_has_neither(record):
    quiet = record.model_copy(update={"lineages": ()})
    assert lineage_table(quiet) is None
    assert draw_waterfalls(quiet) == ()
