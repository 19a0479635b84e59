"""The base and adapters that a first gate.yaml is for: found, named, and seen to fit."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gate.errors import ConfigError
from gate.planning.todo import Sources
from gate.sources import SourceKind, check_fit, locate
from gate.starting.facts import AdapterFacts, BaseFacts, name_of, read_adapter_facts, read_base
from gate.store import Store
from gate.terms import Source

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


class Candidate(NamedTuple):
    """What is up for release, located and read.

    Attributes:
        sources: the base, and the adapters by their names in gate.yaml.
        base: what the base is.
        adapters: {name: what it is}, in order.
    """

    sources: Sources
    base: BaseFacts
    adapters: dict[str, AdapterFacts]

    @property
    def has_template(self) -> bool:
        """Whether the base or an adapter brings a chat template."""
        return self.base.has_template or any(one.has_template for one in self.adapters.values())


def locate_candidate(
    base: str,
    adapters: Sequence[str],
    *,
    root: Path,
    store: Store,
    allow_pickle: bool,
    trust_remote_code: bool,
) -> Candidate:
    """Find a base and its adapters, see that they fit, and read what they are.

    Args:
        base: a directory, or org/name@commit.
        adapters: likewise, in order; at least one.
        root: what a relative directory is relative to.
        store: remembers the digests of large files.
        allow_pickle: accept weights that run code when they are read.
        trust_remote_code: accept a model that brings Python code of its own.

    Raises:
        ConfigError: two adapters of one name.
        SourceError: missing, unreadable, refused, or made for another base.
    """

    def find(given: str, kind: SourceKind) -> Source:
        return locate(
            given,
            root=root,
            kind=kind,
            allow_pickle=allow_pickle,
            trust_remote_code=trust_remote_code,
            file_digest=store.file_digest,
        )

    found = find(base, "base")
    located = [find(one, "adapter") for one in adapters]
    for adapter in located:
        check_fit(found, adapter)
    named = dict(zip(_names(adapters), located, strict=True))
    facts = {name: read_adapter_facts(source) for name, source in named.items()}
    return Candidate(Sources(found, named), read_base(found), facts)


def _names(given: Sequence[str]) -> list[str]:
    """A name for each adapter: its folder's, with the folder above where two are alike."""
    short = [name_of(one) for one in given]
    names: list[str] = []
    for one, name in zip(given, short, strict=True):
        if short.count(name) > 1:
            above = name_of(one.rstrip("/").rpartition("/")[0])
            names.append(_fitting(f"{above}-{name}", "adapter"))
        else:
            names.append(_fitting(name, "adapter"))
    if len(set(names)) < len(names):
        raise ConfigError("two adapters have the same name", hint="rename one of their folders")
    return names


def _fitting(name: str, fallback: str) -> str:
    """A name that can be a file's."""
    return _UNFIT.sub("-", name).strip("-._") or fallback
