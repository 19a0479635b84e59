"""Whether changed documents are listed, found and linked to in a real browser."""

import re
import time

import pytest
from document_builder import build_document, build_documents
from document_pages import found, open_documents, texts
from records_builder import HOSTILE, build_record

from gate.presentation import anchor
from gate.renderers.html import render
from gate.reporting.document_views import changed_documents

pytestmark = pytest.mark.browser

RIGHT, WRONG = (1.0, "yes"), (0.0, "no")


@pytest.fixture(scope="module")
def record():
    return build_record()


@pytest.fixture(scope="module")
def html(record):
    return render(record)


def test_the_number_of_changed_documents_is_told_and_losses_come_first(open_page, html, record):
    page = open_documents(open_page, html)
    changes = changed_documents(record)
    number = len({(change.pair.task, change.after.id) for change in changes})
    assert found(page) == f"{number} changed documents"
    assert page.locator("[data-part=found]").get_attribute("role") == "status"
    assert set(texts(page, ".direction")) == {"▼ loss"}
    first = changes[0]
    assert texts(page, ".which")[0] == f"{first.pair.task} {first.after.id}"
    assert page.locator(".document").first.get_attribute("id") == anchor(
        "doc", first.pair.task, first.after.id
    )


@pytest.mark.parametrize(("direction", "sign"), [("loss", "▼ loss"), ("gain", "▲ gain")])
def test_each_pair_lists_the_flips_that_its_check_counted(open_page, html, record, direction, sign):
    result = next(r for r in record.results if (r.variant, r.task) == ("q4_k_m", "desk_intent"))
    page = open_documents(open_page, html)
    page.get_by_label("Task").select_option("desk_intent")
    page.get_by_label("Compared").select_option(label="merged-llamacpp → q4_k_m")
    page.get_by_label("Change").select_option(direction)
    flips = result.estimate.flips
    number = flips.losses if direction == "loss" else flips.gains
    assert number
    assert found(page).startswith(f"{number} of ")
    assert set(texts(page, ".direction")) == {sign}
    assert set(texts(page, ".between")) == {"merged-llamacpp → q4_k_m"}


def test_only_pairs_and_slices_of_the_task_are_offered(open_page):
    record = build_documents(base=[RIGHT] * 3, adapter=[WRONG] * 3, slices=("es", "en", "en"))
    page = open_documents(open_page, render(record))
    offered = page.get_by_label("Slice").locator("option")
    assert offered.all_inner_texts() == ["all slices", "en", "es"]
    page.get_by_label("Slice").select_option("en")
    assert found(page) == "2 of 3 changed documents"
    page.get_by_role("button", name="Show all").click()
    assert found(page) == "3 changed documents"
    assert page.evaluate("document.activeElement.name") == "words"


def test_a_filter_for_slices_is_there_only_where_there_are_some(open_page):
    page = open_documents(open_page, render(build_documents(base=[RIGHT], adapter=[WRONG])))
    assert not page.get_by_label("Slice").is_visible()


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("paris", [0]),
        ("MARMALADE", [1]),
        ("capital france", [0]),
        ("arc_easy 2", [2]),
        ("question-mark", []),
    ],
)
def test_words_are_sought_in_prompts_answers_and_names(open_page, words, ids):
    prompts = ("The capital of France?", "What is for tea?", "Who?")
    documents = [build_document(at, prompt=text) for at, text in enumerate(prompts)]
    record = build_documents(
        documents=documents,
        base=[RIGHT] * 3,
        adapter=[(0.0, "Paris"), (0.0, "marmalade"), WRONG],
    )
    page = open_documents(open_page, render(record))
    page.get_by_label("Words").fill(words)
    assert texts(page, ".which") == [f"arc_easy {number}" for number in ids]
    assert found(page) == f"{len(ids)} of 3 changed documents"


def test_an_address_opens_its_document_on_whatever_page_it_is(open_page, html, record):
    last = changed_documents(record)[-1]
    address = anchor("doc", last.pair.task, last.after.id)
    page = open_documents(open_page, html, fragment=f"#{address}")
    document = page.locator(f"#{address}")
    document.locator(".body").wait_for()
    assert document.locator("summary").first.evaluate("node => node === document.activeElement")
    assert 0 <= document.bounding_box()["y"] < 900


def test_an_address_is_followed_against_the_filters(open_page):
    page = open_documents(
        open_page, render(build_documents(base=[RIGHT, WRONG], adapter=[WRONG, RIGHT]))
    )
    page.get_by_label("Change").select_option("gain")
    assert page.locator("#doc-arc_easy-0").count() == 0
    page.evaluate("location.hash = '#doc-arc_easy-0'")
    page.locator("#doc-arc_easy-0 .body").wait_for()
    assert found(page) == "2 changed documents"


