"""Files by name under a URL, in any file system that fsspec speaks to."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from gate.digest import digest_file
from gate.errors import ConfigError, StoreError

PATIENCE_SECONDS = 60.0
"""How long a file that another machine has written may take to be there, and whole."""

_POLL_SECONDS = 0.2
_ON_EVERY_NODE = "is it written rightly, there, and allowed from here? nodes use their own keys"


class Storage:
    """A bucket, or a folder in one, that several machines reach by one URL.

    Attributes:
        url: where it is; what is in it is named by paths below.
    """

    def __init__(self, url: str) -> None:
        """Open it; nothing is asked of it yet.

        Raises:
            ConfigError: the URL is of no known kind, or the package that speaks it is missing.
        """
        self.url = url
        try:
            from fsspec.core import url_to_fs

            self._files, root = url_to_fs(url)
        except ImportError as error:
            raise ConfigError(
                f"executor ray: storage {url}: {_one_line(error)}",
                hint="install that package here and on every node, with mergegate[ray]",
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"executor ray: storage {url}: {_one_line(error)}",
                hint="give a URL such as s3://bucket/prefix or file:///shared/folder",
            ) from error
        self._root = str(root).rstrip("/")
        self._folders = {self._root}

    def put(self, file: Path, name: str) -> None:
        """Store a file under a name, over whatever is there.

        Raises:
            StoreError: it cannot be written.
        """
        with self._asked(f"write {name}"):
            self._files.put_file(str(file), self._made_place(name))

    def write(self, name: str, content: bytes) -> None:
        """Store bytes under a name, over whatever is there.

        Raises:
            StoreError: they cannot be written.
        """
        with self._asked(f"write {name}"):
            self._files.pipe_file(self._made_place(name), content)

    def read(self, name: str) -> bytes | None:
        """The bytes under a name; None where there is nothing.

        Raises:
            StoreError: they cannot be read.
        """
        with self._asked(f"read {name}"):
            self._files.invalidate_cache()
            try:
                found: bytes = self._files.cat_file(self._place(name))
            except FileNotFoundError:
                return None
            return found

    def fetch(self, name: str, file: Path) -> bool:
        """Bring what is under a name into a file; whether there is something.

        Raises:
            StoreError: it cannot be read.
        """
        with self._asked(f"read {name}"):
            self._files.invalidate_cache()
            try:
                self._files.get_file(self._place(name), str(file))
            except FileNotFoundError:
                return False
            return True

    def fetch_known(
        self, name: str, file: Path, *, digest: str, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Bring a file of known content, which is waited for: someone may be writing it.

        Args:
            name: what it is called there.
            file: where to put it.
            digest: its sha256.
            patience_seconds: how long to wait.

        Raises:
            StoreError: it is not there in the end, or has other content.
        """

        def is_here() -> bool:
            return self.fetch(name, file) and digest_file(file) == digest

        if not _comes_true(is_here, patience_seconds):
            raise StoreError(
                f"storage {self.url}: {name} is missing or damaged",
                hint="delete it there, and run again: it is stored anew",
            )

    def size(self, name: str) -> int | None:
        """The bytes of what is under a name; None where there is nothing.

        Raises:
            StoreError: it cannot be asked.
        """
        with self._asked(f"look up {name}"):
            self._files.invalidate_cache()
            try:
                return int(self._files.info(self._place(name))["size"])
            except FileNotFoundError:
                return None

    def sizes(self, folder: str) -> dict[str, int]:
        """{name: bytes} of the files in a folder, not of those in folders below; '' is the top.

        Raises:
            StoreError: it cannot be listed.
        """
        place = self._place(folder)
        with self._asked(f"list {folder or 'its files'}"):
            self._files.invalidate_cache()
            try:
                found: dict[str, Any] = self._files.find(place, maxdepth=1, detail=True)
            except FileNotFoundError:
                return {}
            return {
                path.removeprefix(place).lstrip("/"): int(info["size"])
                for path, info in sorted(found.items())
            }

    def remove(self, name: str) -> None:
        """Delete what is under a name.

        Raises:
            StoreError: it cannot be deleted.
        """
        with self._asked(f"delete {name}"):
            self._files.rm_file(self._place(name))

    def _place(self, name: str) -> str:
        return f"{self._root}/{PurePosixPath(name)}" if name else self._root

    def _made_place(self, name: str) -> str:
        """Where a file goes, in a folder that is made.

        The root is not: where it is not there, what belongs at its place may not be mounted.
        """
        place = self._place(name)
        folder = place.rpartition("/")[0]
        if folder not in self._folders:
            self._files.makedirs(folder, exist_ok=True)
            self._folders.add(folder)
        return place

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Say in words what could not be done.

        Raises:
            StoreError: whatever the file system raised.
        """
        try:
            yield
        except Exception as error:  # each package raises errors of its own, which have no parent
            raise StoreError(
                f"storage {self.url}: cannot {what}: {_one_line(error)}", hint=_ON_EVERY_NODE
            ) from error


def _comes_true(is_so: Callable[[], bool], patience_seconds: float) -> bool:
    end = time.monotonic() + patience_seconds
    while not is_so():
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
