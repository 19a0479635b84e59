"""What a run tells the system it runs in: GitHub's annotations and job summary.

The environment is read here and nowhere else, and no verdict depends on it.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from gate.records import Record

MOST_SUMMARY_BYTES = 1 << 20
"""What GitHub takes of one step's summary; it refuses a larger one whole."""


@contextmanager
def without_commands(stream: TextIO, environment: Mapping[str, str]) -> Iterator[None]:
    """Within it, GitHub's runner takes no line for a command.

    The runner obeys any line of a step's output that looks like one, and reasons and errors quote
    what models, files and engines say.

    Args:
        stream: the step's output.
        environment: of this process.
    """
    if not _is_github(environment):
        yield
        return
    token = secrets.token_hex(16)
    _write(stream, f"::stop-commands::{token}\n")
    try:
        yield
    finally:
        _write(stream, f"::{token}::\n")


def announce(
    record: "Record", environment: Mapping[str, str], *, out: TextIO, errors: TextIO
) -> None:
    """Tell GitHub what did not pass, and give it the summary of the job; else nothing.

    A summary that cannot be written is a warning.

    Args:
        record: what was found.
        environment: of this process.
        out: where annotations go.
        errors: where warnings go.
    """
    if not _is_github(environment):
        return
    from gate.renderers import github, markdown

    _write(out, github.render(record))
    file = environment.get("GITHUB_STEP_SUMMARY")
    if file:
        problem = _append(Path(file), markdown.render(record, picture=None))
        if problem:
            errors.write(f"warning: no job summary: {problem}\n")


def _is_github(environment: Mapping[str, str]) -> bool:
    return environment.get("GITHUB_ACTIONS") == "true"


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def _append(file: Path, text: str) -> str | None:
    """Add a text to a file; why not, where that is so."""
    content = f"\n{text}".encode()
    try:
        there = file.stat().st_size if file.exists() else 0
        if there + len(content) > MOST_SUMMARY_BYTES:
            return f"{file} would be larger than the 1 MiB that GitHub takes"
        with file.open("ab") as opened:
            opened.write(content)
    except OSError as error:
        return f"{file}: {error.strerror or error}"
    return None
