"""gate env: environments made and listed from the command line."""

import os
import subprocess
import sys

import pytest
from environment_builder import SEEMS_PYTHON, write_executable
from wheels import offline, write_wheel


def gate(*arguments, cwd, **variables):
    return subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def pip(tmp_path):
    """Variables under which pip finds one wheel, and requirements that name it."""
    write_wheel(tmp_path / "wheels", "tiny")
    (tmp_path / "tiny.txt").write_text("tiny==1.0\n")
    return offline(tmp_path / "wheels")


def test_an_environment_is_created_listed_and_left_as_it_is(tmp_path, pip):
    command = ("env", "create", "llmcompressor", "--requirements", "tiny.txt")
    done = gate(*command, cwd=tmp_path, **pip)
    python = tmp_path / ".gate/store/environments/llmcompressor/bin/python"
    assert done.returncode == 0
    assert done.stdout.startswith("llmcompressor: ready: Python 3.")
    assert done.stdout.endswith(f"; {python}\n")
    assert done.stderr.startswith("llmcompressor: a virtual environment\n")
    assert "    done in " in done.stderr

    again = gate(*command, cwd=tmp_path, **pip)
    assert again.returncode == 0
    assert again.stdout.startswith("llmcompressor: already there: Python 3.")
    assert again.stderr == ""

    listed = gate("env", "list", cwd=tmp_path)
    assert listed.returncode == 0
    made, missing = listed.stdout.splitlines()
    assert ", tiny 1.0; " in made
    assert made.endswith("; of other requirements than this version's tested ones")
    assert missing == "vllm: not made: gate env create vllm"


def test_a_step_that_fails_is_status_3_with_the_end_of_its_log(tmp_path):
    python = write_executable(tmp_path / "python", SEEMS_PYTHON)
    done = gate("env", "create", "vllm", "--python", python, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr == (
        "vllm: a virtual environment\n"
        "gate: vllm: a virtual environment: failed with exit status 1\n"
        "    No module named venv\n"
        f"  hint: the whole log is {tmp_path}/.gate/store/environments/vllm.log\n"
    )


def test_an_unknown_name_is_status_2_with_the_nearest(tmp_path):
    done = gate("env", "create", "vlm", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "gate: no environment named 'vlm'\n  hint: did you mean vllm?\n"
    assert not (tmp_path / ".gate").exists()
