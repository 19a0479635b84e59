"""Publishes into a directory: a folder for each release, and a link `current` switched last."""

import json
import os
import shutil
from pathlib import Path

from gate.errors import PublishError, RecordError
from gate.presentation import anchor
from gate.releasing.manifest import read_manifest
from gate.releasing.release import ENVELOPE_FILE, Published, Release
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
    """The folder in which a promotion to this directory works, on the same disk; it is made.

    Raises:
        ConfigError: the directory has something else in it than releases.
        PublishError: it cannot be written.
    """
    target = Path(to)
    check_target(target)
    try:
        (target / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_error(target, error) from error
    return target / WORK_FOLDER


def publish(release: Release, to: str) -> Published:
    """Put a release into a directory under its name, whole, then make it the current one.

    A release that is there already is left as it is, so that what was broken off after it can be
    done again; one of the same name with another content is never replaced.

    Args:
        release: what is published.
        to: the directory, which is made where it is not there.

    Raises:
        ConfigError: the directory has something else in it than releases.
        PublishError: another release of this name is there, or the directory cannot be written.
    """
    target, name = Path(to), anchor(release.name, release.variant)
    workplace(to)
    try:
        if name in releases(target):
            _require_same(release, target / name)
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
    """Bring a folder under a name by one rename, after the disk has all of its bytes."""
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


def _require_same(release: Release, there: Path) -> None:
    """A release of this name that has the same files and is signed by the same keys.

    Raises:
        PublishError: otherwise.
    """
    try:
        is_same = read_manifest(release.folder) == read_manifest(there)
    except RecordError as error:
        raise PublishError(f"{there} is damaged: {error.problem}") from error
    if not is_same or _keys(release.folder) != _keys(there):
        raise PublishError(
            f"{there} is there already, with another content or signature",
            hint="a release is never replaced: give this one a name of its own in gate.yaml",
        )


def _keys(folder: Path) -> tuple[str, ...]:
    """The ids of the keys that signed a release; none where it is not signed."""
    file = folder / ENVELOPE_FILE
    if not file.is_file():
        return ()
    signatures = json.loads(file.read_text(encoding="utf-8")).get("signatures", ())
    return tuple(str(one.get("keyid", "")) for one in signatures)
