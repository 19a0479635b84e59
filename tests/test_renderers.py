import hashlib
import json
import re
import time
from base64 import b64encode
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from records_builder import HOSTILE, build_record

from gate import extensions
from gate.presentation import anchor
from gate.records import Record
from gate.renderers import html, junit, markdown, text
from gate.reporting.document_views import MOST_CHANGES

RENDERERS = ("html", "junit", "markdown", "text")


class Page(HTMLParser):
    """The elements, attributes and text of a page, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = {"style": "", "script": ""}
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in self.inline else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside:
            self.inline[self._inside] += data
        else:
            self.text += data

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.elements if attribute in attrs]


@pytest.fixture(scope="module")
def record() -> Record:
    return build_record()


@pytest.fixture(scope="module")
def hostile() -> Record:
    return build_record(hostile=True)


@pytest.fixture(scope="module")
def page(record: Record) -> Page:
    return Page(html.render(record))


def change_result(record: Record, number: int, **changes) -> Record:
    results = list(record.results)
    results[number] = results[number].model_copy(update=changes)
    return record.model_copy(update={"results": tuple(results)})


def cases(record: Record) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(junit.render(record))
    return {case.get("name", ""): case for case in root.iter("testcase")}


@pytest.mark.parametrize("name", RENDERERS)
def test_every_renderer_is_found_by_its_name(name):
    assert name in extensions.names("renderers")
    assert callable(extensions.find("renderers", name).function)


@pytest.mark.parametrize("name", RENDERERS)
def test_the_same_record_renders_to_the_same_bytes(name, record):
    render = extensions.find("renderers", name).function
    again = Record.model_validate_json(record.model_dump_json())
    assert render(record) == render(again)


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize("verdict", ["promote", "block", "inconclusive", "error"])
def test_every_report_says_the_records_own_verdict(name, verdict, record):
    told = record.model_copy(update={"verdict": verdict})
    sentences = {
        "promote": "may be released: every blocking check passed",
        "block": "may not be released: a blocking check failed",
        "inconclusive": "may not be released yet: the evidence does not decide",
        "error": "may not be released: something could not be measured",
    }
    said = extensions.find("renderers", name).function(told)
    if (name, verdict) == ("junit", "promote"):
        assert cases(told)["verdict"].find("failure") is None
    else:
        assert sentences[verdict] in said
    assert not any(s in said for v, s in sentences.items() if v != verdict)


@pytest.mark.parametrize("name", RENDERERS)
def test_a_record_without_scores_and_checks_still_renders(name, record):
    empty = record.model_copy(
        update={
            "scores": (),
            "results": (),
            "corpora": (),
            "artifacts": (),
            "stages": (),
            "verdicts": (),
            "verdict": "error",
        }
    )
    said = extensions.find("renderers", name).function(empty)
    assert "no check" in said.lower()
    assert "not measured" in said or name == "junit"


@pytest.mark.parametrize("name", RENDERERS)
def test_control_characters_and_escape_sequences_reach_no_report(name, hostile):
    said = extensions.find("renderers", name).function(hostile)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)
    assert "\ufffd[31m" in said or r"\[31m" in said


@pytest.mark.parametrize("name", RENDERERS)
def test_a_lone_surrogate_can_still_be_written_as_utf_8(name, record):
    odd = change_result(record, 13, reason="half a pair: \ud83d")
    said = extensions.find("renderers", name).function(odd)
    assert "half a pair: \ufffd" in said.encode().decode()


def test_hostile_text_makes_no_element_and_no_attribute(record, hostile):
    plain, attacked = Page(html.render(record)), Page(html.render(hostile))
    assert [tag for tag, _ in attacked.elements].count("script") == 1
    kinds = {attribute for _, attrs in plain.elements for attribute in attrs}
    assert {attribute for _, attrs in attacked.elements for attribute in attrs} <= kinds
    assert "<script>alert(1)</script>\" onload='alert(2)'" in attacked.text


def test_hostile_names_stay_inside_their_attributes(hostile):
    labels = Page(html.render(hostile)).values("aria-label")
    name = "w8a8" + HOSTILE.replace("\x1b", "\ufffd").replace("\x00", "\ufffd")
    assert f"Changed documents, merged to {name}" in labels


def test_the_page_has_no_style_attributes_and_no_event_handlers(page):
    names = {attribute for _, attrs in page.elements for attribute in attrs}
    assert not {name for name in names if name == "style" or name.startswith("on")}


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(page):
    policy = next(
        attrs["content"]
        for _, attrs in page.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    for kind, inline in page.inline.items():
        digest = b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_the_page_loads_nothing_and_links_only_within_itself(page):
    assert not page.values("src")
    assert all(link.startswith("#") for link in page.values("href"))
    assert "url(" not in page.inline["style"]
    assert "@import" not in page.inline["style"]


@pytest.mark.parametrize("is_hostile", [False, True])
def test_ids_are_unique_and_every_link_leads_somewhere(is_hostile):
    page = Page(html.render(build_record(hostile=is_hostile)))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href")} <= set(ids)


def test_a_changed_document_has_a_permanent_id(record, page):
    before, after = (
        next(s for s in record.scores if (s.variant, s.task) == (variant, "desk_intent"))
        for variant in ("merged-llamacpp", "q4_k_m")
    )
    changed = [
        a.id for b, a in zip(before.samples, after.samples, strict=True) if b.value != a.value
    ]
    assert changed
    assert {f"doc-desk_intent-{number}" for number in changed} <= set(page.values("id"))


def test_each_pair_counts_the_flips_that_its_check_counted(record, page):
    counted = [
        (result.reference, result.variant, result.estimate.flips)
        for result in record.results
        if result.estimate and result.estimate.flips
    ]
    shown = re.sub(r"\s+", " ", page.text)
    assert len(counted) == 12
    for reference, variant, flips in counted:
        if flips.gains or flips.losses:
            assert f"{reference} → {variant} {flips.losses} lost, {flips.gains} gained" in shown


def test_more_than_fifty_changed_documents_are_counted_and_left_to_the_record(record, page):
    flips = record.results[0].estimate.flips
    left = flips.gains + flips.losses - MOST_CHANGES
    assert left > 0
    assert f"{left} more changed documents; record.json has them all." in page.text


def test_every_check_is_in_the_figure_and_in_the_table(record, page):
    rows = [attrs["data-outcome"] for tag, attrs in page.elements if "data-outcome" in attrs]
    outcomes = [result.outcome for result in record.results]
    assert sorted(rows) == sorted(2 * outcomes)
    marks = [attrs for tag, attrs in page.elements if tag == "use" and "x" in attrs]
    arrows = [attrs for _, attrs in page.elements if attrs.get("class") == "beyond"]
    measured = sum(result.estimate is not None for result in record.results)
    assert len(marks) + len(arrows) == measured


def test_outcomes_are_words_as_well_as_shapes_and_colours(page):
    for word in ("passed", "failed", "inconclusive", "error"):
        assert word in page.text


def test_what_was_not_measured_is_never_shown_as_zero(record, page):
    assert "not measured" in page.text
    assert "n = 0" not in page.text
    assert "not measured" in text.render(record)
    assert "not measured" in markdown.render(record)


def test_the_page_names_every_artifact_with_its_whole_digest(record, page):
    for artifact in record.artifacts:
        assert artifact.name in page.text
        assert artifact.digest in page.text
    for digest in (record.base.digest, record.adapters["intents"].digest, record.suite_digest):
        assert digest in page.text
    assert record.provenance.git_commit in page.text


def test_a_thousand_documents_stay_within_three_megabytes_and_a_second():
    large = build_record(documents=1000)
    started = time.process_time()
    page = html.render(large)
    assert time.process_time() - started < 1.0
    assert len(page.encode()) < 3_000_000


def test_markdown_escapes_everything_that_github_would_act_on():
    said = markdown.escape("a|b `c` <img> @me #12 [x](http://y) *z* _w_ ~q~ $m$ \n\n# h www.x.org")
    assert said == (
        "a\\|b \\`c\\` &lt;img&gt; @\u200bme #\u200b12 \\[x\\](http:\u200b//y) "
        "\\*z\\* \\_w\\_ \\~q\\~ \\$m\\$ #\u200b h www.\u200bx.org"
    )


def test_a_hostile_record_makes_no_markup_and_no_mention_in_markdown(hostile):
    said = markdown.render(hostile)
    assert "<script" not in said
    assert "@everyone" not in said
    tables = [line for line in said.splitlines() if line.startswith("|")]
    columns = {len(re.findall(r"(?<!\\)\|", line)) - 1 for line in tables}
    assert columns == {7}


def test_markdown_fits_in_a_comment_and_says_what_it_left_out(record):
    long = record.results[13].model_copy(update={"reason": "|" * 4000})
    said = markdown.render(record.model_copy(update={"results": (long,) * 400}))
    assert len(said) <= markdown.MOST_CHARACTERS
    assert re.search(r"\d+ more rows in record.json\.", said)


def test_markdown_lists_what_did_not_pass_before_it_folds_the_rest(record):
    said = markdown.render(record)
    head = said.partition("<details>")[0]
    assert "❌ failed | q4\\_k\\_m vs merged-llamacpp | arc\\_easy" in head
    assert "✅ passed |" not in head


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


@pytest.mark.parametrize("is_hostile", [False, True])
def test_text_is_at_most_a_hundred_columns_wide(is_hostile):
    said = text.render(build_record(hostile=is_hostile))
    assert max(map(len, said.splitlines())) <= text.COLUMNS


def test_text_sets_tasks_that_do_not_fit_below_each_other(record):
    many = json.loads(record.model_dump_json())
    many["tasks"] = [record.tasks[0].model_dump() | {"name": f"task_{n:020}"} for n in range(9)]
    said = text.render(Record.model_validate(many))
    assert max(map(len, said.splitlines())) <= text.COLUMNS
    assert all(f"task_{n:020}"[:23] in said for n in range(9))
    assert said.count("variant  ") > 1


def test_text_lists_what_did_not_pass_with_its_numbers(record):
    said = text.render(record)
    assert "  failed: q4_k_m vs merged-llamacpp on desk_intent: delta at least -2.5 points" in said
    assert "      -6.67 points (-9.16 to -4.17), n = 300\n" in said
    assert "20 checks: 13 passed, 2 failed, 4 inconclusive, 1 error" in said


def test_odd_task_names_keep_ids_apart():
    assert anchor("doc", "arc_easy", 17) == "doc-arc_easy-17"
    assert anchor("doc", "a b", 1) != anchor("doc", "a|b", 1)
    assert re.fullmatch(r"[\w.-]+", anchor("doc", HOSTILE, 1))
