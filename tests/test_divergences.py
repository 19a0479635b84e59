"""The figures of divergences by percentile."""

import json
from xml.etree import ElementTree

import pytest
from evidence_builder import build_distribution, build_evidence
from records_builder import HOSTILE, build_record
from test_divergence_lines import check

from gate.figures.divergences import draw
from gate.figures.drawing import draw_svg


@pytest.fixture(scope="module")
def figure():
    (drawn,) = draw(build_evidence())
    return drawn


def parts(figure, name):
    return [one for one in json.loads(figure.spec)["datasets"]["lines"] if one["part"] == name]


def test_each_comparison_has_a_line_a_mean_and_a_name(figure):
    assert len(parts(figure, "curve")) == 2 * 5
    assert [one["label"] for one in parts(figure, "name")] == ["q8_0", "q4_k_m"]
    assert [one["who"] for one in parts(figure, "mean")] == [
        "q8_0 from merged-llamacpp",
        "q4_k_m from merged-llamacpp",
    ]


def test_it_can_be_read_without_seeing_it(figure):
    assert figure.title == "KL divergence by token percentile on desk"
    assert "q8_0 from merged-llamacpp: mean KL 0.00083 (0.00078 to 0.00088)" in figure.summary


def test_a_zero_is_drawn_at_the_axis_end_and_told_as_zero(figure):
    least = parts(figure, "curve")[0]
    assert least["told"] == "0 nats"
    assert least["drawn"] == 1e-4


def test_a_bound_of_the_mean_is_a_line_and_colours_what_it_bounds():
    record = build_evidence().model_copy(update={"results": (check("q8_0"),)})
    (figure,) = draw(record)
    assert "mean at most 0.01" in draw_svg(figure.spec)
    means = parts(figure, "mean")
    assert [one["check"] for one in means] == ["failed, at most 0.01", "no check"]
    assert means[0]["colour"] != means[1]["colour"]
    assert means[0]["shape"] != means[1]["shape"]


def test_more_texts_than_there_is_room_for_are_told():
    many = tuple(build_distribution("q8_0", kl=0.1, extra=str(n)) for n in range(6))
    figures = draw(build_record().model_copy(update={"distributions": many}))
    assert len(figures) == 4
    assert figures[-1].caption.endswith("2 more texts: in the table.")


def test_a_distribution_without_percentiles_has_its_mean_drawn():
    bare = build_distribution("q8_0", kl=0.1).model_copy(update={"kl_percentiles": {}})
    (figure,) = draw(build_record().model_copy(update={"distributions": (bare,)}))
    assert parts(figure, "curve") == []
    assert "undefined" not in draw_svg(figure.spec)


def test_a_drawing_is_small(figure):
    assert len(draw_svg(figure.spec)) < 30_000


def test_hostile_names_are_only_text_in_a_drawing():
    one = build_distribution(f"q{HOSTILE}", kl=0.1, extra=HOSTILE)
    (figure,) = draw(build_record().model_copy(update={"distributions": (one,)}))
    drawing = draw_svg(figure.spec)
    assert ElementTree.fromstring(drawing) is not None
    assert "<script>" not in drawing
    assert "\x1b" not in figure.title


def test_a_record_without_texts_has_no_figure():
    assert draw(build_record()) == ()