@pytest.mark.parametrize("task", ["a b", "tâche / 1", HOSTILE])
def test_a_document_of_a_task_with_an_odd_name_has_its_own_address(open_page, task):
    record = build_documents(task=task, base=[RIGHT] * 2, adapter=[WRONG] * 2)
    address = anchor("doc", task, 1)
    page = open_documents(open_page, render(record), fragment=f"#{address}")
    body = page.locator(f"[id='{address}'] .body")
    body.wait_for()
    link = body.get_by_role("link", name="Permanent link")
    assert link.get_attribute("href") == f"#{address}"


def test_a_link_of_a_check_shows_the_documents_of_its_pair(open_page):
    record = build_documents(base=[RIGHT, WRONG], adapter=[WRONG, RIGHT])
    page = open_documents(open_page, render(record))
    page.evaluate(
        """() => {
          const link = document.createElement("a");
          const names = {task: "arc_easy", reference: "base", candidate: "adapter"};
          Object.assign(link.dataset, {documents: "", direction: "gain"}, names);
          link.href = "#documents";
          link.textContent = "changed documents";
          document.querySelector("main").prepend(link);
        }"""
    )
    page.get_by_role("link", name="changed documents").press("Enter")
    assert page.get_by_label("Task").input_value() == "arc_easy"
    assert page.get_by_label("Compared").locator("option:checked").inner_text() == "base → adapter"
    assert texts(page, ".which") == ["arc_easy 1"]


def test_documents_open_by_the_keyboard_and_pages_turn_by_it(open_page):
    page = open_documents(
        open_page, render(build_documents(base=[RIGHT] * 30, adapter=[WRONG] * 30))
    )
    assert page.locator(".document").count() == 25
    page.get_by_label("Words").press("Tab")
    page.keyboard.press("Enter")
    page.locator(".document[open] .body").wait_for()
    assert page.locator("[data-part=shown]").inner_text() == "1 to 25 of 30"
    page.get_by_role("button", name="Next").press("Enter")
    assert page.locator("[data-part=shown]").inner_text() == "26 to 30 of 30"
    assert page.locator(".document").count() == 5
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.parentElement.className") == "document"
    page.get_by_role("button", name="Next").press("Enter")
    assert page.locator(".document").count() == 5


def test_two_thousand_documents_answer_to_typing_at_once(open_page):
    rows = [(1.0, f"the answer is {number}") for number in range(2000)]
    changed = [(0.0, f"it may be {number}") for number in range(2000)]
    page = open_documents(open_page, render(build_documents(base=rows, adapter=changed)))
    assert found(page) == "2,000 changed documents"
    field = page.get_by_label("Words")
    started = time.monotonic()
    field.fill("may be 1999")
    assert found(page) == "1 of 2,000 changed documents"
    assert time.monotonic() - started < 2


def test_print_has_what_is_shown_and_says_how_much_more_there_is(open_page):
    page = open_documents(
        open_page, render(build_documents(base=[RIGHT] * 30, adapter=[WRONG] * 30))
    )
    page.emulate_media(media="print")
    assert page.locator("[data-part=printed]").inner_text() == (
        "Printed: 1 to 25 of 30 documents found; 30 changed in all. "
        "Every one is in this page and in record.json."
    )
    assert not page.locator("[data-part=filters]").is_visible()
    assert page.locator(".document").first.is_visible()


def test_documents_that_cannot_be_unpacked_are_told_of(open_page, html):
    page = open_page(re.sub('(data-island="documents">)[^<]*', r"\1AAAA", html))
    told = page.get_by_role("alert")
    told.wait_for()
    assert told.inner_text().startswith("This browser cannot show the documents (TypeError: ")
    assert told.inner_text().endswith("; record.json has every one.")


def test_without_scripts_the_worst_losses_are_in_a_table(open_page, html, record):
    page = open_page(html, java_script_enabled=False)
    losses = [change for change in changed_documents(record) if change.direction == "loss"]
    table = page.get_by_role("region", name="The worst losses")
    assert table.locator("caption").inner_text() == f"The worst 20 of {len(losses)} losses"
    assert table.locator("tbody tr").count() == 20
    first = table.locator("tbody td").first.inner_text()
    assert first == f"{losses[0].pair.task} {losses[0].after.id}"
    assert not page.locator("#changed-documents").is_visible()


def test_a_run_in_which_no_document_changed_says_so(open_page):
    page = open_page(render(build_documents(base=[RIGHT], adapter=[RIGHT])))
    assert (
        "No document changed between two variants that a check compares."
        in page.locator("#documents").inner_text()
    )
