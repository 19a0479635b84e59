"""A machine's own copy of what a storage holds, and the folders that its batches write into."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from gate.distributing.storages import Storage
from gate.distributing.trees import fetch_tree, put_tree
from gate.errors import StoreError
from gate.storing import cache_folder


def mirror_folder() -> Path:
    """Where this machine keeps its copy."""
    return cache_folder() / "mirror"


class Mirror:
    """Folders of a storage by their content, each whole or not there: trees/<id>."""

    def __init__(self, storage: Storage, root: Path) -> None:
        """Use the folder `root`, which is made.

        Raises:
            StoreError: it cannot be made.
        """
        self._storage = storage
        self._root = root
        with copying(root):
            for name in ("trees", "locks", "tries"):
                (root / name).mkdir(parents=True, exist_ok=True)

    def tree(self, tree: str) -> Path:
        """A folder of the storage, brought here unless it is here.

        Raises:
            StoreError: it is not whole in the storage, or cannot be written here.
        """
        place = self._root / "trees" / tree
        if not place.is_dir():
            with copying(self._root), self._locked(tree) as fresh:
                if not place.is_dir():
                    fetch_tree(self._storage, tree, fresh)
                    fresh.rename(place)
        os.utime(place)
        return place

    def give(self, folder: Path) -> str:
        """Store a folder that was made here, which becomes a part of this copy; its id.

        Raises:
            StoreError: it cannot be stored.
        """
        with copying(self._root):
            tree = put_tree(self._storage, folder)
            place = self._root / "trees" / tree
            with self._locked(tree):
                if not place.is_dir():
                    folder.rename(place)
        return tree

    @contextmanager
    def try_folder(self) -> Iterator[Path]:
        """A folder to write into, removed afterwards; those that dead processes left go too.

        Raises:
            StoreError: it cannot be made.
        """
        self._clear()
        with self._locked(uuid.uuid4().hex) as folder:
            with copying(self._root):
                folder.mkdir()
            yield folder

    @contextmanager
    def _locked(self, name: str) -> Iterator[Path]:
        """A folder that nobody else has until this ends, when it is removed; it is not made."""
        folder = self._root / "tries" / name
        with FileLock(self._lock(name)):
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _clear(self) -> None:
        """Remove the folders whose process has died: nobody holds their locks."""
        for folder in (self._root / "tries").iterdir():
            with suppress(Timeout, OSError), FileLock(self._lock(folder.name), timeout=0):
                shutil.rmtree(folder, ignore_errors=True)

    def _lock(self, name: str) -> Path:
        return self._root / "locks" / name


@contextmanager
def copying(root: Path) -> Iterator[None]:
    """Say in words why this machine's copy of a storage cannot be written.

    Raises:
        StoreError: an OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {root}: {error.strerror or error}",
            hint="that is its copy of the storage: delete it between runs, or set XDG_CACHE_HOME",
        ) from error
