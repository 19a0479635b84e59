"""What the terminal says at the end of a run."""

import json
from datetime import UTC, datetime

import pytest
from records_builder import build_record

from gate.records import Record
from gate.renderers import text
from gate.signoff import signed

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def record() -> Record:
    return build_record()


def test_text_has_a_sentence_for_each_variant_and_its_reasons(record):
    said = text.render(record.model_copy(update={"ship": ("q4_k_m",)}))
    assert "  promote (not up for release): q8_0 may ship: " in said
    assert "  block: q4_k_m may not ship: " in said
    assert "    - q4_k_m against merged-llamacpp on arc_easy: delta the whole interval" in said


def test_text_says_what_would_settle_an_undecided_variant(record):
    assert "    - to settle it: " in text.render(record)


def test_text_shows_who_signed(record):
    entry = signed(record, name="Ada", decision="reject", reason="too slow", at=NOON)
    assert "signed: rejected by Ada, 2026-11-23 12:00 UTC: too slow\n" in text.render(entry)


def test_text_names_stages_that_failed_and_counts_the_rest(record):
    said = text.render(record)
    assert "stage failed: evaluate w8a8 on desk_reply: killed: out of memory\n" in said
    stage = next(stage for stage in record.stages if stage.error)
    many = text.render(record.model_copy(update={"stages": (stage,) * 13}))
    assert many.count("stage failed: ") == 10
    assert "and 3 more stages in record.json" in many


@pytest.mark.parametrize("is_hostile", [False, True])
def test_text_is_at_most_a_hundred_columns_wide(is_hostile):
    said = text.render(build_record(hostile=is_hostile))
    assert max(map(len, said.splitlines())) <= text.COLUMNS


def test_text_sets_tasks_that_do_not_fit_below_each_other(record):
    many = json.loads(record.model_dump_json())
    many["tasks"] = [record.tasks[0].model_dump() | {"name": f"task_{n:020}"} for n in range(9)]
    said = text.render(Record.model_validate(many))
    assert max(map(len, said.splitlines())) <= text.COLUMNS
    assert all(f"task_{n:020}"[:23] in said for n in range(9))
    assert said.count("variant  ") > 1


def test_text_lists_what_did_not_pass_with_its_numbers(record):
    said = text.render(record)
    assert "  failed: q4_k_m vs merged-llamacpp on desk_intent: delta at least -2.5 points" in said
    assert "      -6.67 points (-9.16 to -4.17), n = 300\n" in said
    assert "20 checks: 13 passed, 2 failed, 4 inconclusive, 1 error" in said
