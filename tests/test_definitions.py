"""Whether every word and number that a report explains has its explanation, and none is idle."""

import re
from importlib import resources
from pathlib import Path

import pytest
from evidence_builder import build_evidence
from serving_builder import build_servings

from gate.renderers.html import render
from gate.reporting.formulas import DOCUMENTATION
from gate.reporting.glossary import GLOSSARY

USED = re.compile(r'data-term="([^"{]*)"')
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def page() -> str:
    return render(build_evidence().model_copy(update={"serving": build_servings()}))


def written() -> set[str]:
    """The terms that templates name as they stand."""
    folder = resources.files("gate.pages") / "templates"
    return {term for file in folder.iterdir() for term in USED.findall(file.read_text())}


def test_every_term_that_a_page_names_is_in_the_glossary(page):
    assert {*written(), *USED.findall(page)} <= GLOSSARY.keys()


def test_every_term_of_the_glossary_is_used(page):
    assert {*written(), *USED.findall(page)} >= GLOSSARY.keys()


@pytest.mark.parametrize("term", GLOSSARY)
def test_a_definition_is_whole_and_short_enough_to_be_read_in_passing(term):
    one = GLOSSARY[term]
    assert one.name
    assert one.meaning.endswith((".", "?"))
    assert one.method == "" or one.method.endswith(".")
    assert len(one.meaning + one.method) < 330


@pytest.mark.parametrize("section", sorted({one.section for one in GLOSSARY.values()} - {""}))
def test_a_definition_names_a_heading_of_the_documentation(section):
    text = (ROOT / DOCUMENTATION).read_text(encoding="utf-8")
    assert re.search(rf"^#+ {re.escape(section)}$", text, re.MULTILINE)


def test_every_column_of_numbers_is_explained(page):
    headings = re.findall(r'<th scope="col"([^>]*class="number"[^>]*)>(.*?)</th>', page)
    plain = ("#", "Time", "Peak memory", "least", "median", "most")
    unexplained = [
        name
        for attributes, name in headings
        if "data-term" not in attributes and name not in plain and "%" not in name
    ]
    assert unexplained == []


def test_terms_stand_at_the_end_of_the_page_for_readers_without_scripts(page):
    places = [page.index(f'id="term-{term}"') for term in GLOSSARY]
    assert min(places) > page.index('id="sign-off"')
    assert max(places) < page.index("</main>")
