import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest
from records_builder import HOSTILE, build_record
from test_renderers_junit import cases

from gate import extensions
from gate.figures.vega import vega_script
from gate.presentation import anchor
from gate.records import Record
from gate.renderers import html, markdown, text

RENDERERS = ("html", "junit", "markdown", "text")
ALL = (*RENDERERS, "github", "gitlab")


class Page(HTMLParser):
    """The elements, attributes and text of a page, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, list[str]] = {"style": [], "script": [], "island": []}
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        self._inside = "island" if "data-island" in dict(attrs) else tag
        if self._inside in self.inline:
            self.inline[self._inside].append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in self.inline:
            self.inline[self._inside][-1] += data
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


@pytest.mark.parametrize("name", ALL)
def test_every_renderer_is_found_by_its_name(name):
    assert name in extensions.names("renderers")
    assert callable(extensions.find("renderers", name).function)


@pytest.mark.parametrize("name", ALL)
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


@pytest.mark.parametrize("name", ALL)
def test_control_characters_and_escape_sequences_reach_no_report(name, hostile):
    said = extensions.find("renderers", name).function(hostile)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)
    assert "\ufffd[31m" in said or r"\[31m" in said


@pytest.mark.parametrize("name", ALL)
def test_a_lone_surrogate_can_still_be_written_as_utf_8(name, record):
    odd = change_result(record, 13, reason="half a pair: \ud83d")
    said = extensions.find("renderers", name).function(odd)
    assert "half a pair: \ufffd" in said.encode().decode()


def test_hostile_text_makes_no_element_and_no_attribute(record, hostile):
    plain, attacked = Page(html.render(record)), Page(html.render(hostile))
    for kind in plain.inline:
        assert len(attacked.inline[kind]) == len(plain.inline[kind])
    kinds = {attribute for _, attrs in plain.elements for attribute in attrs}
    assert {attribute for _, attrs in attacked.elements for attribute in attrs} <= kinds
    assert "<script>alert(1)</script>\" onload='alert(2)'" in attacked.text


def test_hostile_names_stay_inside_their_attributes(hostile):
    shown = HOSTILE.replace("\x1b", "\ufffd").replace("\x00", "\ufffd")
    elements = Page(html.render(hostile)).elements
    values = [
        value for _, attrs in elements for value in attrs.values() if "alert" in (value or "")
    ]
    assert values
    assert all(shown in value for value in values)


def test_the_page_has_no_style_attributes_and_no_event_handlers(page):
    names = {attribute for _, attrs in page.elements for attribute in attrs}
    assert not {name for name in names if name == "style" or name.startswith("on")}


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(page):
    policy = next(
        attrs["content"]
        for _, attrs in page.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == (
        f"default-src 'none'; style-src {digests(page.inline['style'])}; "
        f"script-src {digests([*page.inline['script'], vega_script()])}; "
        "base-uri 'none'; form-action 'none'"
    )


def digests(texts: list[str]) -> str:
    hashed = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{one}'" for one in hashed)


def test_the_page_loads_nothing_and_links_only_within_itself(page):
    assert not page.values("src")
    assert all(link.startswith("#") for link in page.values("href"))
    (style,) = page.inline["style"]
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("is_hostile", [False, True])
def test_ids_are_unique_and_every_link_leads_somewhere(is_hostile):
    page = Page(html.render(build_record(hostile=is_hostile)))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href")} <= set(ids)


def test_every_check_is_in_the_table(record, page):
    rows = [attrs["data-outcome"] for tag, attrs in page.elements if "data-outcome" in attrs]
    outcomes = [result.outcome for result in record.results]
    assert rows == outcomes


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


def test_a_thousand_documents_stay_within_three_megabytes():
    assert len(html.render(build_record(documents=1000)).encode()) < 3_000_000


def test_odd_task_names_keep_ids_apart():
    assert anchor("doc", "arc_easy", 17) == "doc-arc_easy-17"
    assert anchor("doc", "a b", 1) != anchor("doc", "a|b", 1)
    assert re.fullmatch(r"[\w.-]+", anchor("doc", HOSTILE, 1))
