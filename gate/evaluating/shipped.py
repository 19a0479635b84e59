"""The tasks that lm-eval ships: found by name without reading what is in all of their files."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from gate.errors import ConfigError, suggest

_NAME = re.compile(rb"""^["']?task["']?:[ \t]*["']?([^\s"'#\[]+)""", re.MULTILINE)
_IGNORED = {"__pycache__", ".ipynb_checkpoints"}


def find_shipped(name: str) -> Path:
    """The YAML of a task that lm-eval ships.

    Its TaskManager would parse all 14,000 files first, which takes half a minute; of two files
    with one name it takes the first, as is done here.

    Raises:
        ConfigError: there is none of this name; the nearest one is suggested.
    """
    for file in _files():
        if name.encode() in file.read_bytes() and _is_of(file, name):
            return file
    raise ConfigError(f"lm-eval has no task named {name!r}", hint=suggest(name, _names()))


def _is_of(file: Path, name: str) -> bool:
    """Whether a file is of the task of this name, and not of a group of tasks."""
    from lm_eval.tasks._yaml_loader import load_yaml
    from yaml import YAMLError  # type: ignore[import-untyped]  # lm-eval's reader has no stubs

    try:
        config = load_yaml(file, resolve_func=False)
    except (YAMLError, ValueError, OSError):  # lm-eval passes over what it cannot read
        return False
    return "group" not in config and bool(config.get("task") == name)


@cache
def _files() -> tuple[Path, ...]:
    """All YAML files among lm-eval's tasks, in the order in which it reads them."""
    found = find_spec("lm_eval")
    if found is None or found.origin is None:
        return ()
    files = (Path(found.origin).parent / "tasks").glob("**/*.yaml")
    kept = (file for file in files if not _IGNORED & set(file.parts))
    return tuple(sorted(kept, key=Path.as_posix))


def _names() -> Iterator[str]:
    """The names that tasks are given on a line of their own, which is where lm-eval's are."""
    for file in _files():
        written = _NAME.search(file.read_bytes())
        if written:
            yield written[1].decode(errors="replace")
