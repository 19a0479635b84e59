"""The files of a release or an artifact as they lie on disk: plain ones, and what is none."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gate.presentation import one_line

_SHOWN_CHARACTERS = 200


class Tree(NamedTuple):
    """What lies below a folder.

    Attributes:
        files: relative posix paths of the plain files, sorted.
        refused: {relative posix path: why no release may hold it}, sorted: symbolic links, devices
            and the like, names that cannot be carried everywhere.
    """

    files: tuple[str, ...]
    refused: dict[str, str]

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each entry that is refused."""
        return tuple(f"{shown(path)} {why}" for path, why in self.refused.items())


def read_tree(folder: Path) -> Tree:
    """The plain files below a folder, and what else is there; links are not followed.

    The folder itself may be reached by a link. Folders without files are of no account.

    Raises:
        OSError: a folder cannot be read.
    """
    found = {
        entry.path: path_fault(entry.path) or _kind_fault(entry)
        for entry in _entries(folder.resolve())
    }
    return Tree(
        files=tuple(sorted(path for path, fault in found.items() if fault is None)),
        refused={path: fault for path, fault in sorted(found.items()) if fault is not None},
    )


def path_fault(path: str) -> str | None:
    """Why a relative posix path may not stand in a release; None where it may."""
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts:
        return "leads out of the release"
    if "\\" in path or ":" in parts[0] or "\0" in path:
        return "has a character in its name that is a separator elsewhere"
    if "" in parts or "." in parts:
        return "is written in a way that has a shorter one"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return None


def shown(path: str) -> str:
    """A path as sentences name it: as it is, or quoted and escaped where that could not be told."""
    line = one_line(path, _SHOWN_CHARACTERS)
    return line if line == path else one_line(repr(path), _SHOWN_CHARACTERS)


class _Entry(NamedTuple):
    """Something in a folder that is not itself a folder to look into."""

    path: str
    is_link: bool
    is_file: bool


def _entries(root: Path) -> Iterator[_Entry]:
    """Everything below a folder, however deep, but the folders that are looked into."""
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(root / prefix) as found:
            for one in found:
                path = f"{prefix}{one.name}"
                if one.is_dir(follow_symlinks=False):
                    folders.append(f"{path}/")
                else:
                    yield _Entry(path, one.is_symlink(), one.is_file(follow_symlinks=False))


def _kind_fault(entry: _Entry) -> str | None:
    if entry.is_link:
        return "is a symbolic link"
    return None if entry.is_file else "is not a plain file"
