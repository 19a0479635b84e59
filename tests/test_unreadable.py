"""Records that cannot be read: what is wrong, and what to do about it."""

import json

import pytest
from records_builder import build_record

from gate.errors import RecordError
from gate.reporting.report_files import read_record


@pytest.fixture(scope="module")
def written() -> bytes:
    return build_record(documents=20).model_dump_json(indent=1).encode()


def problem_of(path) -> RecordError:
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert caught.value.exit_status == 2
    return caught.value


def test_a_newer_record_names_both_versions_and_asks_for_a_newer_gate(tmp_path, written):
    file = tmp_path / "record.json"
    file.write_text(json.dumps(json.loads(written) | {"schema_version": 2, "new": 1}))
    found = problem_of(file)
    assert found.problem == (
        f"{file} is a record of schema version 2, and this gate reads version 1"
    )
    assert found.hint == "install a newer mergegate"


def test_an_older_record_names_both_versions_and_the_gate_that_wrote_it(tmp_path, written):
    file = tmp_path / "record.json"
    file.write_text(json.dumps(json.loads(written) | {"schema_version": 0}))
    found = problem_of(file)
    assert found.problem == (
        f"{file} is a record of schema version 0, and this gate reads version 1"
    )
    assert found.hint == "render it with the mergegate that wrote it (0.1.0), or run the gate again"


def test_an_older_record_that_does_not_say_who_wrote_it_still_has_a_remedy(tmp_path):
    file = tmp_path / "record.json"
    file.write_text('{"schema_version": 0, "provenance": {}}')
    assert problem_of(file).hint == (
        "render it with the mergegate that wrote it (an older version), or run the gate again"
    )


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_record_says_how_long_it_is_and_where_it_ends(tmp_path, written, share):
    file = tmp_path / "record.json"
    kept = written[: int(share * len(written))]
    file.write_bytes(kept)
    found = problem_of(file)
    end = " ".join(kept[-60:].decode(errors="replace").split())[-40:]
    assert found.problem == f"{file} is cut off: its {len(kept):,} bytes end at {end!r}"
    assert found.hint.startswith("take the file that gate run wrote, or run the gate again")


def test_a_record_that_is_cut_within_a_character_is_cut_off(tmp_path):
    file = tmp_path / "record.json"
    file.write_bytes('{"release": "é'.encode()[:-1])
    assert problem_of(file).problem == f"{file} is cut off: its 14 bytes end at " + repr(
        '{"release": "\ufffd'
    )


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_file_is_said_to_be_empty(tmp_path, content):
    file = tmp_path / "record.json"
    file.write_bytes(content)
    assert problem_of(file).problem == f"{file} is empty"


def test_a_file_that_is_no_json_is_told_with_the_place(tmp_path):
    file = tmp_path / "record.json"
    file.write_text("<html>\n")
    assert problem_of(file).problem == (
        f"{file} is not JSON: Invalid JSON: expected value at line 1 column 1"
    )


def test_bytes_that_are_no_text_are_no_json(tmp_path):
    file = tmp_path / "record.json"
    file.write_bytes(b'{"schema_version": "\xff"}')
    assert f"{file} is not JSON: " in problem_of(file).problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{}", "schema_version: Field required"),
        ("[]", "Input should be an object"),
        ('{"schema_version": 1}', "release: Field required"),
        ('{"schema_version": "new"}', "schema_version: Input should be a valid integer"),
    ],
)
def test_json_that_is_no_record_says_what_is_missing(tmp_path, content, problem):
    file = tmp_path / "record.json"
    file.write_text(content)
    assert f"{file} is not a record: {problem}" in problem_of(file).problem


def test_a_folder_without_a_record_says_where_one_is(tmp_path):
    found = problem_of(tmp_path)
    assert found.problem == f"{tmp_path} has no record.json"
    assert found.hint == "a run's directory has one: reports/<release>/<run>/"


def test_a_file_that_is_not_there_is_named(tmp_path):
    file = tmp_path / "none.json"
    assert problem_of(file).problem == f"cannot read {file}: No such file or directory"
