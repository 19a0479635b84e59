"""What the documentation says of the pytest plugin is what it does."""

import re
from pathlib import Path

import pytest
from records_builder import build_record

from gate import pytest_plugin
from gate.collecting.findings import check_found
from gate.collecting.measured_record import MeasuredRecord
from gate.collecting.outline import names_of
from gate.reporting.concerns import named_results
from gate.reporting.report_files import read_record
from gate.terms import ResolvedCheck

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")


def test_the_failure_in_the_readme_is_what_the_demo_prints():
    record = read_record(ROOT / "reports" / "example-demo")
    record = record.model_copy(update={"ship": (*record.ship, "q4_k_m")})
    named = next(
        one for one in named_results(record) if one.name == "q4_k_m-vs-merged@llamacpp[facts]:delta"
    )
    one = named.result
    check = ResolvedCheck(
        check=one.check, variant=one.variant, reference=one.reference, task=one.task
    )
    assert f"_ {names_of([check])[0]} _" in README
    assert f"{check_found(record, named).text}\n======" in README


def test_every_option_is_documented():
    parser = pytest.Parser(_ispytest=True)
    pytest_plugin.pytest_addoption(parser)
    (group,) = (one for one in parser._groups if one.name == "gate")
    named = {name for option in group.options for name in option.names()}
    assert set(re.findall(r"^\| `(--[a-z-]+)", PAGE, flags=re.M)) == named


def test_everything_that_the_fixture_gives_is_documented():
    public = {name for name in vars(MeasuredRecord) if not name.startswith("_")} | {"record"}
    table = PAGE[PAGE.index("| `gate_record.` |") : PAGE.index("Any two variants")]
    assert set(re.findall(r"`(\w+)(?:\(|`)", table)) - {"gate_record"} >= public


def test_the_assertions_of_the_page_can_be_made():
    text = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    space = {}
    exec(text.replace('"extract"', '"desk_intent"'), space)
    tests = [one for name, one in space.items() if name.startswith("test_")]
    for one in tests:
        one(MeasuredRecord(build_record(documents=2000)))
    assert len(tests) == 2


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
