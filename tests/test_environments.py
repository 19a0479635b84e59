"""Interpreters of engines: found, asked, and shown the gate and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from environment_builder import write_environment, write_executable

import gate
from gate.environments import (
    MARK,
    ask,
    find_environment,
    find_python,
    folder_of,
    gate_alone,
    probe,
)
from gate.errors import ConfigError

# Finding


def test_a_finished_environment_is_found_by_its_name(tmp_path):
    python = write_environment(tmp_path)
    assert find_python("vllm", store=tmp_path, given={}) == python
    assert find_python("llmcompressor", store=tmp_path, given={}) is None


def test_a_relative_store_gives_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    python = write_environment(tmp_path / "store")
    assert find_python("vllm", store=Path("store"), given={}) == python


def test_a_folder_without_its_mark_is_no_environment(tmp_path):
    write_environment(tmp_path)
    (folder_of("vllm", tmp_path) / MARK).unlink()
    assert find_environment("vllm", store=tmp_path) is None


def test_a_damaged_mark_is_no_environment(tmp_path):
    write_environment(tmp_path)
    (folder_of("vllm", tmp_path) / MARK).write_text("{")
    assert find_environment("vllm", store=tmp_path) is None


def test_an_environment_that_was_moved_is_none_any_more(tmp_path):
    write_environment(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert find_environment("vllm", store=tmp_path / "new") is None


def test_an_environment_without_its_python_is_none(tmp_path):
    python = write_environment(tmp_path)
    Path(python).unlink()
    assert find_environment("vllm", store=tmp_path) is None


def test_the_python_that_gate_yaml_gives_comes_first(tmp_path):
    write_environment(tmp_path)
    own = write_executable(tmp_path / "own" / "python")
    assert find_python("vllm", store=tmp_path, given={"vllm": own}) == own


@pytest.mark.parametrize(("mode", "why"), [(None, "there is no such file"), (0o644, "is not exec")])
def test_a_given_python_that_cannot_be_run_is_named(tmp_path, mode, why):
    own = tmp_path / "python"
    if mode is not None:
        own.write_text("")
        own.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        find_python("vllm", store=tmp_path, given={"vllm": str(own)})
    assert caught.value.problem.startswith(f"interpreters: vllm: {own}: {why}")
    assert (
        caught.value.hint == "give a bin/python, or leave vllm out and run 'gate env create vllm'"
    )


# Asking


def test_an_interpreter_tells_its_versions():
    found = probe(sys.executable, ("pytest", "no-such-package"))
    assert found.path == sys.executable
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.versions == {"pytest": pytest.__version__, "no-such-package": "not installed"}


def test_an_interpreter_is_asked_once_a_process(tmp_path):
    python = write_executable(
        tmp_path / "python", f'echo asked >> {tmp_path}/log; echo \'["3.12.1", {{"a": "1"}}]\''
    )
    assert probe(python, ("b", "a")) == probe(python, ["a", "b"])
    assert (tmp_path / "log").read_text() == "asked\n"
    assert ask(python, ("a",)).version == "3.12.1"
    assert (tmp_path / "log").read_text() == "asked\nasked\n"


def test_what_pythonpath_adds_is_not_seen(tmp_path, monkeypatch):
    metadata = tmp_path / "sly-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: sly\nVersion: 1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert probe(sys.executable, ("sly",)).versions == {"sly": "not installed"}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no such option -I >&2; exit 2", "no such option -I"),
        ("exit 2", "it said nothing"),
        ("echo hello", "it does not answer as Python does"),
    ],
)
def test_something_else_than_python_is_refused(tmp_path, script, why):
    python = write_executable(tmp_path / "python", script)
    with pytest.raises(ConfigError) as caught:
        probe(python, ())
    assert caught.value.problem == f"{python}: cannot be used as a Python interpreter: {why}"
    assert caught.value.hint == "give the bin/python of an environment"


def test_an_interpreter_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="interpreter: No such file or directory"):
        probe(str(tmp_path / "python"), ())


# Being seen


def test_another_interpreter_sees_the_gate_and_nothing_beside_it():
    place = gate_alone()
    assert [file.name for file in place.iterdir()] == ["gate"]
    assert gate_alone() == place
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import gate; print(gate.__version__)"],
        cwd=place.parent,
        env={"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == gate.__version__


def test_the_folder_of_the_gate_alone_goes_with_the_process():
    code = "from gate.environments import gate_alone; print(gate_alone())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()
    assert Path(gate.__file__).is_file()
