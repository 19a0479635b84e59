"""Lineages as levels: shared steps, where each begins and ends, what their axis spans."""

import pytest
from evidence_builder import build_evidence

from gate.reporting.lineage_levels import levels_by_task, span


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


def test_a_step_that_several_variants_share_is_told_once(record):
    found = next(one for one in levels_by_task(record) if one.task == "desk_intent")
    assert [(step.causes, step.variant) for step in found.steps] == [
        ("training", "adapter"),
        ("merge", "merged"),
        ("runtime", "merged-llamacpp"),
        ("quantization", "q8_0"),
        ("quantization", "q4_k_m"),
    ]
    assert [total.variant for total in found.totals] == ["merged", "q8_0", "q4_k_m"]


def test_each_step_begins_where_the_one_before_it_ended_and_the_total_ends_with_the_last(record):
    for found in levels_by_task(record):
        ends = {step.variant: step.end for step in found.steps} | {found.first: 0.0}
        for step in found.steps:
            assert step.start == ends[step.reference]
        for total in found.totals:
            assert total.end == pytest.approx(ends[total.variant])


def test_a_step_of_other_documents_is_a_step_of_its_own(record):
    first, second, *others = record.lineages
    training = second.steps[0]
    fewer = training.change.model_copy(update={"n": 7})
    apart = second.model_copy(
        update={"steps": (training.model_copy(update={"change": fewer}), *second.steps[1:])}
    )
    found = levels_by_task(record.model_copy(update={"lineages": (first, apart, *others)}))[0]
    assert [step.causes for step in found.steps].count("training") == 2


def test_a_task_whose_lines_have_a_single_step_has_no_levels(record):
    short = tuple(
        one.model_copy(update={"steps": one.steps[:1]})
        for one in record.lineages
        if one.task == "desk_intent"
    )
    assert levels_by_task(record.model_copy(update={"lineages": short})) == ()


def test_lines_that_begin_at_different_variants_are_told_apart(record):
    one = record.lineages[0]
    late = one.model_copy(update={"steps": one.steps[1:]})
    found = levels_by_task(record.model_copy(update={"lineages": (one, late, late)}))
    assert [level.first for level in found] == ["base"]
    both = late.model_copy(update={"steps": (*late.steps, *late.steps)})
    found = levels_by_task(record.model_copy(update={"lineages": (one, both)}))
    assert [level.first for level in found] == ["base", "adapter"]


@pytest.mark.parametrize("change", [0.0, 0.4, -0.9])
def test_everything_stands_on_the_axis(record, change):
    for found in levels_by_task(shifted(record, change)):
        low, high = span(found.levels)
        for level in found.levels:
            assert low <= level.ends[0] <= level.end <= level.ends[1] <= high


def test_the_way_from_zero_is_left_out_where_it_would_squeeze_the_rest(record):
    whole, cut = (span(levels_by_task(shifted(record, amount))[0].levels) for amount in (0.0, 2.0))
    assert whole.low <= 0.0 <= whole.high
    assert cut.low > 0.0


def test_an_axis_of_no_change_at_all_still_spans_something(record):
    one = levels_by_task(record)[0].totals[0]
    still = one.change.model_copy(update={"value": 0.0, "low": 0.0, "high": 0.0})
    low, high = span([one._replace(change=still)])
    assert low < 0.0 < high
