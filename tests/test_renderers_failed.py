"""A run of which nothing could be measured, in every report: it says what failed, and no zero."""

import json
import re
from xml.etree import ElementTree

import pytest
from failed_record import WHY, build_failed
from markdown_it import MarkdownIt
from records_builder import build_record
from test_renderers import Page

from gate.records import Record
from gate.renderers import github, gitlab, html, junit, markdown, text


@pytest.fixture(scope="module")
def failed() -> Record:
    return build_failed()


def one_line(said: str) -> str:
    return " ".join(said.replace("\\", "").split())


@pytest.mark.parametrize(
    "renderer",
    [github, gitlab, html, junit, markdown, text],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_every_report_says_what_failed_and_why(failed, renderer):
    said = one_line(renderer.render(failed))
    assert "evaluate base arc_easy" in said
    assert WHY in said
    assert f"there is no score: {WHY}" in said


def test_a_score_that_is_missing_is_not_measured_in_the_terminal(failed):
    tables = text.render(failed).partition("variant")[2].partition("* up for release")[0]
    rows = [line for line in tables.splitlines() if line.strip()]
    assert not re.search(r"\b0(\.0)?( %|\b)(?!-)", "\n".join(rows).replace("q8_0", ""))
    assert tables.count("not measured") == len(failed.variants) * (len(failed.tasks) + 1)


def test_a_score_that_is_missing_is_not_measured_in_the_summary(failed):
    said = markdown.render(failed)
    table = said.partition("| Variant | Kind |")[2].partition("\n\n")[0]
    assert table.count("not measured") == len(failed.variants) * (len(failed.tasks) + 2)
    checks = said.partition("### Did not pass")[2].partition("\n\n<details>")[0]
    assert checks.count("| not measured | not measured |") == len(failed.results)


def test_a_score_that_is_missing_is_not_measured_on_the_page(failed):
    page = Page(html.render(failed))
    assert page.text.count("not measured") >= len(failed.variants) * len(failed.tasks)
    assert not re.search(r"(?<![\d.,])0(\.0+)? %", page.text)
    assert "n = 0" not in page.text


def test_an_estimate_that_is_missing_is_not_measured_in_junit(failed):
    root = ElementTree.fromstring(junit.render(failed))
    blocking = sum(result.check.level == "block" for result in failed.results)
    assert (root.get("failures"), root.get("errors")) == ("0", str(blocking + 1))
    texts = [one.text for case in root.iter("testcase") for one in case]
    assert sum("estimate: not measured" in one for one in texts) == len(failed.results)


def test_the_summary_of_it_is_still_markdown(failed):
    found = MarkdownIt("commonmark").enable("table").parse(markdown.render(failed))
    assert sum(token.type == "table_open" for token in found) >= 2


def test_annotations_name_the_failed_stages_before_the_checks_that_had_no_score(failed):
    lines = github.render(failed).splitlines()
    assert lines[0].startswith("::error title=verdict::")
    assert lines[1] == f"::error title=evaluate base arc_easy::stage failed: {WHY}"


def test_a_list_of_findings_has_every_check_and_every_stage(failed):
    found = json.loads(gitlab.render(failed))
    assert len(found) == 1 + len(failed.stages) + len(failed.results)
    assert {one["severity"] for one in found} == {"major", "minor"}


@pytest.mark.parametrize("renderer", [html, markdown, text], ids=["html", "markdown", "text"])
def test_one_missing_score_is_not_measured_and_no_zero(renderer):
    record = build_record()
    without = record.model_copy(
        update={"scores": tuple(one for one in record.scores if one.variant != "q8_0")}
    )
    said = renderer.render(without)
    before = renderer.render(record).count("not measured")
    assert said.count("not measured") >= before + len(record.tasks)
