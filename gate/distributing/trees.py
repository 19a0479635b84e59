"""Folders by content in a storage: their files first, and what says that they are whole last.

files/<sha256> is a file, trees/<id>.json says which files of which names make a folder.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gate.digest import digest_file, digest_manifest
from gate.distributing.storages import Storage
from gate.errors import StoreError
from gate.storing import flush

FileDigest = Callable[[Path], str]
"""The sha256 of a file; it may remember."""


def put_tree(
    storage: Storage,
    root: Path,
    names: Iterable[str] | None = None,
    *,
    file_digest: FileDigest = digest_file,
) -> str:
    """Store a folder, and give its id; what is there already is not sent again.

    Args:
        storage: where to.
        root: the folder.
        names: of its files, as paths below it; None for all.
        file_digest: the sha256 of a file.

    Raises:
        StoreError: a file cannot be written there.
        OSError: a file cannot be read here.
    """
    files = list_files(root) if names is None else names
    manifest = {name: file_digest(root / name) for name in sorted(files)}
    for name, digest in manifest.items():
        stored = f"files/{digest}"
        if storage.size(stored) != (root / name).stat().st_size:
            storage.put(root / name, stored)
    tree = digest_manifest(manifest)
    _put_manifest(storage, root, tree, manifest)
    return tree


def fetch_tree(storage: Storage, tree: str, folder: Path) -> None:
    """Bring a whole folder into a new one, every file of it checked and on disk.

    Args:
        storage: where from.
        tree: its id.
        folder: is made; what is left of an earlier attempt is removed.

    Raises:
        StoreError: a file is missing there or damaged.
        OSError: a file cannot be written here.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, digest in _manifest(storage, tree).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        storage.fetch_known(f"files/{digest}", file, digest=digest)
        flush(file)


def list_files(root: Path) -> tuple[str, ...]:
    """The paths of all files below a folder."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return tuple(path.relative_to(root).as_posix() for path in files)


def _put_manifest(storage: Storage, root: Path, tree: str, manifest: Mapping[str, str]) -> None:
    """Say that a folder is whole."""
    text = json.dumps(manifest, sort_keys=True)
    if storage.size(f"trees/{tree}.json") != len(text):
        storage.write(f"trees/{tree}.json", text.encode())


def _manifest(storage: Storage, tree: str) -> dict[str, str]:
    """{path: sha256} of a folder.

    Raises:
        StoreError: it is not there, or not what its name says.
    """
    known = storage.read(f"trees/{tree}.json")
    try:
        manifest = json.loads(known or b"")
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or digest_manifest(manifest) != tree:
        raise StoreError(
            f"storage {storage.url}: trees/{tree}.json is missing or damaged",
            hint="delete it there, and run again: it is stored anew",
        )
    return manifest
