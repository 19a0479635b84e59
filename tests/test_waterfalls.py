"""The waterfalls of lineages."""

import json
from xml.etree import ElementTree

import pytest
from evidence_builder import build_evidence
from records_builder import build_record

from gate.figures.drawing import draw_svg
from gate.figures.waterfalls import draw


@pytest.fixture(scope="module")
def record():
    return build_evidence()


def rows(figure):
    return json.loads(figure.spec)["datasets"]["rows"]


def test_there_is_a_figure_for_each_task_with_a_row_for_each_step_and_total(record):
    figures = draw(record)
    assert [figure.title for figure in figures] == [
        "arc_easy: from base to release",
        "desk_intent: from base to release",
        "desk_reply: from base to release",
    ]
    assert [row["name"] for row in rows(figures[1])] == [
        "training → adapter",
        "merge → merged",
        "runtime → merged-llamacpp",
        "quantization → q8_0",
        "quantization → q4_k_m",
        "all steps → merged",
        "all steps → q8_0",
        "all steps → q4_k_m",
    ]


def test_each_figure_can_be_read_without_seeing_it(record):
    assert (
        "training → adapter 30.33 points (25.96 to 35.00); merge → merged \N{MINUS SIGN}0.33"
        in (draw(record)[1].summary)
    )


def test_every_row_tells_its_change_with_interval_documents_and_method(record):
    first = rows(draw(record)[1])[0]
    assert first["change"] == "30.33 points (25.96 to 35.00)"
    assert first["documents"] == "300"
    assert first["method"]


def test_a_line_leads_from_where_a_step_ended_to_every_step_that_follows_it(record):
    found = {row["name"]: row for row in rows(draw(record)[1])}
    bridge = found["runtime → merged-llamacpp"]
    for name in ("quantization → q8_0", "quantization → q4_k_m"):
        assert found[name]["start"] == bridge["end"]
        assert bridge["y"] < found[name]["joint"] < found["quantization → q8_0"]["y"]
    assert found["training → adapter"]["joint"] is None
    assert found["all steps → q8_0"]["joint"] is None


def test_more_tasks_than_there_is_room_for_are_told_and_troubled_ones_come_first(record):
    line, result = record.lineages[1], record.results[0]
    many = record.model_copy(
        update={
            "lineages": tuple(line.model_copy(update={"task": f"t{n}"}) for n in range(9)),
            "results": (result.model_copy(update={"task": "t8", "outcome": "fail"}),),
        }
    )
    figures = draw(many)
    assert [figure.title.partition(":")[0] for figure in figures] == [
        *(f"t{number}" for number in range(5)),
        "t8",
    ]
    assert figures[-1].caption.endswith("3 more tasks: in the table.")


def test_a_drawing_holds_every_name_and_is_small(record):
    drawing = draw_svg(draw(record)[1].spec)
    assert ElementTree.fromstring(drawing) is not None
    assert "quantization → q4_k_m" in drawing
    assert len(drawing) < 20_000


def test_hostile_names_are_only_text_in_a_drawing():
    hostile = build_evidence(hostile=True)
    for figure in draw(hostile):
        assert "<script>" not in draw_svg(figure.spec)
        assert "\x1b" not in json.loads(figure.spec)["datasets"]["rows"][0]["name"]


def test_a_record_without_lineages_has_no_figure():
    assert draw(build_record()) == ()
