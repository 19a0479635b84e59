"""Interpreters that are shell scripts, and environments that only look finished."""

import sys
from datetime import UTC, datetime

from gate.environments import MARK, Environment, folder_of

SEEMS_PYTHON = """\
case "$*" in
    *venv*) echo 'No module named venv'; exit 1;;
    *) echo '["3.12.1", {}]';;
esac"""
"""An interpreter that answers, and cannot make a virtual environment."""


def write_executable(file, script="exit 0"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def write_environment(store, name="vllm", **changes):
    """What a finished environment looks like from outside."""
    folder = folder_of(name, store)
    python = write_executable(folder / "bin" / "python")
    environment = Environment(
        name=name,
        python=python,
        made_with=sys.executable,
        requirements="r",
        python_version="3.11.7",
        versions={},
        size_bytes=1,
        created_at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    (folder / MARK).write_text(environment.model_copy(update=changes).model_dump_json())
    return python
