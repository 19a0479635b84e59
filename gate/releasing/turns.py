"""One promotion at a time to one target: who comes second is told who is at it."""

import getpass
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gate.errors import PublishError
from gate.presentation import moment, one_line

_LOCK_FILE = "lock"
_HOLDER_FILE = "promoting.json"
_MOST_CHARACTERS = 120


@contextmanager
def taking_turns(folder: Path, *, target: str, doing: str) -> Iterator[None]:
    """Hold a target for as long as something is published there.

    Args:
        folder: where the lock lies, the same for all who publish to the target; it is made.
        target: as people call it.
        doing: what is being done, to be told to others: 'promoting v2-q8_0'.

    Raises:
        PublishError: somebody else holds it: who, since when, with what; or the folder cannot be
            written.
    """
    lock, holder = FileLock(folder / _LOCK_FILE), folder / _HOLDER_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        _tell(holder, doing)
    except Timeout as error:
        raise PublishError(
            f"{target} is taken: {_told(holder)}",
            hint="nothing was changed: try again when that one has finished",
        ) from error
    except OSError as error:
        lock.release()
        raise PublishError(
            f"{folder} cannot be written: {error.strerror or error}",
            hint="nothing was changed: mend that, then try again",
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _tell(holder: Path, doing: str) -> None:
    who = {
        "doing": doing,
        "user": _user(),
        "host": platform.node(),
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(),
    }
    fresh = holder.with_name(f".{holder.name}.{os.getpid()}")
    fresh.write_text(json.dumps(who), encoding="utf-8")
    fresh.replace(holder)


def _told(holder: Path) -> str:
    """Who holds the lock, as far as can be told."""
    try:
        who = json.loads(holder.read_text(encoding="utf-8"))
        since = moment(datetime.fromisoformat(who["since"]))
        said = f"{who['user']} is {who['doing']} there, process {who['process']} on {who['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process is publishing there"
    return f"{one_line(said, _MOST_CHARACTERS)}, since {since}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"user {os.getuid()}"
