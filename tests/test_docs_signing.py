"""docs/signing.md is true: its script finds what the gate finds, with Python alone."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from evidence_builder import build_evidence
from test_signoff import NOW, change_score, sign, tampered

from gate.records import Record
from gate.reporting.record_schema import schema_text
from gate.reporting.report_files import read_record

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "signing.md").read_text(encoding="utf-8")


@pytest.fixture
def verify(tmp_path):
    """Runs the page's script on a record; gives the lines that it printed."""
    (tmp_path / "verify.py").write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0])
    (tmp_path / "record.schema.json").write_text(schema_text())

    def run(record):
        (tmp_path / "record.json").write_text(record.model_dump_json(indent=1))
        command = ["verify.py", "record.json", "record.schema.json"]
        done = subprocess.run(
            [sys.executable, "-I", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={"PYTHONUTF8": "1"},
            check=True,
        )
        return done.stdout.splitlines()

    return run


def signed_twice(record):
    return sign(sign(record), name="Grace Hopper", at=NOW + timedelta(hours=1))


@pytest.mark.parametrize("name", ["example-demo", "example-engines"])
def test_the_script_finds_every_signature_of_a_real_record_again(verify, name):
    record = signed_twice(read_record(ROOT / "reports" / name))
    assert verify(record) == [
        "1. approve by Ada Lovelace: holds",
        "2. approve by Grace Hopper: holds",
        f"digest of the chain: {record.signoff[-1].digest}",
    ]


def test_the_script_knows_every_part_that_a_record_can_have(verify):
    assert all(line.endswith("holds") for line in verify(signed_twice(build_evidence()))[:2])


def test_the_script_notices_a_changed_score(verify):
    forged = tampered(signed_twice(build_evidence()), change_score)
    assert verify(forged)[:2] == [
        "1. approve by Ada Lovelace: BROKEN: content",
        "2. approve by Grace Hopper: BROKEN: content",
    ]


def test_the_script_notices_a_removed_and_a_changed_entry(verify):
    record = signed_twice(build_evidence())
    assert verify(tampered(record, lambda content: content["signoff"].pop(0)))[0] == (
        "1. approve by Grace Hopper: BROKEN: chain"
    )

    def change(content):
        content["signoff"][1]["reason"] = "another"

    assert verify(tampered(record, change))[1] == "2. approve by Grace Hopper: BROKEN: digest"


def test_a_field_at_its_default_has_that_default_in_the_schema():
    schema = json.loads(schema_text())
    unknown = [
        f"{noun.__name__}.{name}"
        for noun in {type(part) for part in parts_of(build_evidence())}
        for name, field in noun.model_fields.items()
        if not field.is_required()
        and "default"
        not in {**schema["$defs"], "Record": schema}[noun.__name__]["properties"][name]
    ]
    assert unknown == []


def parts_of(value):
    """Every noun inside a record, itself first."""
    if hasattr(type(value), "model_fields"):
        yield value
        value = dict(value)
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for one in value:
            yield from parts_of(one)


def test_defaults_that_signatures_leave_out_are_what_they_were():
    schema = Record.model_json_schema(mode="serialization")
    defaults = {
        f"{noun}.{name}": field["default"]
        for noun, shape in ({**schema["$defs"], "Record": schema}).items()
        for name, field in shape.get("properties", {}).items()
        if "default" in field
    }
    told = {name: default for name, default in defaults.items() if default not in (None, [], {})}
    published = {
        "Adapter.weight": 1.0,
        "Check.confidence": 0.95,
        "Check.level": "block",
        "Record.schema_version": 1,
        "Sample.place": 0,
        "Score.aggregate": "mean",
        "Score.available": 0,
        "SignOff.previous": "",
        "Task.chat": False,
        "Task.filter": "none",
        "Task.seed": 1234,
        "TensorAudit.differing": 0,
        "TensorAudit.note": "",
        "Variant.is_bridge": False,
    }
    assert published.items() <= told.items()
