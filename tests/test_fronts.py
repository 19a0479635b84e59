"""The figures of quality against what serving costs."""

import json
from xml.etree import ElementTree

import pytest
from records_builder import HOSTILE, build_record
from serving_builder import build_run, build_serving, build_servings

from gate.figures.drawing import draw_svg
from gate.figures.fronts import draw


@pytest.fixture(scope="module")
def record():
    return build_record().model_copy(update={"serving": build_servings()})


def dots(figure):
    return {dot["variant"]: dot for dot in json.loads(figure.spec)["datasets"]["dots"]}


def test_there_is_a_figure_of_size_and_one_of_throughput(record):
    assert [figure.title for figure in draw(record)] == [
        "Quality against size on disk",
        "Quality against decode throughput",
    ]


def test_each_can_be_read_without_seeing_it(record):
    sizes, speeds = (figure.summary.replace("\N{NO-BREAK SPACE}", " ") for figure in draw(record))
    assert "q8_0 keeps 99.2 % at 148 MB, on the efficient front" in sizes
    assert sizes.endswith("q4_k_m keeps 92.6 % at 109 MB.")
    assert "merged-llamacpp keeps 100.0 % at 52.0 tokens/s, on the efficient front" in speeds


def test_every_mark_tells_its_variants_verdict_and_everything_measured(record):
    found = dots(draw(record)[0])
    assert {name: dot["verdict"] for name, dot in found.items()} == {
        "adapter": "no verdict of its own",
        "merged": "no verdict of its own",
        "merged-llamacpp": "no verdict of its own",
        "q8_0": "promote",
        "q4_k_m": "block",
    }
    facts = [value for field, value in found["q8_0"].items() if field.startswith("fact")]
    assert "91.0 (88.3 to 92.8)" in facts
    assert "148 MB (8.61 bits/weight)" in facts


def test_only_the_front_has_bold_names(record):
    found = dots(draw(record)[1])
    assert {name for name, dot in found.items() if dot["weight"] == "bold"} == {
        "q8_0",
        "merged-llamacpp",
    }


def test_sizes_alone_make_one_figure(record):
    bare = tuple(one.model_copy(update={"runs": ()}) for one in record.serving)
    only_sizes = draw(record.model_copy(update={"serving": bare}))
    assert [figure.title for figure in only_sizes] == ["Quality against size on disk"]


def test_a_single_variant_can_be_drawn(record):
    alone = build_serving("adapter", build_run(), size_bytes=5)
    sizes, speeds = draw(record.model_copy(update={"serving": (alone,)}))
    assert len(dots(sizes)) == len(dots(speeds)) == 1
    assert "adapter" in draw_svg(sizes.spec)


def test_a_drawing_is_small(record):
    assert all(len(draw_svg(figure.spec)) < 20_000 for figure in draw(record))


def test_hostile_names_are_only_text_in_a_drawing():
    hostile = build_record(hostile=True)
    renamed = hostile.model_dump_json().replace('"q4_k_m"', json.dumps(f"q4_k_m{HOSTILE}"))
    record = type(hostile).model_validate_json(renamed)
    serving = (
        *build_servings()[:-1],
        build_serving(f"q4_k_m{HOSTILE}", build_run(), backend=HOSTILE, size_bytes=9),
    )
    scores = tuple(one for one in record.scores if "desk_reply" not in one.task)
    tasks = tuple(one for one in record.tasks if "desk_reply" not in one.name)
    figures = draw(record.model_copy(update={"serving": serving, "scores": scores, "tasks": tasks}))
    for figure in figures:
        drawing = draw_svg(figure.spec)
        assert ElementTree.fromstring(drawing) is not None
        assert "<script>" not in drawing
        assert any(name.startswith("q4_k_m<script>") for name in dots(figure))


def test_nothing_measured_is_nothing_drawn():
    assert draw(build_record()) == ()
