"""Promoting a variant: examined, put together, published; refused with the reasons otherwise."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from gate import extensions
from gate.digest import digest_json
from gate.errors import ConfigError, PublishError, suggest
from gate.records import Record
from gate.releasing.eligibility import refusals
from gate.releasing.keys import read_private_key
from gate.releasing.release import Published, Release
from gate.releasing.staging import stage
from gate.releasing.turns import taking_turns
from gate.reporting.report_files import RECORD_FILE, read_record
from gate.reporting.views import artifact_of
from gate.storing import cache_folder

_FORMS: Mapping[str, str] = MappingProxyType({"hf://": "hub", "mlflow:": "mlflow"})
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_TARGETS = "a directory, hf://org/name, mlflow:URI#model, or --publisher NAME"
_STAGED = "staged-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOTHING: Mapping[str, Path] = MappingProxyType({})


class Promotion(NamedTuple):
    """What came of it: published, or refused.

    Attributes:
        variant: which one.
        refusals: why it was not published; empty where it was.
        release: what was published; its folder is gone. None where it was refused.
        published: where; None where it was refused.
    """

    variant: str
    refusals: tuple[str, ...]
    release: Release | None = None
    published: Published | None = None


def promote(
    record: Path,
    *,
    to: str,
    today: date,
    variant: str | None = None,
    publisher: str | None = None,
    key: Path | None = None,
    artifact: Path | None = None,
    adapters: Mapping[str, Path] = _NOTHING,
) -> Promotion:
    """Publish the files of a variant that may be promoted, with the evidence; else say why not.

    Args:
        record: a record.json, or the directory of a run.
        to: a directory, hf://org/name, or mlflow:URI#model.
        today: the day, in UTC, on which sign-offs have to be in force.
        variant: its name; None for the only one that is up for release.
        publisher: by name; None for the one that `to` has the form of.
        key: a private key in PEM form that the release is signed with; None for none.
        artifact: the folder of the variant's files; None for where the run left them.
        adapters: {name: folder} of adapters that are no longer where the run read them.

    Raises:
        ConfigError: a variant, publisher, key or target that there is not, or that does not fit.
        RecordError: the record cannot be read.
        PublishError: the target is taken, full, or not reachable; nothing is half-published.
    """
    read = read_record(record)
    file = record / RECORD_FILE if record.is_dir() else record
    signer = None if key is None else read_private_key(key)
    publishing = extensions.find("publishers", publisher or publisher_of(to))
    chosen = _chosen(read, variant)
    place = artifact or _artifact_place(read, chosen, beside=file.parent)
    places = _adapter_places(read, adapters)
    work = _place_of_work(publishing, to)
    _require_apart(place, work, to)
    reasons = refusals(read, chosen, artifact=place, adapters=places, today=today)
    if reasons:
        return Promotion(chosen, reasons)

    def put_together(folder: Path) -> Release:
        return stage(
            read, chosen, folder, record_file=file, artifact=place, adapters=places, key=signer
        )

    doing = f"promoting {read.release}-{chosen}"
    with _workplace(work, to, doing) as folder:
        release = _staged(put_together, folder)
        published = publishing.function(release, to)
    return Promotion(chosen, (), release, published)


def publisher_of(to: str) -> str:
    """The name of the publisher that a target has the form of.

    Raises:
        ConfigError: nothing, or a URL of a kind that no publisher is known for.
    """
    if not to.strip():
        raise ConfigError("--to is empty", hint=_TARGETS)
    for form, name in _FORMS.items():
        if to.startswith(form):
            return name
    if found := _SCHEME.match(to):
        raise ConfigError(
            f"--to {to}: no publisher for {found[0]}",
            hint=_TARGETS,
        )
    return "directory"


def _chosen(record: Record, variant: str | None) -> str:
    """The variant that is meant.

    Raises:
        ConfigError: there is no such variant, or several are up for release and none is named.
    """
    names = [one.name for one in record.variants]
    if variant is not None:
        if variant not in names:
            raise ConfigError(f"--variant: no {variant!r}", hint=suggest(variant, names))
        return variant
    if len(record.ship) != 1:
        verdicts = {one.variant: one.verdict for one in record.verdicts}
        told = ", ".join(f"{name} ({verdicts.get(name, 'not judged')})" for name in record.ship)
        raise ConfigError(
            f"{record.release} has {len(record.ship)} variants up for release: {told or 'none'}",
            hint="say which one: --variant NAME",
        )
    return record.ship[0]


def _artifact_place(record: Record, variant: str, *, beside: Path) -> Path:
    """Where the run left a variant's files: the link beside its record, else the path in it."""
    artifact = artifact_of(record, variant)
    if artifact is None:
        return beside
    link = beside / "artifacts" / artifact.name
    return link.resolve() if link.is_dir() else Path(artifact.path)


def _adapter_places(record: Record, given: Mapping[str, Path]) -> dict[str, Path]:
    """Where the adapters are: as given, else where the run read them.

    Raises:
        ConfigError: one is given that the record does not have.
    """
    for name in given:
        if name not in record.adapters:
            raise ConfigError(f"--adapter: no {name!r}", hint=suggest(name, record.adapters))
    return {name: Path(one.path) for name, one in record.adapters.items()} | dict(given)


def _place_of_work(publishing: extensions.Extension, to: str) -> Path:
    """The folder in which promotions to a target work, which need not be there yet.

    A publisher that has a disk of its own says where, by a function `workplace`; one that can
    tell from `to` alone that nothing can be published there says so by a function `check`. So a
    mistake in it is told before gigabytes are read.

    Raises:
        ConfigError: the target is none.
    """
    check, own = (getattr(publishing.module, name, None) for name in ("check", "workplace"))
    if check is not None:
        check(to)
    place: Path = own(to) if own else cache_folder() / "promotions" / digest_json(to)
    return place


def _require_apart(artifact: Path, work: Path, to: str) -> None:
    """A folder to work in that is not among the files that are to be published.

    Raises:
        ConfigError: it is.
    """
    if work.resolve().is_relative_to(artifact.resolve()):
        raise ConfigError(
            f"--to {to} lies inside {artifact}, which is what would be published",
            hint="give a directory outside it",
        )


@contextmanager
def _workplace(work: Path, to: str, doing: str) -> Iterator[Path]:
    """A folder for a release, yet to be made, while nobody else publishes to the target.

    Raises:
        PublishError: somebody else is at it, or there is nowhere to work.
    """
    with taking_turns(work, target=to, doing=doing):
        for left in work.glob(f"{_STAGED}*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = work / f"{_STAGED}{os.getpid()}"
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _staged(put_together: Callable[[Path], Release], folder: Path) -> Release:
    """The release put together.

    Raises:
        PublishError: a file cannot be read or written.
    """
    try:
        folder.mkdir()
        return put_together(folder)
    except OSError as error:
        if error.errno in _NO_ROOM:  # the error names the file that was read, whose disk has room
            raise PublishError(
                f"no room to put the release together in {folder.parent}: {error.strerror}",
                hint="nothing was published: make room there, then promote again; "
                "XDG_CACHE_HOME says where it is done for a registry",
            ) from error
        where = f"{error.filename}: " if error.filename else ""
        raise PublishError(
            f"the release cannot be put together: {where}{error.strerror or error}",
            hint="nothing was published: mend that, then promote again",
        ) from error
