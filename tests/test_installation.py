"""Environments made offline from small wheels: whole or not at all, and not twice."""

import pytest
from environment_builder import SEEMS_PYTHON, write_environment, write_executable
from filelock import FileLock
from wheels import offline, write_wheel

from gate.environments import MARK, ask, find_environment, find_python, folder_of
from gate.errors import ConfigError, StageError, StoreError
from gate.installation import create
from gate.recipes import recipe_of


@pytest.fixture(autouse=True)
def _pip(tmp_path, monkeypatch):
    """A pip that installs from a folder of two wheels."""
    folder = tmp_path / "wheels"
    write_wheel(folder, "tiny", requires=("smaller",))
    write_wheel(folder, "smaller", "2.0")
    write_wheel(folder, "smaller", "2.1")
    for name, value in offline(folder).items():
        monkeypatch.setenv(name, value)
    return folder


def requirements(folder, text="tiny==1.0\n"):
    file = folder / "own.txt"
    file.write_text(text)
    return file


def test_an_environment_is_made_once_and_found(tmp_path):
    (tmp_path / "own.lock.txt").write_text("smaller==2.0\n")
    lines = []
    made = create("vllm", store=tmp_path, requirements=requirements(tmp_path), say=lines.append)
    assert made.is_new
    assert made.environment.versions == {"tiny": "1.0"}
    assert made.environment.size_bytes > 1_000_000
    python = find_python("vllm", store=tmp_path, given={})
    assert python == made.environment.python
    assert ask(python, ("tiny", "smaller")).versions == {"tiny": "1.0", "smaller": "2.0"}
    assert lines[0] == "vllm: a virtual environment"
    assert "vllm: tiny==1.0 and what they need" in lines

    mark = folder_of("vllm", tmp_path) / MARK
    written = mark.stat().st_mtime_ns
    lines.clear()
    again = create("vllm", store=tmp_path, requirements=requirements(tmp_path), say=lines.append)
    assert not again.is_new
    assert again.environment == made.environment
    assert mark.stat().st_mtime_ns == written
    assert lines == []


def test_other_requirements_make_it_anew(tmp_path):
    write_environment(tmp_path, requirements="of something else")
    left = folder_of("vllm", tmp_path) / "left-from-before"
    left.write_text("")
    own = requirements(tmp_path, "smaller==2.1\n")
    made = create("vllm", store=tmp_path, requirements=own)
    assert made.is_new
    assert made.environment.versions == {"smaller": "2.1"}
    assert not left.exists()


def test_what_pip_is_told_by_the_environment_does_not_redirect_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "missing.txt"))
    made = create("vllm", store=tmp_path, requirements=requirements(tmp_path))
    assert made.environment.versions == {"tiny": "1.0"}
    assert not (tmp_path / "elsewhere").exists()


def test_a_package_that_cannot_be_had_leaves_no_environment_and_shows_the_log(tmp_path):
    own = requirements(tmp_path, "no-such-thing==9\n")
    with pytest.raises(StageError) as caught:
        create("vllm", store=tmp_path, requirements=own)
    told = "vllm: no-such-thing==9 and what they need: failed with exit status 1\n"
    assert caught.value.problem.startswith(told)
    assert "No matching distribution found for no-such-thing==9" in caught.value.problem
    log = tmp_path / "environments" / "vllm.log"
    assert caught.value.hint == f"the whole log is {log}"
    assert log.is_file()
    assert find_environment("vllm", store=tmp_path) is None


def test_a_python_that_is_too_old_is_refused(tmp_path):
    old = write_executable(tmp_path / "python3.9", "echo '[\"3.9.2\", {}]'")
    with pytest.raises(ConfigError) as caught:
        create("vllm", store=tmp_path, python=old)
    assert caught.value.problem == f"{old} is Python 3.9.2, and vllm needs 3.11 or newer"
    assert caught.value.hint == "give another one with --python"


def test_a_python_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--python python9: there is no such interpreter"):
        create("vllm", store=tmp_path, python="python9")


def test_another_process_that_makes_it_is_waited_for(tmp_path):
    own = requirements(tmp_path)
    write_environment(tmp_path, requirements=recipe_of("vllm", own=own).digest)
    other = FileLock(tmp_path / "environments" / "vllm.lock")
    other.acquire()
    lines = []

    def hear(line):
        lines.append(line)
        other.release()

    assert not create("vllm", store=tmp_path, requirements=own, say=hear).is_new
    assert lines == ["vllm: waiting for another process that makes it"]


def test_a_store_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write environments into .*file: "):
        create("vllm", store=tmp_path / "file", requirements=requirements(tmp_path))


def test_one_that_another_python_made_is_not_the_one_asked_for(tmp_path):
    own = requirements(tmp_path)
    asked_for = recipe_of("vllm", own=own).digest
    write_environment(tmp_path, requirements=asked_for, made_with="/usr/bin/python3.13")
    fails = write_executable(tmp_path / "python", SEEMS_PYTHON)
    with pytest.raises(StageError) as caught:
        create("vllm", store=tmp_path, requirements=own, python=fails)
    told = "vllm: a virtual environment: failed with exit status 1\n    No module named venv"
    assert caught.value.problem == told
    assert find_environment("vllm", store=tmp_path) is None
