"""junit.xml, held against the schema of Jenkins' xUnit plugin and what other viewers read."""

import re
from xml.etree import ElementTree

import pytest
from evidence_builder import build_evidence
from failed_record import build_failed
from records_builder import build_record

from gate.records import Record
from gate.renderers import junit

ATTRIBUTES = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "timestamp", "file"},
        {"name", "tests", "failures", "errors"},
    ),
    "properties": (set(), set()),
    "property": ({"name", "value"}, {"name", "value"}),
    "testcase": ({"name", "time", "classname", "group"}, {"name"}),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}
"""{element: the attributes it may have, and must}, of junit-10.xsd as far as they are written."""

CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out"},
}
SUREFIRE_TIME = r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?"


@pytest.fixture(scope="module")
def record() -> Record:
    return build_record()


@pytest.fixture(scope="module")
def hostile() -> Record:
    return build_record(hostile=True)


def cases(record: Record) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(junit.render(record))
    return {case.get("name", ""): case for case in root.iter("testcase")}


def assert_is_of_the_schema(root: ElementTree.Element) -> None:
    """The rules of junit-10.xsd, of the elements that are written."""
    assert root.tag == "testsuites"
    for element in root.iter():
        may, must = ATTRIBUTES[element.tag]
        assert must <= set(element.keys()) <= may, element.tag
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
        if element.tag in ("testsuites", "testsuite") and element.get("time"):
            assert re.fullmatch(SUREFIRE_TIME, element.get("time"))


@pytest.mark.parametrize(
    "made",
    [
        build_record(),
        build_record(hostile=True),
        build_record(passing=True),
        build_evidence(),
        build_failed(),
    ],
    ids=["usual", "hostile", "passing", "evidence", "failed"],
)
def test_junit_is_of_the_schema_that_jenkins_reads(made):
    assert_is_of_the_schema(ElementTree.fromstring(junit.render(made)))


def test_properties_come_before_cases_and_a_case_has_one_finding(record):
    root = ElementTree.fromstring(junit.render(record))
    (checks, verdict) = root
    assert [child.tag for child in checks][:2] == ["properties", "testcase"]
    assert [child.tag for child in verdict] == ["testcase"]
    assert all(len(case) <= 1 for case in root.iter("testcase"))


def test_every_case_has_what_viewers_group_and_sort_by(record):
    for case in cases(record).values():
        assert case.get("classname").startswith("gate")
        assert case.get("name")
        assert float(case.get("time")) >= 0


def test_the_time_is_what_the_runs_own_stages_took(record):
    root = ElementTree.fromstring(junit.render(record))
    spent = sum(stage.seconds for stage in record.stages if not stage.is_cached)
    assert float(root.get("time")) == pytest.approx(spent, abs=0.001)


def test_the_reason_stands_in_the_text_too_because_gitlab_shows_no_message(record):
    failed = cases(record)["q4_k_m-vs-merged-llamacpp[desk_intent]:delta"].find("failure")
    assert failed.text.splitlines()[0] == failed.get("message")
    assert "rule: delta at least -2.5 points" in failed.text


def test_a_check_of_a_variant_that_is_not_up_for_release_is_skipped_and_says_why(record):
    without = record.model_copy(update={"ship": ("q8_0",)})
    skipped = cases(without)["q4_k_m-vs-merged-llamacpp[desk_intent]:delta"].find("skipped")
    assert skipped.get("message") == (
        "not up for release; failed: the whole interval is beyond the bound (at least -0.025)"
    )


def test_a_promoted_release_is_green_whatever_else_was_tried(record):
    promoted = record.model_copy(update={"ship": ("q8_0",), "verdict": "promote"})
    kept = [
        result.model_copy(update={"outcome": "pass"})
        if result.variant not in ("q4_k_m", "w8a8")
        else result
        for result in record.results
    ]
    root = ElementTree.fromstring(
        junit.render(promoted.model_copy(update={"results": tuple(kept)}))
    )
    assert (root.get("failures"), root.get("errors")) == ("0", "0")
    assert int(root[0].get("skipped")) > 0


def test_the_verdict_of_a_run_whose_stages_failed_names_them():
    told = cases(build_failed())["verdict"].findtext("error")
    assert "stage failed: evaluate q8_0 arc_easy: killed: out of memory" in told


def test_junit_has_a_case_for_every_check_and_one_for_the_verdict(record):
    named = cases(record)
    assert len(named) == len(record.results) + 1
    assert "q4_k_m-vs-merged-llamacpp[desk_intent]:delta" in named


def test_junit_tells_failed_inconclusive_and_error_apart(record):
    named = cases(record)
    failed = named["q4_k_m-vs-merged-llamacpp[desk_intent]:delta"].find("failure")
    undecided = named["w8a8-vs-merged[desk_intent]:delta"].find("failure")
    error = named["w8a8-vs-merged[desk_reply]:delta"].find("error")
    assert failed.get("type") == "fail"
    assert failed.get("message") == "the whole interval is beyond the bound (at least -0.025)"
    assert undecided.get("type") == "inconclusive"
    assert error.get("message") == "there is no score: its engine stopped (out of memory)"


def test_junit_passes_a_check_that_only_warns_and_notes_what_it_found(record):
    case = cases(record)["q4_k_m-vs-merged-llamacpp[desk_intent]:flips"]
    assert case.find("failure") is None
    assert case.findtext("system-out").startswith("warning, inconclusive: the interval reaches")


def test_junit_is_red_for_a_block_even_if_no_check_was_made(record):
    empty = record.model_copy(update={"results": (), "verdict": "block"})
    root = ElementTree.fromstring(junit.render(empty))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("1", "1", "0")


def test_junit_counts_agree_with_its_cases(record):
    root = ElementTree.fromstring(junit.render(record))
    for suite in (root, *root.iter("testsuite")):
        assert int(suite.get("tests")) == len(list(suite.iter("testcase")))
        assert int(suite.get("failures")) == len(list(suite.iter("failure")))
        assert int(suite.get("errors")) == len(list(suite.iter("error")))


def test_junit_gives_two_checks_of_one_name_a_case_each(record):
    twice = record.model_copy(update={"results": record.results[:1] * 2})
    assert {"adapter-vs-base[arc_easy]:delta", "adapter-vs-base[arc_easy]:delta#2"} < set(
        cases(twice)
    )


def test_junit_of_a_release_that_may_go_out_is_green():
    root = ElementTree.fromstring(junit.render(build_record(passing=True)))
    assert (root.get("failures"), root.get("errors")) == ("0", "0")


def test_junit_parses_back_whatever_a_model_said(hostile):
    named = cases(hostile)
    assert any(name.startswith("w8a8<script>alert(1)</script>") for name in named)
