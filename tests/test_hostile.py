"""Whatever a model, a file or a person wrote is data in every report, by a parser of its format."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from evidence_builder import build_distribution
from markdown_it import MarkdownIt
from records_builder import HOSTILE, build_record
from test_ci_systems import read_command
from test_renderers_junit import assert_is_of_the_schema
from test_renderers_weights import FAULTY

from gate.presentation import printable
from gate.records import Record
from gate.renderers import github, gitlab, html, junit, markdown, text
from gate.reporting.markup import escape
from gate.signoff_records import SignOff
from gate.terms import Noun

STRINGS = {
    "script": "</script><script>alert(1)</script>",
    "attribute": "\" onmouseover='alert(1)' x=\"' autofocus",
    "comment": "<!-- --!> --> <!",
    "style": "</style><style>*{display:none}</style>",
    "cdata": "]]> <![CDATA[ ]]>",
    "entity": "&lt;b&gt; &#60;i&#62; &amp;amp; &bogus",
    "doctype": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>&e;',
    "controls": "\x00\x01\x08\x0b\x0c\x0e\x1b[31m\x7f\x85\x9f\ufffe\uffff",
    "lines": "one\r\ntwo\rthree\nfour\u2028five\u2029six",
    "bidi": "\u202eexe.txt\u202c \u2066a\u2069 \u200e\u200f",
    "template": "{{ 7*7 }} {% raw %} {# #} ${x} #{y}",
    "markdown link": "[click](javascript:alert(1)) ![i](http://x/y.png) <http://x> http://x.y",
    "markdown block": "\n\n# heading\n\n- item\n\n```\ncode\n```\n\n> quote\n\n---\n",
    "markdown html": "<details open><summary>x</summary></details><img src=x onerror=alert(1)>",
    "table": "a | b || c\n| --- |\n| d |",
    "emphasis": "**a** _b_ ~~c~~ `d` $e$ \\ \\\\ *",
    "mention": "@everyone #12 GH-12 owner/name#3 me@example.org www.example.org",
    "command": "::error title=mine::theirs\n::add-mask::a\n##[add-mask]a",
    "stop": "\n::stop-commands::word\n::set-output name=verdict::promote",
    "percent": "%0A::error::x %0D%0A %25 %3A %2C",
    "url": "javascript:alert(1) data:text/html;base64,PHNjcmlwdD4= vbscript:x",
    "attachment": "[[ATTACHMENT|../../etc/passwd]]",
    "path": "../../etc/passwd\\..\\x",
    "format": "%s %(x)s {0} {release} \\u0000 \\n",
}
SURROGATE = "half a pair: \ud83d, the other: \ude00"
TAGS = re.compile(r"</?details>|</?summary>|<br>")


def replaced(value, put, *, old=HOSTILE):
    """A record with another text wherever the old one is, unchecked."""
    if isinstance(value, str):
        return value.replace(old, put)
    if isinstance(value, tuple):
        return tuple(replaced(one, put, old=old) for one in value)
    if isinstance(value, dict):
        return {key.replace(old, put): replaced(one, put, old=old) for key, one in value.items()}
    if isinstance(value, Noun):
        names = type(value).model_fields
        return value.model_copy(
            update={name: replaced(getattr(value, name), put, old=old) for name in names}
        )
    return value


def build(put: str) -> Record:
    """A record with a text in every place that a person, a file, an engine or a model fills."""
    record = build_record(hostile=True, documents=60)
    signoff = SignOff(
        name=HOSTILE,
        decision="waive",
        reason=HOSTILE,
        check=HOSTILE,
        signed_at=record.provenance.created_at,
        record=HOSTILE,
        digest=HOSTILE,
    )
    fault = FAULTY.model_copy(
        update={
            "label": HOSTILE,
            "audit": FAULTY.audit.model_copy(update={"faults": (HOSTILE,)}),
        }
    )
    results = [
        result.model_copy(update={"reason": f"{result.reason}{HOSTILE}"})
        for result in record.results
    ]
    machine = record.provenance.model_copy(
        update={"cpu": HOSTILE, "gpus": (HOSTILE,), "git_commit": HOSTILE}
    )
    attacked = record.model_copy(
        update={
            "suite": HOSTILE,
            "audits": (fault,),
            "distributions": (build_distribution("q8_0", kl=0.01, extra=HOSTILE),),
            "results": tuple(results),
            "provenance": machine,
            "signoff": (signoff,),
        }
    )
    return replaced(attacked, put)


class Elements(HTMLParser):
    """The tags, attributes and words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.comments: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {f"{tag} {name}" for name, _ in attrs}

    def handle_comment(self, data):
        self.comments.append(data)


