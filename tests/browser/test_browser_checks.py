"""The figures of checks in a real browser: drawn, told of, and as wide as there is room."""

import pytest
from evidence_builder import build_evidence

from gate.renderers.html import render

pytestmark = pytest.mark.browser

FIGURES = ("figure-intervals", "figure-slices", "figure-looks")


@pytest.fixture(scope="module")
def report() -> str:
    return render(build_evidence())


def drawn(page, figure: str):
    """The figure, scrolled to and drawn for the pointer."""
    place = page.locator(f"#{figure}")
    place.scroll_into_view_if_needed()
    page.locator(f"#{figure}[data-drawn]").wait_for()
    return place


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("width", [1280, 390])
def test_a_figure_of_checks_is_drawn_with_its_marks_in_the_room_there_is(
    open_page, report, figure, width
):
    page = open_page(report, width=width)
    place = drawn(page, figure)
    assert place.locator("svg .mark-symbol path").count() > 3
    assert place.locator("svg .mark-text text").count() > 10
    box = place.locator("svg").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_words_stand_beside_the_plots_on_a_screen_and_above_them_on_a_phone(open_page, report):
    wide = drawn(open_page(report), "figure-intervals").inner_text()
    narrow = drawn(open_page(report, width=390), "figure-intervals").inner_text()
    assert "q4_k_m vs merged-llamacpp" in wide
    assert "#14 q4_k_m · desk_intent" in narrow


def test_any_place_in_a_row_tells_of_its_check(open_page, report):
    page = open_page(report, height=1200)
    place = drawn(page, "figure-intervals")
    place.locator("svg .mark-rect").last.locator("path").first.hover()
    told = page.locator("#vg-tooltip-element.visible")
    told.wait_for()
    said = told.inner_text()
    assert "#10 delta" in said
    assert "q8_0 against merged-llamacpp" in said
    assert "interval" in said


def test_what_is_told_of_a_hostile_record_is_text(open_page):
    page = open_page(render(build_evidence(hostile=True)), height=1400)
    place = drawn(page, "figure-intervals")
    rows = place.locator("svg .mark-rect").last.locator("path")
    rows.nth(4).hover()
    told = page.locator("#vg-tooltip-element.visible")
    told.wait_for()
    assert "w8a8<script>alert(1)</script>" in told.inner_text()
    assert page.locator("#vg-tooltip-element script").count() == 0


def test_only_what_did_not_pass_is_left_in_the_table(open_page, report):
    page = open_page(report)
    page.get_by_label("show only what did not pass").check()
    shown = page.locator("#checks tr[data-outcome]:visible")
    assert {row.get_attribute("data-outcome") for row in shown.all()} == {
        "fail",
        "inconclusive",
        "error",
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_figures_ink_is_the_pages(open_page, report, dark):
    page = open_page(report, dark=dark)
    heading = drawn(page, "figure-intervals").locator("svg text[font-weight=bold]").first
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert heading.evaluate("node => getComputedStyle(node).fill") == ink


def test_a_phone_shows_the_whole_of_a_check_without_scrolling_its_table(open_page, report):
    page = open_page(report, width=390, height=844)
    table = page.locator("#checks .scroll")
    assert table.evaluate("node => node.scrollWidth - node.clientWidth") == 0
    page.get_by_label("show only what did not pass").check()
    assert not page.locator("#check-1").is_visible()
    assert not page.locator("#check-1 + tr.proof").is_visible()
    row = page.locator("#checks tr[data-outcome=fail]").first
    assert row.locator("td.reason").bounding_box()["width"] > 250
