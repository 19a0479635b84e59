"""A directory of releases: a folder for each, and a link `current` to the one that is served."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from gate.errors import ConfigError, PublishError
from gate.presentation import one_line
from gate.releasing.release import MANIFEST_FILE
from gate.store import Store
from gate.terms import Noun

CURRENT = "current"
"""The link to the release that is served."""

WORK_FOLDER = ".mergegate"
"""The folder of a target in which a promotion works: on its disk, and under no release's name."""

_HISTORY_FILE = "history.jsonl"
_MOST_CHARACTERS = 80


class Switch(Noun):
    """One change of what is current.

    Attributes:
        by: whether a promotion or a rollback made it.
        release: what was current from then on.
        before: what was current until then; None where nothing was.
        at: when, in UTC.
    """

    by: Literal["promote", "rollback"]
    release: str
    before: str | None
    at: AwareDatetime


def check_target(target: Path) -> None:
    """Refuse a directory in which anything but releases lies, or whose `current` is no link.

    One inside a gate's store is refused too, which a run or a prune clears, and one inside a
    release, which would not be whole any more.

    Raises:
        ConfigError: otherwise. What is not there yet is fine.
    """
    _require_outside(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"{target} is not a directory", hint="releases are folders in one")
    link = target / CURRENT
    if link.exists() and not link.is_symlink():
        raise ConfigError(f"{link} is not a link", hint="it is the name of the link to a release")
    if (target / WORK_FOLDER).is_dir():
        return
    entries = sorted(one for one in target.iterdir() if one.name != CURRENT)
    strange = [one.name for one in entries if not _is_release(one)]
    if strange:
        raise ConfigError(
            f"{target} is not empty, and not a directory of releases: it has "
            f"{one_line(strange[0], _MOST_CHARACTERS)}",
            hint="give a directory of its own, which need not be there yet",
        )


def releases(target: Path) -> tuple[str, ...]:
    """The names of the releases in a directory, sorted."""
    return tuple(sorted(one.name for one in target.iterdir() if _is_release(one)))


def current(target: Path) -> str | None:
    """The name of the release that is served; None where none is.

    Raises:
        ConfigError: the link leads out of the directory: somebody else made it.
    """
    link = target / CURRENT
    if not link.is_symlink():
        return None
    name = os.readlink(link)
    if name != Path(name).name:
        raise ConfigError(
            f"{link} leads to {one_line(name, _MOST_CHARACTERS)}, out of this directory",
            hint="remove the link: it is made by promotions alone",
        )
    return name


def switch(target: Path, release: str, *, by: Literal["promote", "rollback"]) -> str | None:
    """Make a release the current one, by one rename; gives what was current before.

    Raises:
        ConfigError: the link that is there leads out of the directory.
        OSError: it cannot be written; what was current still is.
    """
    before = current(target)
    if before == release:
        return before
    work = target / WORK_FOLDER
    work.mkdir(exist_ok=True)
    now = datetime.now(UTC).replace(microsecond=0)
    _remember(work, Switch(by=by, release=release, before=before, at=now))
    fresh = work / CURRENT
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(release)
    fresh.replace(target / CURRENT)
    flush_folder(target)
    return before


def release_before(target: Path, release: str) -> str | None:
    """What a rollback goes back to: what was current when a release was last promoted.

    Of releases that are no longer there, what was before them; None where nothing is left.
    """
    befores = {one.release: one.before for one in _history(target) if one.by == "promote"}
    known, seen = set(releases(target)), {release}
    before = befores.get(release)
    while before is not None and before not in known and before not in seen:
        seen.add(before)
        before = befores.get(before)
    return before if before in known and before != release else None


def flush_folder(folder: Path) -> None:
    """Have the disk keep what was renamed in a folder.

    Raises:
        OSError: it cannot.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def writing_error(target: Path, error: OSError) -> PublishError:
    """Why a target could not be written, in words: disk full, not permitted, or as it is."""
    why = error.strerror or str(error)
    return PublishError(
        f"{target} cannot be written: {why}",
        hint="nothing was published under a release's name: mend that, then promote again",
    )


def _require_outside(target: Path) -> None:
    """A directory that is in no folder whose content is the gate's own.

    Raises:
        ConfigError: otherwise.
    """
    place = target.resolve()
    for one in (place, *place.parents):
        kind = "release" if _is_release(one) else "store" if _is_store(one) else None
        if kind is not None:
            where = "is" if one == place else "lies inside"
            raise ConfigError(
                f"{target} {where} the {kind} {one}",
                hint="nothing may be added there: give a directory of its own, outside it",
            )
        if one.name == WORK_FOLDER:
            raise ConfigError(
                f"{target} is where promotions to {one.parent} work",
                hint=f"give {one.parent}, or a directory of its own",
            )


def _is_store(folder: Path) -> bool:
    """Whether a gate keeps finished stages there; every run locks its store before it writes."""
    return (folder / "lock").is_file() and any(Store(folder).finished())


def _is_release(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink() and (entry / MANIFEST_FILE).is_file()


def _remember(work: Path, switched: Switch) -> None:
    """Add a line to the history, on disk when this returns."""
    with (work / _HISTORY_FILE).open("a", encoding="utf-8") as stream:
        stream.write(f"\n{switched.model_dump_json()}\n")  # a crash may have cut the last line
        stream.flush()
        os.fsync(stream.fileno())


def _history(target: Path) -> Iterator[Switch]:
    """The switches of a target, the oldest first; a line that a crash cut off is passed over."""
    file = target / WORK_FOLDER / _HISTORY_FILE
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield Switch.model_validate_json(line)
        except ValidationError:
            continue
