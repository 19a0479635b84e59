"""The example reports are what their records render to, and nothing else."""

import base64
import gzip
import re
from pathlib import Path

import pytest

from gate.pages.islands import unpack
from gate.reporting.report_files import read_record, render

EXAMPLES = sorted((Path(__file__).parent.parent / "reports").glob("example-*"))
RENDERED = {
    "report.html": "html",
    "summary.md": "markdown",
    "junit.xml": "junit",
    "code-quality.json": "gitlab",
}
ISLAND = re.compile(r'(<script type="text/plain" data-island="[\w-]+">)([^<]*)')
DRAWING = re.compile(r'(<div class="sheet"[^>]*>)<svg.*?</svg>(?=</div>)', re.DOTALL)


def test_there_is_an_example():
    assert [folder.name for folder in EXAMPLES] == ["example-demo", "example-engines"]


@pytest.mark.parametrize("file", RENDERED)
@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_a_report_is_what_its_record_renders_to(folder, file):
    rendered = render(read_record(folder), RENDERED[file])
    assert comparable(rendered) == comparable((folder / file).read_text("utf-8"))


def test_a_page_that_another_zlib_packed_is_the_same():
    assert comparable(page_of('{"n": 1}', level=9)) == comparable(page_of('{"n": 1}', level=1))


def test_a_drawing_in_another_font_is_the_same_but_its_words_are_compared():
    page = page_of("{}")
    assert comparable(page) == comparable(page.replace("<path/>", "<text/>"))
    assert comparable(page) != comparable(page.replace("two of 3", "three of 3"))


def test_data_that_differs_inside_a_page_is_seen():
    assert comparable(page_of('{"n": 1}')) != comparable(page_of('{"n": 2}'))


def comparable(text: str) -> str:
    """A report without what zlib and the fonts of a machine decide: data unpacked, no drawings."""
    text = ISLAND.sub(lambda found: found[1] + unpack(found[2]), text)
    return DRAWING.sub(r"\1", text)


def page_of(data: str, *, level: int = 9) -> str:
    packed = base64.b64encode(gzip.compress(data.encode(), level)).decode()
    return (
        '<div aria-label="two of 3"><div class="sheet"><svg><path/></svg></div></div>'
        f'<script type="text/plain" data-island="figures">{packed}</script>'
    )
