"""The scored documents of an evaluation, kept in a storage as they come: partial/<key>/*.json."""

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from gate.distributing.storages import Storage
from gate.storing import storing

_FILES = "*.json"


def fetch_documents(storage: Storage, folder: Path) -> None:
    """Bring what a storage has of an evaluation that a folder does not have in this size.

    Args:
        storage: where from.
        folder: the folder of the evaluation, named by its key; it is made.

    Raises:
        StoreError: it cannot be read there or not be written here.
    """
    here = _sizes(folder)
    for name, size in storage.sizes(f"partial/{folder.name}").items():
        if here.get(name) != size:
            _fetch(storage, folder, name)


class Documents:
    """What the folders of some evaluations have, put into a storage as it appears."""

    def __init__(self, storage: Storage, folders: Iterable[Path]) -> None:
        """Take folders, named by the keys of their evaluations, as they are stored already."""
        self._storage = storage
        self._seen: dict[Path, Mapping[str, int]] = {one: _sizes(one) for one in folders}

    def put_new(self) -> None:
        """Store what has come since the last time.

        Raises:
            StoreError: it cannot be stored.
        """
        for folder, before in self._seen.items():
            now = _sizes(folder)
            for name in sorted(name for name, size in now.items() if before.get(name) != size):
                self._storage.put(folder / name, f"partial/{folder.name}/{name}")
            self._seen[folder] = now


def put_missing(storage: Storage, folder: Path) -> None:
    """Store what a folder has of an evaluation, and a storage nothing of that name.

    Raises:
        StoreError: it cannot be stored.
    """
    there = storage.sizes(f"partial/{folder.name}") if (here := _sizes(folder)) else {}
    for name in sorted(here.keys() - there.keys()):
        storage.put(folder / name, f"partial/{folder.name}/{name}")


def _fetch(storage: Storage, folder: Path, name: str) -> None:
    """Bring one file, which appears whole."""
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{name}.{uuid.uuid4().hex}"
        try:
            if storage.fetch(f"partial/{folder.name}/{name}", fresh):
                fresh.replace(folder / name)
        finally:
            fresh.unlink(missing_ok=True)


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.glob(_FILES)}
