"""gate schema: the published schema is the one of this gate, and real records keep to it."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from evidence_builder import build_evidence
from failed_record import build_failed
from records_builder import build_record
from test_renderers_weights import FAULTY, PROVEN, QUANTIZED, UNDONE

from gate.records import SCHEMA_VERSION
from gate.reporting.record_schema import schema_text

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "docs" / "record.schema.json"
EXAMPLES = sorted((ROOT / "reports").glob("example-*/record.json"))


@pytest.fixture(scope="module")
def schema():
    return json.loads(schema_text())


@pytest.fixture(scope="module")
def validator(schema):
    return jsonschema.Draft202012Validator(schema)


def test_the_command_prints_the_schema_that_is_published():
    done = subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", "schema"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == PUBLISHED.read_text(encoding="utf-8"), (
        "a record has changed: gate schema > docs/record.schema.json"
    )


def test_the_schema_says_what_it_is(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:mergegate:record:{SCHEMA_VERSION}"
    assert schema["title"] == f"mergegate record, schema version {SCHEMA_VERSION}"
    assert schema["version"] == SCHEMA_VERSION


def test_fields_are_explained(schema):
    assert "clusters: groups of documents" in schema["$defs"]["Estimate"]["description"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_the_example_records_are_valid(validator, file):
    validator.validate(json.loads(file.read_bytes()))


@pytest.mark.parametrize("made", [build_record, build_evidence, build_failed])
def test_what_is_written_is_valid(validator, made):
    record = made().model_copy(update={"audits": (PROVEN, QUANTIZED, FAULTY, UNDONE)})
    validator.validate(json.loads(record.model_dump_json()))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": 2}, "1 was expected"),
        ({"colour": "red"}, "'colour' was unexpected"),
        ({"verdict": "maybe"}, "'maybe' is not one of"),
        ({"release": 3}, "3 is not of type 'string'"),
    ],
)
def test_what_no_gate_wrote_is_not_valid(validator, change, problem):
    content = json.loads(build_record(documents=2).model_dump_json()) | change
    (error,) = validator.iter_errors(content)
    assert problem in error.message
