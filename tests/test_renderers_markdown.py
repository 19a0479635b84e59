"""summary.md: read by a Markdown parser, within what a comment holds."""

import re
from datetime import UTC, datetime

import pytest
from evidence_builder import build_evidence
from markdown_it import MarkdownIt
from records_builder import build_record

from gate.records import Record
from gate.renderers import markdown
from gate.reporting.markup import bullets, escape
from gate.signoff import signed

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def record() -> Record:
    return build_record()


@pytest.fixture(scope="module")
def hostile() -> Record:
    return build_record(hostile=True)


def parse(said: str):
    """The tokens of a text, those inside lines too."""
    found = MarkdownIt("commonmark").enable("table").parse(said)
    return [*found, *(child for token in found for child in token.children or ())]


def test_the_first_thing_is_the_verdict_and_the_second_a_sentence_for_each_variant(record):
    lines = [line for line in markdown.render(record).splitlines() if line]
    assert lines[0] == "## support-bot-v3: ❌ block"
    assert lines[1].startswith("This candidate may not be released: a blocking check failed.")
    assert lines[2].startswith("- ✅ q8\\_0 may ship: ")
    shown = [line[:30] for line in lines if re.match(r"- [✅❌❔⚠]", line)]
    assert len(shown) == len(record.ship)


def test_a_variant_that_is_blocked_has_its_reasons_below_its_sentence(record):
    said = markdown.render(record)
    block = said.partition("- ❌ q4\\_k\\_m may not ship: ")[2].partition("\n- ")[0]
    assert "\n  - q4\\_k\\_m against merged-llamacpp on arc\\_easy" in block


def test_what_would_settle_an_undecided_variant_stands_below_it():
    said = markdown.render(build_evidence())
    missing = said.partition("- ⚠️ w8a8 may not ship: ")[2].partition("\n\n")[0]
    assert "\n  - to settle it: w8a8 against merged on desk\\_reply" in missing


def test_a_variant_that_is_not_up_for_release_is_folded_away(record):
    said = markdown.render(record.model_copy(update={"ship": ("q8_0",)}))
    head, _, rest = said.partition("<details><summary>Variants that are not up for release")
    assert "q4\\_k\\_m may not ship" not in head
    assert "q4\\_k\\_m may not ship" in rest


def test_the_key_figure_is_an_image_with_its_content_in_words(record):
    (image,) = [token for token in parse(markdown.render(record)) if token.type == "image"]
    assert image.attrs["src"] == "checks.png"
    assert image.content == (
        "The interval of each of 20 checks against its bound: "
        "13 passed, 2 failed, 4 inconclusive, 1 error"
    )


def test_there_is_no_image_where_no_file_can_lie_beside_or_nothing_was_checked(record):
    assert "![" not in markdown.render(record, picture=None)
    assert "![" not in markdown.render(record.model_copy(update={"results": ()}))


def test_signatures_stand_beside_the_verdict(record):
    entry = signed(record, name="Ada", decision="approve", reason="seen | by\nme", at=NOON)
    said = markdown.render(entry)
    assert "### Signed\n\n- approved by Ada, 2026-11-23 12:00 UTC: seen \\| by me\n" in said
    assert said.index("### Signed") < said.index("| Variant |")
    assert "### Signed" not in markdown.render(record)


def test_a_stage_that_failed_is_named_with_its_reason(record):
    said = markdown.render(record)
    assert (
        "### Stages that failed\n\n- evaluate w8a8 on desk\\_reply: killed: out of memory" in said
    )


def test_a_long_list_says_how_much_it_leaves_out():
    said = bullets(("a", "b", "c"), 2, more="more note")
    assert said == "- a\n- b\n- and 1 more note in record.json"


@pytest.mark.parametrize("made", [build_evidence, build_record])
def test_every_part_is_what_it_is_written_as(made):
    """Every table is read as one, and every folded part is closed."""
    said = markdown.render(made())
    kinds = [token.type for token in parse(said)]
    headers = [line for line in said.splitlines() if set(line) == set("| -")]
    assert kinds.count("table_open") == len(headers)
    assert said.count("<details>") == said.count("</details>")


@pytest.mark.parametrize("most", [400, 4_000])
def test_the_longest_names_still_fit(record, most):
    name = "q" * most
    verdicts = tuple(
        record.verdicts[1].model_copy(update={"variant": f"{name}{number}"})
        for number in range(300)
    )
    many = record.model_copy(
        update={"verdicts": verdicts, "ship": tuple(one.variant for one in verdicts)}
    )
    said = markdown.render(many)
    assert len(said) <= markdown.MOST_CHARACTERS
    assert "more variants in record.json" in said


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("GH-12", "GH-\u200b12"),
        ("FTP://x.y", "FTP:\u200b//x.y"),
        ("a <!-- b --> c", "a &lt;!-- b --&gt; c"),
        ("![x](y)", "!\\[x\\](y)"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
    ],
)
def test_text_stays_text(given, shown):
    assert escape(given) == shown


def test_markdown_escapes_everything_that_github_would_act_on():
    said = escape("a|b `c` <img> @me #12 [x](http://y) *z* _w_ ~q~ $m$ \n\n# h www.x.org")
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
