"""The heat map of weight audits."""

import json
from xml.etree import ElementTree

import pytest
from records_builder import HOSTILE, build_record
from test_weight_maps import Q, merge, merged, name, quantize, stored

from gate.audit_records import ArtifactAudit
from gate.figures.drawing import draw_svg
from gate.figures.theme import PALETTE
from gate.figures.weights import draw

LAYERS, MODULES = 80, 7


def figure_of(*audits):
    (figure,) = draw(build_record().model_copy(update={"audits": audits}))
    return figure


def data(figure, part):
    return json.loads(figure.spec)["datasets"][part]


@pytest.fixture(scope="module")
def figure():
    return figure_of(
        merge(*(merged(name(layer, Q), 0.99 if layer else 0.6) for layer in range(4))),
        quantize(stored(name(0, Q), 0.05), stored("lm_head.weight", 0.2)),
    )


def test_a_colour_says_how_much_and_the_tooltip_exactly(figure):
    first, second = data(figure, "cells")[:2]
    assert (first["fill"], second["fill"]) == (PALETTE["heat-4"], PALETTE["heat-0"])
    assert first["where"] == "q_proj, layer 0 of model.layers"
    assert second["where"] == "q_proj, layers 1 to 3 of model.layers"
    assert first["found"] == "60.0\N{NO-BREAK SPACE}% kept"


def test_each_kind_of_audit_has_a_legend_of_its_steps(figure):
    texts = [text["text"] for text in data(figure, "texts")]
    for step in ("95", "50", "0.3", "30"):
        assert f"{step}\N{NO-BREAK SPACE}%" in texts
    assert len(data(figure, "swatches")) == 12


def test_the_worst_tensor_of_each_map_has_a_dot(figure):
    assert len(data(figure, "dots")) == 2


def test_it_can_be_read_without_seeing_it(figure):
    assert figure.summary.replace("\N{NO-BREAK SPACE}", " ") == (
        "merge merged: at least 60.0 % kept; quantize q4: up to 20.00 % relative error."
    )


def test_what_was_not_measured_is_framed_and_told_so(figure):
    unknown = [cell for cell in data(figure, "cells") if cell["state"] == "not measured"]
    assert {cell["found"] for cell in unknown} == {"not measured"}
    assert {cell["fill"] for cell in unknown} == {PALETTE["paper"]}
    assert "stroke-dasharray" in draw_svg(figure.spec)


def test_what_is_wrong_is_crossed_out():
    wrong = merged(name(0, Q), 0.2, outcome="wrong")
    assert "✕" in draw_svg(figure_of(merge(wrong)).spec)


def test_an_undone_audit_is_told_beside_the_others():
    undone = ArtifactAudit(of="quantize", label="audit quantize q5", variants=("q5",), error="x")
    figure = figure_of(merge(merged(name(0, Q), 0.9)), undone)
    texts = [text["text"] for text in data(figure, "texts")]
    assert "not measured: the audit could not be done" in texts


def large(errors):
    modules = [f"mlp.module_{number}" for number in range(MODULES)]
    return quantize(
        *(
            stored(name(layer, module), errors(layer, number))
            for layer in range(LAYERS)
            for number, module in enumerate(modules)
        )
    )


def test_eighty_layers_of_seven_modules_are_a_small_drawing():
    figure = figure_of(large(lambda layer, module: 0.04 + 0.002 * ((layer + module) % 7)))
    drawing = draw_svg(figure.spec)
    assert len(drawing) < 40_000
    assert ">70</text>" in drawing


def test_maps_that_there_is_no_room_for_are_told():
    spotted = large(lambda layer, module: 0.02 if (layer + module) % 2 else 0.2)
    figure = figure_of(spotted, spotted.model_copy(update={"label": "audit quantize other"}))
    assert figure.caption.endswith("In the table alone: quantize other.")


def test_hostile_names_are_only_text_in_a_drawing():
    audit = quantize(stored(f"model.layers.0.{HOSTILE}", 0.05))
    figure = figure_of(audit.model_copy(update={"label": HOSTILE}))
    drawing = draw_svg(figure.spec)
    assert ElementTree.fromstring(drawing) is not None
    assert "<script>" not in drawing


def test_audits_that_lost_nothing_need_no_figure():
    exact = quantize(stored(name(0, Q), 0.0))
    assert draw(build_record().model_copy(update={"audits": (exact,)})) == ()
    assert draw(build_record()) == ()
