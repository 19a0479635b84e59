"""Making an engine's environment, whole or not at all."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from gate.environments import MARK, Environment, ask, find_environment, folder_of
from gate.errors import ConfigError, StageError, StoreError
from gate.recipes import Recipe, Step, recipe_of, steps

_LEAST_PYTHON = (3, 11)
_MISLEADING = ("CONSTRAINT", "PREFIX", "REQUIREMENT", "ROOT", "TARGET", "USER")
"""PIP_ variables that would pin other versions, or install them elsewhere."""
_HEARTBEAT_SECONDS = 15
_LOG_TAIL_LINES = 20
_SHOWN_COLUMNS = 90

Say = Callable[[str], None]
"""Hears a line of progress."""


class Created(NamedTuple):
    """An environment that can be used, and whether it has been made just now."""

    environment: Environment
    is_new: bool


def create(
    name: str,
    *,
    store: Path,
    python: str | None = None,
    requirements: Path | None = None,
    say: Say = lambda _line: None,
) -> Created:
    """Make an environment, unless it is there and made of the same requirements.

    Args:
        name: one of recipes.NAMES.
        store: it is made in <store>/environments/<name>/, with <name>.log beside it.
        python: the interpreter to make it with, a path or a command; None for the one that runs,
            or whichever made what is there.
        requirements: a file to take instead of the tested one.
        say: hears what is done.

    Raises:
        ConfigError: no such environment, interpreter or file, or Python is too old.
        StageError: a step failed; the message has the end of its log.
        StoreError: the store cannot be written.
    """
    recipe = recipe_of(name, own=requirements)
    maker = None if python is None else _interpreter(python)
    with _lock(name, store, say):
        found = find_environment(name, store=store)
        if found and found.requirements == recipe.digest and maker in (None, found.made_with):
            return Created(found, is_new=False)
        return Created(_make(name, recipe, store, maker or sys.executable, say), is_new=True)


def _interpreter(python: str) -> str:
    path = shutil.which(Path(python).expanduser())
    if path is None:
        raise ConfigError(f"--python {python}: there is no such interpreter")
    return str(Path(path).absolute())


def _make(name: str, recipe: Recipe, store: Path, maker: str, say: Say) -> Environment:
    version = ask(maker, ()).version
    if tuple(map(int, version.split(".")[:2])) < _LEAST_PYTHON:
        raise ConfigError(
            f"{maker} is Python {version}, and {name} needs 3.11 or newer",
            hint="give another one with --python",
        )
    folder = folder_of(name, store)
    with _writing(store):
        shutil.rmtree(folder, ignore_errors=True)
        todo = steps(recipe, folder, python=maker)
        _run_steps(name, todo, folder.with_name(f"{name}.log"), say)
        environment = _described(name, recipe, folder, maker)
        _write_durably(folder / MARK, environment.model_dump_json(indent=1))
    return environment


def _run_steps(name: str, todo: Iterable[Step], log: Path, say: Say) -> None:
    log.unlink(missing_ok=True)
    for step in todo:
        begun = time.monotonic()
        say(f"{name}: {step.title}")
        status = _run(step.command, log, say)
        if status != 0:
            told = "".join(f"\n    {line}" for line in _tail(log, _LOG_TAIL_LINES))
            raise StageError(
                f"{name}: {step.title}: failed with exit status {status}{told}",
                hint=f"the whole log is {log}",
            )
        say(f"    done in {time.monotonic() - begun:.0f} s")


def _run(command: tuple[str, ...], log: Path, say: Say) -> int:
    """The exit status of a command; while it runs, the last line of its log now and then."""
    misleading = {f"PIP_{word}" for word in _MISLEADING}
    inherited = {key: value for key, value in os.environ.items() if key not in misleading}
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=inherited
        )
    try:
        while True:
            try:
                return child.wait(timeout=_HEARTBEAT_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"    {_tail(log, 1)[-1].strip()[:_SHOWN_COLUMNS] or '...'}")
    except BaseException:
        child.terminate()
        child.wait()
        raise


def _tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log; one that is empty where there are none."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:] or [""]


def _described(name: str, recipe: Recipe, folder: Path, maker: str) -> Environment:
    asked = ask(str(folder / "bin" / "python"), recipe.packages)
    return Environment(
        name=name,
        python=asked.path,
        made_with=maker,
        requirements=recipe.digest,
        python_version=asked.version,
        versions=asked.versions,
        size_bytes=sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()),
        created_at=datetime.now(UTC).replace(microsecond=0),
    )


@contextmanager
def _lock(name: str, store: Path, say: Say) -> Iterator[None]:
    """Hold an environment's place: two gates that want it make it once."""
    place = folder_of(name, store)
    with _writing(store):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f"{name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{name}: waiting for another process that makes it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(store: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreError(f"cannot write environments into {store}: {why}") from error


def _write_durably(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
