"""Whether an opened document tells what was asked and what every variant answered."""

import pytest
from document_builder import build_document, build_documents
from document_pages import open_documents, open_first, texts
from records_builder import HOSTILE, build_record

from gate.renderers.html import render

pytestmark = pytest.mark.browser

RIGHT, WRONG = (1.0, "yes"), (0.0, "no")
SHOWN = HOSTILE.replace("\x1b", "\ufffd").replace("\x00", "\ufffd")


@pytest.fixture(scope="module")
def record():
    return build_record()


@pytest.fixture(scope="module")
def html(record):
    return render(record)


def test_the_link_to_a_document_can_be_copied(open_page):
    page = open_documents(open_page, render(build_documents(base=[RIGHT], adapter=[WRONG])))
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    open_first(page).get_by_role("button", name="Copy the link to arc_easy 0").click()
    copied = page.locator("dialog textarea").input_value()
    assert copied == page.url.split("#")[0] + "#doc-arc_easy-0"


def test_two_answers_stand_side_by_side_with_what_differs_marked(open_page):
    record = build_documents(
        base=[(1.0, "The order ships on Monday, free of charge.")],
        adapter=[(0.0, "The order ships by late Friday, free of charge.")],
    )
    body = open_first(open_documents(open_page, render(record)))
    assert body.locator("del").all_inner_texts() == ["on Monday"]
    assert body.locator("ins").all_inner_texts() == ["by late Friday"]
    before, after = (side.inner_text() for side in body.locator(".sides .said").all())
    assert before == "The order ships on Monday, free of charge."
    assert after == "The order ships by late Friday, free of charge."
    assert texts(body, ".sides .label") == ["base ✓ right", "adapter ✗ wrong"]


def test_choices_have_both_log_probabilities_and_tell_which_is_right_and_which_was_taken(open_page):
    record = build_documents(
        documents=[build_document(0, choices=("yes", "no"))],
        base=[(1.0, "yes", (-0.25, -3.0))],
        adapter=[(0.0, "no", (-2.0, -0.5))],
    )
    body = open_first(open_documents(open_page, render(record)))
    rows = [
        row.inner_text().replace("\N{MINUS SIGN}", "-").split()
        for row in body.locator("tbody tr").all()
    ]
    assert rows == [
        ["yes", "✓", "right", "answer", "-0.2500", "taken", "-2.0000", "-1.7500"],
        ["no", "-3.0000", "-0.5000", "taken", "2.5000"],
    ]


def test_what_the_other_variants_answered_is_folded_and_equal_answers_stand_together(open_page):
    record = build_documents(base=[RIGHT], adapter=[WRONG], merged=[WRONG], q8_0=[WRONG])
    body = open_first(open_documents(open_page, render(record)))
    others = body.locator(".others")
    assert not others.locator("table").is_visible()
    others.locator("summary").click()
    assert [row.inner_text().split() for row in others.locator("tbody tr").all()] == [
        ["merged,", "q8_0", "✗", "wrong", "no"]
    ]


def test_a_document_that_changed_between_several_pairs_can_be_compared_by_each(open_page):
    record = build_documents(base=[RIGHT], adapter=[WRONG], merged=[RIGHT])
    again = record.results[0].model_copy(update={"reference": "adapter", "variant": "merged"})
    record = record.model_copy(update={"results": (*record.results, again)})
    body = open_first(open_documents(open_page, render(record)))
    assert texts(body, ".sides .name") == ["base", "adapter"]
    body.get_by_label("Compare").select_option(label="adapter → merged: gain")
    assert texts(body, ".sides .name") == ["adapter", "merged"]


def test_long_texts_are_folded_and_can_be_shown_whole(open_page):
    prompt = "start " + "long " * 2000 + "end"
    said = "same " * 800
    record = build_documents(
        documents=[build_document(0, prompt=prompt)],
        base=[(1.0, said + "first")],
        adapter=[(0.0, said + "second")],
    )
    body = open_first(open_documents(open_page, render(record)))
    shown = body.locator(".said").first
    assert shown.inner_text().startswith("… long")
    assert shown.inner_text().endswith("long end")
    assert body.locator("ins").all_inner_texts() == ["second"]
    button = body.get_by_role("button", name="show all 10,009 characters")
    button.press("Enter")
    assert shown.inner_text() == prompt
    assert button.count() == 0
    assert page_focus(body) == "show less"
    body.get_by_role("button", name="show all 8,011 characters").click()
    assert body.locator(".sides .said").first.inner_text() == said + "first"


def page_focus(locator) -> str:
    return locator.page.evaluate("document.activeElement.textContent")


def test_texts_that_differ_throughout_are_marked_as_one_and_it_is_said(open_page):
    before, after = (" ".join(f"{word}{n}" for n in range(1500)) for word in ("left", "right"))
    body = open_first(
        open_documents(
            open_page, render(build_documents(base=[(1.0, before)], adapter=[(0.0, after)]))
        )
    )
    assert body.locator("del").count() == body.locator("ins").count() == 1
    assert "Too many words differ to be told apart" in body.inner_text()


def test_hostile_texts_stay_texts(open_page):
    page = open_documents(open_page, render(build_record(hostile=True, documents=40)))
    page.get_by_label("Task").select_option("desk_reply" + SHOWN)
    body = open_first(page)
    body.locator(".others > summary").click()
    assert SHOWN in body.inner_text()
    assert page.locator("#changed-documents script").count() == 0
    assert page.locator("[onload]").count() == 0


@pytest.mark.parametrize("dark", [False, True])
def test_opened_documents_have_no_serious_accessibility_violation(open_page, barriers, html, dark):
    page = open_documents(open_page, html, dark=dark)
    open_first(page).locator(".others > summary").click()
    page.get_by_label("Words").fill("desk_reply")
    open_first(page)
    assert barriers(page, "#documents") == []


def test_a_phone_shows_documents_without_scrolling_sideways(open_page, html):
    page = open_documents(open_page, html, width=390, height=844)
    open_first(page).locator(".others > summary").click()
    page.get_by_label("Words").fill("desk_reply")
    open_first(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
