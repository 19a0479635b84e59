"""Publishes into a directory: a folder for each release, and a link `current` switched last."""

import os
import shutil
from pathlib import Path

from gate.errors import PublishError
from gate.presentation import anchor, count
from gate.releasing.manifest import manifest_faults
from gate.releasing.release import ENVELOPE_FILE, MANIFEST_FILE, Published, Release
from gate.releasing.targets import (
    WORK_FOLDER,
    check_target,
    current,
    flush_folder,
    releases,
    switch,
    writing_error,
)
from gate.releasing.tree import read_tree
from gate.storing import flush

_FOLDER_MODE = 0o755
_FILE_MODE = 0o644


def workplace(to: str) -> Path:
    """The folder in which a promotion to this directory works, on the same disk.

    Raises:
        ConfigError: the directory has something else in it than releases, or lies where none may.
    """
    check_target(Path(to))
    return Path(to) / WORK_FOLDER


def publish(release: Release, to: str) -> Published:
    """Put a release into a directory under its name, whole, then make it the current one.

    A release that is there already is left as it is, so that what was broken off after it can be
    done again; one of the same name with another content is never replaced.

    Args:
        release: what is published.
        to: the directory, which is made where it is not there.

    Raises:
        ConfigError: the directory has something else in it than releases, or lies where none may.
        PublishError: something else of this name is there, or this very release is, and damaged;
            or the directory cannot be written.
    """
    target, name = Path(to), anchor(release.name, release.variant)
    work = workplace(to)
    try:
        work.mkdir(parents=True, exist_ok=True)
        if name in releases(target):
            _require_same(release.folder, target / name)
        else:
            _place(release.folder, target / name)
    except OSError as error:
        raise writing_error(target, error) from error
    return Published(place=str(target / name), before=_switched(target, name))


def _switched(target: Path, name: str) -> str | None:
    """Make a release that is in its place the current one.

    Raises:
        PublishError: the link cannot be written.
    """
    try:
        return switch(target, name, by="promote")
    except OSError as error:
        raise PublishError(
            f"{target / name} is in its place, but current is still {current(target) or 'nothing'}:"
            f" {error.strerror or error}",
            hint="mend that, then promote again: what is in its place is not copied again",
        ) from error


def _place(folder: Path, place: Path) -> None:
    """Bring a folder under a name by one rename, after the disk has all of its bytes.

    Raises:
        PublishError: the name is taken, by what is no release.
    """
    if os.path.lexists(place):
        raise PublishError(
            f"{place} is there already, and is no release",
            hint="find out what it is and move it away, then promote again",
        )
    incoming = place.parent / WORK_FOLDER / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    try:
        incoming.mkdir()
        for path in read_tree(folder).files:
            _bring(folder / path, incoming / path)
        for made in (incoming, *(one for one in incoming.rglob("*") if one.is_dir())):
            made.chmod(_FOLDER_MODE)
            flush_folder(made)
        incoming.rename(place)
        flush_folder(place.parent)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _bring(file: Path, out: Path) -> None:
    """A file under a second name where the disk is the same, else a copy of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, out)
    except OSError:
        shutil.copyfile(file, out)
    out.chmod(_FILE_MODE)
    flush(out)


def _require_same(staged: Path, there: Path) -> None:
    """A release that is in its place: whole, of the same files, and under the same signature.

    Raises:
        PublishError: otherwise.
    """
    if faults := manifest_faults(there):
        more = f", and {count(len(faults) - 1, 'more fault')}" if len(faults) > 1 else ""
        raise PublishError(
            f"{there} is damaged: {faults[0]}{more}",
            hint="gate verify names every fault; move the folder away, then promote again",
        )
    if _seal(staged) != _seal(there):
        raise PublishError(
            f"{there} is there already, with another content or signature",
            hint="a release is never replaced: give this one a name of its own in gate.yaml",
        )


def _seal(folder: Path) -> tuple[bytes, bytes]:
    """The manifest, which stands for all files, and the signed statement; empty without one.

    A key signs the same twice, so the bytes of the statement are enough to compare.
    """
    envelope = folder / ENVELOPE_FILE
    return (
        folder / MANIFEST_FILE
    ).read_bytes(), envelope.read_bytes() if envelope.is_file() else b""
