"""The example reports are what their records render to, and nothing else."""

from pathlib import Path

import pytest

from gate.reporting.report_files import read_record, render

EXAMPLES = sorted((Path(__file__).parent.parent / "reports").glob("example-*"))
RENDERED = {"report.html": "html", "summary.md": "markdown", "junit.xml": "junit"}


def test_there_is_an_example():
    assert [folder.name for folder in EXAMPLES] == ["example-demo", "example-engines"]


@pytest.mark.parametrize("file", RENDERED)
@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_a_report_is_what_its_record_renders_to(folder, file):
    assert render(read_record(folder), RENDERED[file]) == (folder / file).read_text("utf-8")
