"""Python environments of engines: where one is, what is in it, how it sees this package."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from gate.errors import ConfigError
from gate.terms import Noun

MARK = "environment.json"
"""The file in an environment that tells what it is; written last."""

_QUESTION = """\
import json, platform, sys
try:
    from importlib.metadata import PackageNotFoundError, version
except ImportError:
    PackageNotFoundError, version = KeyError, {}.__getitem__
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = version(name)
    except PackageNotFoundError:
        versions[name] = "not installed"
print(json.dumps([platform.python_version(), versions]))
"""
_PATIENCE_SECONDS = 60


class Environment(Noun):
    """A finished environment, as its mark environment.json tells; written last.

    Attributes:
        python: its interpreter; a virtual environment that was moved is none any more.
        made_with: the interpreter it was made with.
        requirements: content id of everything that was asked for.
        python_version: such as 3.11.7.
        versions: {distribution: version} of what its requirements name.
        size_bytes: bytes on disk.
        created_at: in UTC.
    """

    name: str
    python: str
    made_with: str
    requirements: str
    python_version: str
    versions: dict[str, str]
    size_bytes: int
    created_at: datetime


class Interpreter(NamedTuple):
    """What an interpreter said of itself.

    Attributes:
        path: how it was called.
        version: of Python, such as 3.11.7.
        versions: {distribution: its version} of those asked for; 'not installed' where absent.
    """

    path: str
    version: str
    versions: dict[str, str]


def find_environment(name: str, *, store: Path) -> Environment | None:
    """The finished environment of a name in a store, or None."""
    folder = folder_of(name, store)
    try:
        found = Environment.model_validate_json((folder / MARK).read_bytes())
    except (OSError, ValidationError):
        return None
    is_here = found.python == str(folder / "bin" / "python")
    return found if is_here and os.access(found.python, os.X_OK) else None


def find_python(name: str, *, store: Path, given: Mapping[str, str]) -> str | None:
    """The interpreter of an engine: the one that gate.yaml gives, else of its environment.

    Args:
        name: of the engine, such as vllm.
        store: the store that `create` made environments in.
        given: {engine: path of a python}, as under `interpreters` in gate.yaml.

    Returns:
        Its path; None where neither exists.

    Raises:
        ConfigError: the path that gate.yaml gives is no file that can be run.
    """
    if name not in given:
        found = find_environment(name, store=store)
        return None if found is None else found.python
    path = Path(given[name]).expanduser()
    if not path.is_file() or not os.access(path, os.X_OK):
        what = "is not executable" if path.is_file() else "there is no such file"
        raise ConfigError(
            f"interpreters: {name}: {given[name]}: {what}",
            hint=f"give a bin/python, or leave {name} out and run 'gate env create {name}'",
        )
    return str(path.absolute())


def folder_of(name: str, store: Path) -> Path:
    """Where the environment of a name is, or would be."""
    return store.resolve() / "environments" / name


def probe(python: str, packages: Sequence[str]) -> Interpreter:
    """The versions of Python and of some distributions in an interpreter, asked once a process.

    Nothing heavy is imported there, and what PYTHONPATH adds is not seen.

    Raises:
        ConfigError: it cannot be run, or is no Python.
    """
    return _remembered(python, tuple(sorted(set(packages))))


def ask(python: str, packages: Sequence[str]) -> Interpreter:
    """As `probe`, but asked again each time: for an environment that has just changed.

    Raises:
        ConfigError: it cannot be run, or is no Python.
    """
    command = [python, "-I", "-c", _QUESTION, *packages]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_PATIENCE_SECONDS
        )
        version, versions = json.loads(done.stdout)
    except OSError as error:
        raise _unusable(python, error.strerror or str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise _unusable(python, f"no answer in {_PATIENCE_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or "it said nothing").splitlines()[-1]
        raise _unusable(python, last) from error
    except ValueError as error:
        raise _unusable(python, "it does not answer as Python does") from error
    return Interpreter(python, version, versions)


@cache
def gate_alone() -> Path:
    """A folder that holds this package and nothing else, for the PYTHONPATH of an interpreter.

    Made once a process and removed when it ends: what else is installed here stays unseen there.
    """
    folder = _scratch()
    place = Path(folder.name)
    (place / "gate").symlink_to(Path(__file__).parent.resolve(), target_is_directory=True)
    return place


@cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Kept for as long as the process lives: it removes itself with its last reference."""
    return tempfile.TemporaryDirectory(prefix="mergegate-")


@cache
def _remembered(python: str, packages: tuple[str, ...]) -> Interpreter:
    return ask(python, packages)


def _unusable(python: str, why: str) -> ConfigError:
    return ConfigError(
        f"{python}: cannot be used as a Python interpreter: {why}",
        hint="give the bin/python of an environment",
    )
