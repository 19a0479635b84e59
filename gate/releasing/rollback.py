"""Rolling back: a directory's link `current` on a release that was there before, if it is whole."""

from pathlib import Path
from typing import NamedTuple

from gate.errors import ConfigError, PublishError, suggest
from gate.releasing.manifest import manifest_faults
from gate.releasing.targets import WORK_FOLDER, current, release_before, releases, switch
from gate.releasing.turns import taking_turns


class Rollback(NamedTuple):
    """What is current now.

    Attributes:
        release: the release that was to become current.
        before: what was current until then; None where nothing was.
        faults: why it did not become current, as its files are not whole; empty where it did.
    """

    release: str
    before: str | None
    faults: tuple[str, ...] = ()


def roll_back(target: Path, *, to: str | None = None) -> Rollback:
    """Make an earlier release the current one, after every byte of it has been checked.

    Args:
        target: a directory that releases were promoted to.
        to: the name of the release; None for what was current before the current one.

    Raises:
        ConfigError: the directory has no releases, not this one, or nothing was there before.
        PublishError: a promotion is under way, or the directory cannot be written.
    """
    if not target.is_dir() or not releases(target):
        raise ConfigError(
            f"{target} has no releases", hint="give the directory that was promoted to"
        )
    with taking_turns(target / WORK_FOLDER, target=str(target), doing="rolling back"):
        before = current(target)
        release = _wanted(target, to, before)
        try:
            faults = manifest_faults(target / release)
            if not faults:
                switch(target, release, by="rollback")
        except OSError as error:
            raise PublishError(
                f"{target}: current is still {before or 'nothing'}: {error.strerror or error}",
                hint="mend that, then roll back again",
            ) from error
    return Rollback(release, before, faults)


def _wanted(target: Path, to: str | None, before: str | None) -> str:
    """The release to go back to.

    Raises:
        ConfigError: there is none, or it is current already.
    """
    known = releases(target)
    if to is None:
        found = None if before is None else release_before(target, before)
        if found is None:
            raise ConfigError(
                f"{target}: it is not known what was current before {before or 'now'}",
                hint=f"say which one: --to RELEASE, of {', '.join(known)}",
            )
        return found
    if to not in known:
        raise ConfigError(f"--to: no release {to!r} in {target}", hint=suggest(to, known))
    if to == before:
        raise ConfigError(f"{to} is current already", hint=f"there are {', '.join(known)}")
    return to
