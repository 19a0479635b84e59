"""Whether the figures of lineages, costs, divergences and weights live in a real browser."""

import pytest
from evidence_builder import build_evidence
from records_builder import HOSTILE
from serving_builder import build_servings
from test_weight_maps import UP, Q, merge, merged, name, quantize, stored

from gate.renderers.html import render

pytestmark = pytest.mark.browser

FIGURES = ("figure-lineage-1", "figure-divergence-1", "figure-size", "figure-weights")


@pytest.fixture(scope="module")
def report() -> str:
    record = build_evidence()
    mapped = (
        merge(*(merged(name(layer, Q), 0.9 - layer / 10) for layer in range(4))),
        quantize(*(stored(name(layer, UP), 0.02 * layer) for layer in range(4))),
    )
    line = record.lineages[1]
    last = line.steps[-1].model_copy(update={"variant": f"q8_0{HOSTILE}"})
    attacked = line.model_copy(update={"steps": (*line.steps[:-1], last)})
    return render(
        record.model_copy(
            update={
                "serving": build_servings(),
                "audits": mapped,
                "lineages": (attacked, *record.lineages[3:]),
            }
        )
    )


def lively(page, figure):
    """The figure, scrolled to and redrawn by Vega."""
    found = page.locator(f"#{figure}")
    found.scroll_into_view_if_needed()
    page.locator(f"#{figure}[data-drawn]").wait_for()
    return found


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_every_figure_has_marks_and_fits_into_the_page(open_page, report, width, is_dark):
    page = open_page(report, width=width, dark=is_dark)
    for figure in FIGURES:
        drawing = lively(page, figure).locator(".drawing")
        assert drawing.locator("svg [class*=mark-]").count() > 3
        room = drawing.bounding_box()["width"]
        assert drawing.locator("svg").first.bounding_box()["width"] <= room + 1


def test_a_step_tells_its_numbers_where_it_is_pointed_at(open_page, report):
    page = open_page(report)
    lively(page, "figure-lineage-1").locator(".mark-symbol path").first.hover()
    told = page.locator("#vg-tooltip-element").inner_text()
    assert "training → adapter" in told
    assert "Change (interval)" in told


def test_a_stretch_of_layers_tells_its_worst_tensor(open_page, report):
    page = open_page(report)
    cells = lively(page, "figure-weights").locator(".layer_0_marks path")
    cells.last.hover()
    told = page.locator("#vg-tooltip-element").inner_text()
    assert "up_proj, layers 2 to 3 of model.layers" in told
    assert name(3, UP) in told


def test_a_hostile_name_is_told_and_not_run(open_page, report):
    page = open_page(report)
    figure = lively(page, "figure-lineage-1")
    assert figure.locator("script, [onload]").count() == 0
    figure.locator(".mark-symbol path").nth(3).hover()
    assert "q8_0<script>alert(1)" in page.locator("#vg-tooltip-element").inner_text()


def test_the_worst_tokens_are_marked_in_their_context(open_page, report):
    page = open_page(report, width=390)
    page.locator("#distributions details").first.locator("summary").click()
    place = page.locator(".places li").first
    assert place.locator("mark").inner_text() == "␣refunded"
    assert place.locator(".guess.given").count() == 2
    assert place.bounding_box()["width"] <= 390
