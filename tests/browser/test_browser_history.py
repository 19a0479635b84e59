"""Whether the page of all releases works in a real browser, and leads to the reports."""

import pytest
from records_builder import build_record
from release_folders import RECORD, keep

from gate.history.index_files import write_index

pytestmark = pytest.mark.browser

FOLDER = "it's 100%/a #1? <b>\"&\\"
DRAWN = "() => document.querySelector('figure.drawn:not([data-drawn])') === null"
FIGURES = 5
"""A trend of each of three tasks, of one by its hostile name too, and the sizes."""


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The index.html of three runs, the second of which is hostile, and of a newer record."""
    reports = tmp_path_factory.mktemp("history") / "reports"
    keep(reports, "v1/run", release="v1")
    keep(reports, FOLDER, build_record(documents=12, hostile=True), days=1)
    keep(reports, "v3/run", RECORD, days=2, release="v3")
    (reports / "v4").mkdir()
    (reports / "v4" / "record.json").write_text('{"schema_version": 9}')
    write_index(reports)
    return reports / "index.html"


def draw_all(page):
    for figure in page.locator("figure.drawn").all():
        figure.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN, timeout=60_000)


def test_the_newest_run_comes_first_with_its_verdict(open_page, index):
    page = open_page(index)
    assert page.locator("h1").inner_text() == "v3"
    rows = page.locator(".runs tbody tr")
    assert [rows.nth(place).locator(".name").first.inner_text() for place in (0, 2)] == ["v3", "v1"]
    assert rows.nth(0).locator("td").first.inner_text().strip() == RECORD.verdict


@pytest.mark.parametrize("place", [0, 1])
def test_a_click_opens_the_report_whatever_its_folders_name(chromium, index, place):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(index.as_uri())
    page.locator(".runs tbody tr").nth(place).locator("a.name").click()
    assert page.locator("h1").inner_text() == "The report of one run"
    context.close()


def test_every_figure_has_marks_and_tells_of_them(open_page, index):
    page = open_page(index)
    draw_all(page)
    figures = page.locator("figure.drawn")
    assert figures.count() == FIGURES
    for place in range(FIGURES):
        assert figures.nth(place).locator(".mark-symbol path").count() > 0
    figures.first.locator(".mark-symbol.role-mark path").first.hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for()
    assert "documents" in page.locator("#vg-tooltip-element").inner_text()


@pytest.mark.parametrize("settings", [{}, {"dark": True}, {"width": 390}])
def test_the_page_is_accessible_and_fits_its_window(open_page, barriers, index, settings):
    page = open_page(index, **settings)
    draw_all(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= settings.get("width", 1280)
    assert barriers(page) == []


def test_the_page_can_be_read_without_scripts(open_page, index):
    page = open_page(index, java_script_enabled=False)
    assert page.locator("figure.drawn svg").count() == FIGURES
    assert page.locator(".runs tbody tr").count() == 3
    assert page.locator("#left-out li").inner_text().startswith("v4/record.json is a record of")
