"""What took long to make and can be made again: kept for this user, under the content it is of."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from gate.storing import cache_folder

NOT_KEPT = (OSError, UnicodeDecodeError, RuntimeError)
"""What a cache that is not there, or not whole, comes to; the last is of a user without a home."""

_DIGEST_BYTES = hashlib.sha256().digest_size


def keep(folder: str, key: str, make: Callable[[], bytes], *, most: int) -> bytes:
    """What is kept under a key, or else what is made now, which is then kept.

    A file that was not written whole, or was changed since, is made again. Without a folder to
    keep it in everything is made each time.

    Args:
        folder: its name in the user's cache folder.
        key: names everything that decides what is made.
        make: makes it.
        most: files in the folder; beyond that a quarter of them is removed, those that were used
            longest ago.
    """
    with contextlib.suppress(*NOT_KEPT):
        file = cache_folder() / folder / key
        found = file.read_bytes()
        content, digest = found[:-_DIGEST_BYTES], found[-_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() == digest:
            os.utime(file)
            return content
    content = make()
    with contextlib.suppress(*NOT_KEPT):
        write_whole(cache_folder() / folder / key, content + hashlib.sha256(content).digest())
        _forget_oldest(cache_folder() / folder, most)
    return content


def write_whole(file: Path, content: bytes) -> None:
    """Write a file under its name whole, whoever else writes it too.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=file.parent, prefix=".", delete=False) as fresh:
        unnamed = Path(fresh.name)
        try:
            fresh.write(content)
            fresh.flush()
            unnamed.replace(file)
        finally:
            unnamed.unlink(missing_ok=True)


def _forget_oldest(folder: Path, most: int) -> None:
    files = list(folder.iterdir())
    if len(files) > most:
        files.sort(key=lambda file: file.stat().st_mtime)
        for file in files[: len(files) - most * 3 // 4]:
            file.unlink(missing_ok=True)
