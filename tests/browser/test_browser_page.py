"""Whether a report works in a real browser, and does nothing but that."""

import io
import re
from pathlib import Path

import pytest
from evidence_builder import build_evidence
from records_builder import HOSTILE, build_record

from gate.records import Record
from gate.renderers.html import render
from gate.reporting.contents import contents
from gate.reporting.report_files import read_record

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "reports"
PHONE = {"width": 390, "height": 844}


def build_errors() -> Record:
    """A run of which nothing could be measured."""
    record = build_record(documents=3)
    results = tuple(
        one.model_copy(
            update={"outcome": "error", "reason": "its engine stopped", "estimate": None}
        )
        for one in record.results
    )
    verdicts = tuple(
        one.model_copy(update={"verdict": "error", "reasons": ("its engine stopped",)})
        for one in record.verdicts
    )
    nothing = dict.fromkeys(("scores", "corpora", "artifacts"), ())
    return record.model_copy(
        update={"results": results, "verdicts": verdicts, "verdict": "error"} | nothing
    )


RECORDS = {
    "evidence": build_evidence,
    "demo": lambda: read_record(EXAMPLES / "example-demo"),
    "errors": build_errors,
}


@pytest.fixture(scope="module", params=RECORDS)
def report(request) -> str:
    return render(RECORDS[request.param]())


@pytest.fixture(scope="module")
def evidence() -> Record:
    return build_evidence()


@pytest.fixture(scope="module")
def page_text(evidence) -> str:
    return render(evidence)


@pytest.fixture(scope="module")
def printed(evidence, page_text, chromium) -> str:
    """The text of the page on paper, nothing of it having been scrolled to."""
    pypdf = pytest.importorskip("pypdf", reason="needs pypdf")
    tab = chromium.new_page(color_scheme="dark")
    tab.set_content(page_text)
    document = pypdf.PdfReader(io.BytesIO(tab.pdf()))
    tab.close()
    return "\n".join(sheet.extract_text() for sheet in document.pages)


def draw_all(page) -> None:
    """Scroll to every figure and wait until it answers to the pointer."""
    for figure in page.locator("figure.drawn").all():
        figure.scroll_into_view_if_needed()
        figure.and_(page.locator("[data-drawn]")).wait_for()


def test_a_report_opens_silently_and_asks_for_nothing(open_page, report):
    page = open_page(report)
    assert page.locator("h1").count() == 1
    draw_all(page)


def test_every_figure_is_drawn_again_with_its_marks(open_page, page_text):
    page = open_page(page_text)
    draw_all(page)
    figures = page.locator("figure.drawn").all()
    assert figures
    for figure in figures:
        assert figure.locator("svg [class*='mark-'] path").count() > 0


def test_a_mark_says_what_it_is_when_it_is_pointed_at(open_page, page_text):
    page = open_page(page_text)
    draw_all(page)
    tooltip = page.locator("#vg-tooltip-element.visible")
    marks = page.locator("figure.drawn svg .mark-symbol path").all()
    for mark in marks[:20]:
        mark.hover(force=True)
        if tooltip.is_visible():
            break
    assert tooltip.inner_text().strip()


def test_a_figure_takes_the_width_that_there_is(open_page, page_text):
    page = open_page(page_text)
    draw_all(page)
    page.set_viewport_size(PHONE)
    assert page.evaluate(WAIT_FOR_WIDTHS)


WAIT_FOR_WIDTHS = """async () => {
  const fits = (figure) => {
    const width = Number(figure.querySelector("svg").getAttribute("width"));
    return Math.abs(width - figure.querySelector(".drawing").clientWidth) < 24;
  };
  const end = Date.now() + 20000;
  while (![...document.querySelectorAll("figure.drawn")].every(fits) && Date.now() < end)
    await new Promise(requestAnimationFrame);
  return Date.now() < end;
}"""
"""Whether, before long, every figure is about as wide as its place."""


UNFOLD = """() => {
  const derivations = [...document.querySelectorAll("tr.proof details")].slice(2);
  for (const one of document.querySelectorAll("details"))
    one.open = !derivations.includes(one);
}"""
"""Opens what is folded; of the derivations, which are all alike and make axe slow, two."""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_grave(open_page, barriers, report, dark):
    page = open_page(report, dark=dark)
    page.evaluate(UNFOLD)
    draw_all(page)
    assert barriers(page) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_does_not_scroll_sideways(open_page, report, dark):
    page = open_page(report, dark=dark, **PHONE)
    draw_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_a_phone_does_not_scroll_sideways_whatever_paths_a_run_had(open_page):
    page = open_page(EXAMPLES / "example-engines" / "report.html", **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_paper_has_every_section(evidence, printed):
    for part in contents(evidence):
        heading = HEADINGS.get(part.id, part.title)
        assert heading in printed


HEADINGS = {
    "looks": "Documents to a decision",
    "documents": "Changed documents",
    "serving": "Quality, size and speed",
}
"""{part: its heading}, where the table of contents is shorter."""


def test_paper_has_every_figure_though_nothing_was_scrolled_to(evidence, printed):
    words = " ".join(printed.split())
    assert all(result.task in words for result in evidence.results)
    assert "folded in print" in words


def test_paper_repeats_the_headings_of_a_table_on_every_sheet(printed):
    headings = re.findall(r"Outcome\s+Comparison\s+Rule\s+Estimate \(interval\)", printed)
    assert len(headings) > 1


def test_paper_is_light_whatever_the_screen_is(open_page, page_text):
    page = open_page(page_text, dark=True)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_after_printing_a_figure_answers_to_the_pointer_again(open_page, page_text):
    page = open_page(page_text)
    draw_all(page)
    marks = page.locator("figure.drawn svg").first
    lively = marks.evaluate("(node) => node.outerHTML")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert marks.evaluate("(node) => node.outerHTML") != lively
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert marks.evaluate("(node) => node.outerHTML") == lively


def test_a_hostile_record_does_nothing_in_a_browser(open_page):
    plain, hostile = build_evidence(), build_evidence(hostile=True)
    clean, page = open_page(render(plain)), open_page(render(hostile))
    dialogs = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())
    for tab in (clean, page):
        tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        draw_all(tab)
    assert dialogs == []
    assert names_of(page) <= names_of(clean)
    assert (
        page.locator("script:not([data-island])").count()
        == clean.locator("script:not([data-island])").count()
    )
    assert page.locator("[onload], [onerror], [onclick], img, iframe, object").count() == 0
    assert HOSTILE.partition("\x1b")[0] in page.locator("h1").inner_text()


def names_of(page) -> set[str]:
    """The names that scripts have put on the window."""
    return set(page.evaluate("Object.keys(window)"))


def test_without_scripts_the_page_can_be_read_and_shows_no_controls(open_page, page_text):
    page = open_page(page_text, java_script_enabled=False)
    assert page.locator(".told").first.is_visible()
    assert page.locator("figure.drawn svg").first.is_visible()
    controls = page.locator(".controls").all()
    assert not any(one.is_visible() for one in controls)


def test_the_keyboard_skips_to_the_evidence(open_page, page_text):
    page = open_page(page_text)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "evidence"


def test_a_link_to_a_check_leads_past_what_is_folded(open_page, page_text):
    page = open_page(page_text)
    link = page.locator(".deciding a").first
    link.click()
    target = link.get_attribute("href").removeprefix("#")
    assert page.locator(f"#{target}").is_visible()


def test_the_contents_say_which_part_is_read(open_page, page_text):
    page = open_page(page_text, fragment="#variants")
    page.locator(".contents a[href='#variants'][aria-current]").wait_for()
