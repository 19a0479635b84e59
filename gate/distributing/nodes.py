"""What every machine of a cluster must have in common before it is given work."""

import platform
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from gate.digest import digest_file, digest_json
from gate.distributing.probes import leave_mark, probe_storage, remove_mark
from gate.environments import probe
from gate.errors import ConfigError, GateError, StoreError
from gate.provenance import versions
from gate.storing import storing
from gate.terms import Noun

OWN = ""
"""Stands for the gate's own interpreter among those that a node is asked about."""

_ALWAYS = ("torch", "transformers", "peft", "lm-eval", "datasets", "tokenizers", "numpy")
"""Distributions that every stage stands on."""

_MOST_NAMED = 3


class Node(Noun):
    """A machine, as it said of itself.

    Attributes:
        name: what people call it: its address.
        python: the version of the gate's own interpreter there.
        code: content id of the gate's own source there.
        versions: {interpreter: {distribution: version}}.
        unseen: files and folders that are not there.
        mark: the file that it wrote into the store; None where it could not, or was not asked.
        storage_fault: why it cannot use the storage.
        storage_hint: what to do about that.
    """

    name: str
    python: str
    code: str
    versions: dict[str, dict[str, str]]
    unseen: tuple[str, ...] = ()
    mark: str | None = None
    storage_fault: str | None = None
    storage_hint: str | None = None


class Question(Noun):
    """What a node is asked of itself.

    Attributes:
        mark: a file in the store, as every node must see it, or in the storage.
        packages: {interpreter: distributions whose versions count there}.
        paths: files and folders that stages read.
        storage: the URL of the storage that nodes share; None where they see the store.
    """

    mark: str
    packages: dict[str, tuple[str, ...]]
    paths: tuple[str, ...]
    storage: str | None = None


@contextmanager
def asking(
    store: Path,
    packages: Mapping[str, Iterable[str]],
    paths: Iterable[str],
    *,
    storage: str | None = None,
) -> Iterator[Question]:
    """A question to all nodes, with a file for them to see for as long as it is asked.

    Args:
        store: the root of the store.
        packages: {interpreter: distributions whose versions decide what a stage gives}.
        paths: files and folders that stages read.
        storage: the URL of a storage that nodes share; None where they must see store and paths.

    Raises:
        ConfigError: the storage's URL is of no known kind, or a package is missing.
        StoreError: the store or the storage cannot be written from here.
    """
    asked = {python: tuple(sorted(set(names))) for python, names in packages.items()}
    asked[OWN] = tuple(sorted({*_ALWAYS, *asked.get(OWN, ())}))
    with _marked(store) if storage is None else _marked_in(storage) as mark:
        seen = tuple(paths) if storage is None else ()
        yield Question(mark=mark, packages=asked, paths=seen, storage=storage)


@contextmanager
def _marked(store: Path) -> Iterator[str]:
    """A file in the store, removed afterwards with those that nodes laid beside it."""
    with storing(store):
        store.mkdir(parents=True, exist_ok=True)
        mark = store.resolve() / f"seen-{uuid.uuid4().hex}"
        mark.touch()
    try:
        yield str(mark)
    finally:
        for file in store.resolve().glob(f"{mark.name}*"):
            file.unlink(missing_ok=True)


@contextmanager
def _marked_in(storage: str) -> Iterator[str]:
    """A file in a storage, removed afterwards."""
    mark = leave_mark(storage)
    try:
        yield mark
    finally:
        remove_mark(storage, mark)


def describe_node(name: str, question: Question) -> Node:
    """What this machine answers; it leaves a file of its own in the store that all share."""
    own, fault = None, None
    if question.storage is None:
        own = _own_mark(Path(question.mark))
    else:
        fault = _storage_fault(question.storage, question.mark)
    return Node(
        name=name,
        python=platform.python_version(),
        code=source_id(Path(__file__).parents[1]),
        versions={python: _versions(python, asked) for python, asked in question.packages.items()},
        unseen=tuple(path for path in question.paths if not Path(path).exists()),
        mark=own,
        storage_fault=fault and fault.problem,
        storage_hint=fault and fault.hint,
    )


def _own_mark(mark: Path) -> str | None:
    """A file of this machine's own beside the caller's; None where that is not, or cannot be."""
    if not mark.is_file():
        return None
    own = mark.with_name(f"{mark.name}-{uuid.uuid4().hex}")
    try:
        own.touch()
    except OSError:
        return None
    return str(own)


def _storage_fault(storage: str, mark: str) -> GateError | None:
    """Why this machine cannot use a storage."""
    try:
        probe_storage(storage, mark)
    except GateError as error:
        return error
    return None


def check_nodes(nodes: Sequence[Node], here: Node, question: Question) -> None:
    """Refuse nodes that do not see the store or the models, or have other versions than here.

    Raises:
        StoreError: a node does not see the store, or this machine not what a node writes into it;
            or a node cannot use the storage.
        ConfigError: a node lacks a file, or has other versions.
    """
    for node in nodes:
        _check_sharing(node, question)
        if node.unseen:
            raise ConfigError(
                f"node {node.name} does not see {', '.join(node.unseen[:_MOST_NAMED])}",
                hint="models and tasks must lie where every node finds them by the same path",
            )
        told = tuple(_differences(node, here))
        if told:
            raise ConfigError(
                f"node {node.name} would give other results: {'; '.join(told)}",
                hint="install the same versions on every node, as in an image of one container",
            )


def _check_sharing(node: Node, question: Question) -> None:
    """Refuse a node with which nothing can be shared.

    Raises:
        StoreError: it does not see the store, or cannot use the storage.
    """
    if node.storage_fault is not None:
        raise StoreError(f"node {node.name}: {node.storage_fault}", hint=node.storage_hint)
    if question.storage is None and (node.mark is None or not Path(node.mark).exists()):
        raise StoreError(
            f"node {node.name} cannot read and write the store {Path(question.mark).parent}",
            hint="put it on a folder that every node mounts at one path, --store /shared/store; "
            "or name a storage under 'executor'",
        )


def _differences(node: Node, here: Node) -> Iterator[str]:
    """What a node has in other versions than this machine, each as words."""
    if node.python != here.python:
        yield f"Python {node.python} there, {here.python} here"
    for python, ours in here.versions.items():
        where = f" ({python})" if python != OWN else ""
        theirs = node.versions.get(python, {})
        for name, version in ours.items():
            if theirs.get(name) != version:
                yield f"{name} {theirs.get(name)} there, {version} here{where}"
    if node.code != here.code:
        yield "the gate's own source differs"


def _versions(python: str, packages: Sequence[str]) -> dict[str, str]:
    if python == OWN:
        return versions(packages)
    try:
        return probe(python, packages).versions
    except ConfigError:
        return dict.fromkeys(packages, "no such interpreter")


@cache
def source_id(package: Path) -> str:
    """The content id of a gate's own source files.

    Args:
        package: the directory of `gate`, installed or of a checkout, which has no suites in it.
    """
    suites = package / "evalsuites"
    files = sorted(file for file in package.rglob("*.py") if suites not in file.parents)
    return digest_json({file.relative_to(package).as_posix(): digest_file(file) for file in files})
