"""Writing that is on disk when it returns, and says in words why it could not be done."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gate.errors import StoreError


def cache_folder() -> Path:
    """Where the gate keeps, for this user, what can be lost without harm."""
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "mergegate"


@contextmanager
def storing(root: Path) -> Iterator[None]:
    """Say in words why the store could not be written.

    Raises:
        StoreError: an OSError inside, told as disk full, not permitted, or as it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"no space left for the store {root}",
                hint="free some with 'gate store prune', then run again: finished stages are kept",
            ) from error
        raise StoreError(f"cannot write the store {root}: {error.strerror or error}") from error


def write_durably(file: Path, text: str) -> None:
    """Write a file whose bytes are on disk when this returns."""
    with file.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def flush(file: Path) -> None:
    """Have the disk keep a file's bytes before its folder gets its final name."""
    if file.is_file():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
