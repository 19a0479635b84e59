"""Quality, size and speed, in every report."""

import re
from xml.etree import ElementTree

import pytest
from records_builder import HOSTILE, build_record
from serving_builder import build_run, build_serving, build_servings

from gate.comparisons import size, speed
from gate.records import Record
from gate.renderers import html, junit, markdown, text
from gate.result_records import CheckResult
from gate.terms import Check, Use

RENDERERS = [html, markdown, text]


@pytest.fixture(scope="module")
def record() -> Record:
    return build_record().model_copy(update={"serving": build_servings()})


@pytest.fixture(scope="module")
def page(record) -> str:
    return html.render(record)


def one_line(told: str) -> str:
    return " ".join(told.split())


def with_results(record: Record) -> Record:
    """The record with a ratio that was sampled and one that was counted."""
    arms = {one.variant: one for one in record.serving}
    results = tuple(
        CheckResult(
            check=Check(of="q8_0", against="adapter", compare=Use(name=name), **bound),
            variant="q8_0",
            reference="adapter",
            task="",
            outcome="fail",
            reason="some reason",
            estimate=compare(arms["adapter"], arms["q8_0"], confidence=0.95),
        )
        for name, compare, bound in (
            ("speed", speed.compare, {"at_least": 1.5}),
            ("size", size.compare, {"at_most": 0.95}),
        )
    )
    return record.model_copy(update={"results": results})


def test_a_record_with_figures_reads_back_from_its_json(record):
    assert Record.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize("renderer", RENDERERS, ids=["html", "markdown", "text"])
def test_a_record_without_figures_has_no_section_of_them(renderer):
    assert "Quality, size and speed" not in renderer.render(build_record())


@pytest.mark.parametrize("renderer", RENDERERS, ids=["html", "markdown", "text"])
def test_every_report_tells_how_it_was_measured_and_what_was_found(renderer, record):
    told = one_line(renderer.render(record))
    assert "Quality, size and speed" in told
    assert "Medians of 3 repeats" in told
    assert "prompts of 128 tokens and 32 new ones" in told
    assert "91.0" in told


@pytest.mark.parametrize("renderer", RENDERERS, ids=["html", "markdown", "text"])
def test_what_ships_and_was_not_measured_is_said_not_to_be(renderer, record):
    told = renderer.render(record)
    ends = {html: "</section>", markdown: "### Did not pass", text: "20 checks"}
    section = told[told.rindex("Quality, size and speed") :].partition(ends[renderer])[0]
    row = section[section.rindex("w8a8") :].partition("</tr>" if renderer is html else "\n")[0]
    assert row.count("not measured") >= 5


def test_the_table_has_a_cell_for_every_column(page):
    section = page[page.index('<section id="serving">') :]
    table = section[section.index("<thead>") : section.index("</table>")]
    heads = table[: table.index("</thead>")]
    rows = table[table.index("<tbody>") :].split("</tr>")[:-1]
    columns = heads.split("</tr>")[1].count("<th")
    spans = sum(int(span) for span in re.findall(r'colspan="(\d+)"', heads))
    assert columns == spans
    assert {row.count("<td") for row in rows} == {columns}
    assert len(rows) == 7


def test_the_page_has_both_figures(page):
    for name in ("figure-size", "figure-throughput"):
        assert f'<figure class="drawn" id="{name}"' in page
    assert "q8_0 keeps 99.2\N{NO-BREAK SPACE}% at 148 MB, on the efficient front" in page


def test_tables_are_numbered_in_their_order(page):
    assert re.findall(r"<b>(Table \d)\.</b>", page) == ["Table 1", "Table 2", "Table 3", "Table 4"]
    assert "content ids in Table 4" in page
    assert "content ids in Table 3" in html.render(build_record())


def test_the_page_leads_to_the_section(page):
    assert '<a href="#serving">' in page


def test_ids_stay_unique(page):
    ids = re.findall(r' id="(.*?)"', page)
    assert len(ids) == len(set(ids))


def test_hostile_names_make_no_markup():
    hostile = build_record(hostile=True)
    servings = (
        *build_servings(),
        build_serving(f"w8a8{HOSTILE}", build_run(), backend=HOSTILE, size_bytes=5),
    )
    attacked = hostile.model_copy(update={"serving": servings})
    told = html.render(attacked)
    assert "<script>alert(1)" not in told
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", told)
    assert "<script" not in markdown.render(attacked)
    assert ElementTree.fromstring(junit.render(attacked)) is not None
    assert max(map(len, text.render(attacked).splitlines())) <= text.COLUMNS


@pytest.mark.parametrize("renderer", [html, text], ids=["html", "text"])
def test_a_finding_about_no_task_names_none(renderer, record):
    told = renderer.render(with_results(record))
    assert " on :" not in told
    assert "at least 1.5 times as fast in decoding" in told
    assert "at most 0.95 times the size on disk" in told


def test_junit_names_a_case_of_no_task_without_brackets(record):
    root = ElementTree.fromstring(junit.render(with_results(record)))
    names = {case.get("name") for case in root.iter("testcase")}
    assert {"q8_0-vs-adapter:speed", "q8_0-vs-adapter:size"} < names


def test_junit_has_the_figures_as_unrounded_properties(record):
    root = ElementTree.fromstring(junit.render(record))
    found = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert found["serving.q8_0.size_bytes"] == "148339079"
    assert found["serving.q8_0.decode_tokens_per_second.many"] == "91.0"
    assert found["serving.q8_0.decode_tokens_per_second.one"] == "45.5"
    assert float(found["serving.q8_0.bits_per_weight"]) == pytest.approx(8.6123, abs=1e-4)
    assert not [name for name in found if name.startswith("serving.w8a8")]


def test_sizes_alone_are_told_without_speeds(record):
    bare = tuple(one.model_copy(update={"runs": ()}) for one in record.serving)
    only_sizes = record.model_copy(update={"serving": bare})
    for renderer in RENDERERS:
        told = one_line(renderer.render(only_sizes))
        assert "speed was not measured" in told
