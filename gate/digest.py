"""Content ids: the sha256 of canonical JSON, of a file, of a tree of files."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_RACY_NANOSECONDS = 2_000_000_000


def digest_json(value: object) -> str:
    """The sha256 hex digest of a JSON value in canonical form: sorted keys, no spaces, UTF-8.

    Raises:
        ValueError: the value holds NaN or an infinity, which JSON cannot express.
        TypeError: the value holds something that is not JSON.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """The sha256 hex digest of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def digest_manifest(manifest: Mapping[str, str]) -> str:
    """The content id of a tree, from its manifest {relative path: sha256 of the file}."""
    return digest_json(dict(manifest))


def digest_tree(root: Path, *, file_digest: Callable[[Path], str] = digest_file) -> dict[str, str]:
    """The manifest of every file below a directory: {relative posix path: sha256 hex}, sorted.

    Symbolic links are followed, because hub snapshots are made of them.

    Raises:
        OSError: a file cannot be read.
    """
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): file_digest(path) for path in files}


class DigestMemo:
    """File digests remembered by path, size, times and inode, so that a large tree is read once.

    A file changed within the last two seconds is not remembered: a second change in the same
    tick of the file system's clock would go unseen.
    """

    def __init__(self, file: Path) -> None:
        """Remember in `file`, a JSON file that may be absent or lost without harm."""
        self._file = file
        self._known = self._read()
        self._is_changed = False

    def __call__(self, path: Path) -> str:
        """The sha256 hex digest of a file, read only if it may have changed.

        Raises:
            OSError: the file cannot be read.
        """
        real = path.resolve()
        status = real.stat()
        seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(str(real))
        if known is not None and known[:-1] == seen:
            return str(known[-1])
        digest = digest_file(real)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _RACY_NANOSECONDS:
            self._known[str(real)] = [*seen, digest]
            self._is_changed = True
        return digest

    def save(self) -> None:
        """Write what was learned, atomically; a failure to write costs only time later."""
        if not self._is_changed:
            return
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            fresh.write_text(json.dumps(self._known), encoding="utf-8")
            fresh.replace(self._file)

    def _read(self) -> dict[str, list[int | str]]:
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
