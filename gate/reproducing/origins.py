"""The base and the adapters of a record, found again and proven to be those that were merged."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from gate.errors import ConfigError, SourceError, suggest
from gate.planning.todo import Sources
from gate.records import Record
from gate.releasing.tree import shown
from gate.reproducing.kept_evidence import archived_adapter
from gate.sources import SourceKind, locate
from gate.store import Store
from gate.terms import Source

_MOST_DIFFERENCES = 5
_NOTHING: Mapping[str, Path] = MappingProxyType({})


class Places(NamedTuple):
    """Where to look for what was merged, and what may be done to read it.

    Attributes:
        base: folder of the base model; None for where the run read it.
        adapters: {name: folder}; others are looked for in the record's release, then where the
            run read them.
        allow_pickle: read weights that run code when they are read.
        trust_remote_code: let models run Python code of their own.
    """

    base: Path | None = None
    adapters: Mapping[str, Path] = _NOTHING
    allow_pickle: bool = False
    trust_remote_code: bool = False


class Origins(NamedTuple):
    """What was merged, on this machine.

    Attributes:
        sources: the base and the adapters that were asked for.
        notes: what could not be proven of them, in sentences.
    """

    sources: Sources
    notes: tuple[str, ...]


def find_origins(
    record: Record, names: Iterable[str], *, file: Path, places: Places, store: Store
) -> Origins:
    """The base and some adapters of a record, every byte of them hashed and compared with it.

    Args:
        record: the run that merged them.
        names: of the adapters.
        file: the record's.
        places: where to look.
        store: remembers the digests of files.

    Raises:
        ConfigError: a folder is given for an adapter that the record does not have.
        SourceError: missing, unreadable, refused, or not what was merged.
    """
    for name in places.adapters:
        if name not in record.adapters:
            raise ConfigError(f"--adapter: no {name!r}", hint=suggest(name, record.adapters))
    notes: list[str] = []

    def find(what: str, source: Source, given: Path | None, kind: SourceKind) -> Source:
        option = "--base DIR" if kind == "base" else "--adapter NAME=DIR"
        hint = f"{option} says where its files are"
        if given is None and source.commit is None and not Path(source.path).is_dir():
            raise SourceError(f"{what} is no longer in {source.path}", hint=hint)
        found = _located(source, given, kind=kind, places=places, store=store)
        notes.extend(_check_same(what, source, found, hint=hint))
        return found

    base = find("the base model", record.base, places.base, "base")
    adapters = {
        name: find(
            f"adapter {name}",
            _recorded(record, name),
            places.adapters.get(name) or archived_adapter(file, name),
            "adapter",
        )
        for name in names
    }
    return Origins(Sources(base, adapters), tuple(notes))


def differences(judged: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """How the files of a folder differ from others, a sentence each, by {path: SHA-256}."""
    for path in sorted({*judged, *found}):
        if path not in found:
            yield f"{shown(path)} is missing"
        elif path not in judged:
            yield f"{shown(path)} was added"
        elif judged[path] != found[path]:
            yield f"{shown(path)} differs"


def _recorded(record: Record, name: str) -> Source:
    if name not in record.adapters:
        raise SourceError(f"the record does not say where adapter {name} came from")
    return record.adapters[name]


def _located(
    source: Source, given: Path | None, *, kind: SourceKind, places: Places, store: Store
) -> Source:
    """A source in the folder that is given; else where the run read it, or from the hub."""
    place = source.path if given is None else str(given)
    if given is None and source.commit is not None:
        place = f"{source.given.partition('@')[0]}@{source.commit}"
    return locate(
        place,
        root=Path.cwd(),
        kind=kind,
        allow_pickle=places.allow_pickle,
        trust_remote_code=places.trust_remote_code,
        file_digest=store.file_digest,
    )


def _check_same(what: str, recorded: Source, found: Source, *, hint: str) -> Iterator[str]:
    """A sentence where it cannot be told whether a source is the one that was merged.

    Raises:
        SourceError: it is not.
    """
    if found.digest == recorded.digest:
        return
    if not recorded.manifest:
        yield (
            f"{what}: the record knows commit {recorded.commit} and not its files: "
            f"those in {found.path} are taken for them"
        )
        return
    told = list(differences(recorded.manifest, found.manifest))
    more = len(told) - _MOST_DIFFERENCES
    rest = f", and {more} more" if more > 0 else ""
    raise SourceError(
        f"{what} in {found.path} is not what was merged: "
        f"{', '.join(told[:_MOST_DIFFERENCES])}{rest}",
        hint=hint,
    )