@pytest.fixture(scope="module")
def plain() -> Record:
    return build("")


@pytest.fixture(scope="module", params=STRINGS.values(), ids=STRINGS)
def attacked(request) -> Record:
    return build(request.param)


@pytest.fixture(scope="module")
def harmless() -> Record:
    """The same names told apart in the same way, by a text that means nothing anywhere."""
    return build("harmless")


def test_the_page_has_no_element_attribute_or_comment_that_a_text_made(attacked, harmless):
    found, expected = Elements(html.render(attacked)), Elements(html.render(harmless))
    assert found.attributes <= expected.attributes
    for tag in ("script", "style", "img", "iframe", "object", "embed", "base", "form", "link"):
        assert found.tags.count(tag) == expected.tags.count(tag), tag
    assert found.comments == expected.comments


def test_no_link_of_the_page_leads_out_of_it(attacked):
    page = html.render(attacked)
    assert all(link.startswith("#") for link in re.findall(r'\shref="([^"]*)"', page))


def test_junit_is_xml_of_its_schema_with_as_many_cases(attacked, plain):
    root = ElementTree.fromstring(junit.render(attacked).encode())
    assert_is_of_the_schema(root)
    assert len(list(root.iter("testcase"))) == len(
        list(ElementTree.fromstring(junit.render(plain)).iter("testcase"))
    )


def test_a_failure_of_junit_has_no_output_in_which_gitlab_would_look_for_a_file(attacked):
    root = ElementTree.fromstring(junit.render(attacked))
    for case in root.iter("testcase"):
        if case.find("failure") is not None:
            assert case.find("system-out") is None


def test_the_summary_has_no_link_image_markup_or_block_that_a_text_made(attacked, harmless):
    found, expected = (parse(markdown.render(made)) for made in (attacked, harmless))
    assert [token.type for token in found] == [token.type for token in expected]
    assert not [token for token in found if token.type in ("link_open", "code_inline", "fence")]
    images = [token.attrs["src"] for token in found if token.type == "image"]
    assert images == ["checks.png"]
    for token in found:
        if token.type in ("html_block", "html_inline"):
            assert "<" not in TAGS.sub("", token.content)


def parse(said: str):
    found = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(said)
    return [*found, *(child for token in found for child in token.children or ())]


@pytest.mark.parametrize("given", STRINGS.values(), ids=STRINGS)
def test_an_escaped_text_reads_as_it_was_on_one_line(given):
    (paragraph, inline, _) = MarkdownIt("commonmark").parse(f"x {escape(given)} x")
    assert paragraph.type == "paragraph_open"
    assert {child.type for child in inline.children} == {"text"}
    shown = "".join(child.content for child in inline.children).replace("\u200b", "")
    assert shown.split() == ["x", *re.sub(r"[^\S\n\r]", " ", printable(given)).split(), "x"]


def test_the_summary_mentions_nobody(attacked):
    said = markdown.render(attacked)
    assert not re.search(r"[@#]\w", said)
    assert "http://" not in said
    assert "www.e" not in said


def test_every_annotation_is_a_line_of_its_own_with_its_kind(attacked, plain):
    lines = github.render(attacked).split("\n")
    expected = github.render(plain).split("\n")
    assert [line[:8] for line in lines] == [line[:8] for line in expected]
    for line in lines[:-1]:
        assert len(line.splitlines()) == 1
        assert read_command(line).title


def test_gitlabs_list_is_json_with_as_many_findings(attacked, plain):
    found = json.loads(gitlab.render(attacked))
    assert len(found) == len(json.loads(gitlab.render(plain)))
    for one in found:
        assert one["location"]["path"]
        assert ".." not in one["location"]["path"].split("/")
        assert len({one["fingerprint"] for one in found}) == len(found)


def test_the_terminal_gets_lines_that_fit_and_no_escape_sequence(attacked):
    said = text.render(attacked)
    assert max(map(len, said.split("\n"))) <= text.COLUMNS
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", said)


@pytest.mark.parametrize(
    "renderer",
    [github, gitlab, html, junit, markdown, text],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_half_a_character_can_be_written_by_every_report(renderer):
    record = replaced(build_record(documents=60), SURROGATE, old=", please.")
    said = renderer.render(replaced(record, SURROGATE, old="interval")).encode().decode()
    assert "\ufffd" in said
