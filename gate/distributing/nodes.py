"""What every machine of a cluster must have in common before it is given work."""

import platform
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from gate.digest import digest_file, digest_json
from gate.environments import probe
from gate.errors import ConfigError, StoreError
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
        mark: the file that it wrote into the store; None where it could not.
    """

    name: str
    python: str
    code: str
    versions: dict[str, dict[str, str]]
    unseen: tuple[str, ...] = ()
    mark: str | None = None


class Question(Noun):
    """What a node is asked of itself.

    Attributes:
        mark: a file in the store, as every node must see it.
        packages: {interpreter: distributions whose versions count there}.
        paths: files and folders that stages read.
    """

    mark: str
    packages: dict[str, tuple[str, ...]]
    paths: tuple[str, ...]


@contextmanager
def asking(
    store: Path, packages: Mapping[str, Iterable[str]], paths: Iterable[str]
) -> Iterator[Question]:
    """A question to all nodes, with a file in the store for as long as it is asked.

    Args:
        store: the root of the store.
        packages: {interpreter: distributions whose versions decide what a stage gives}.
        paths: files and folders that stages read.

    Raises:
        StoreError: the store cannot be written from here.
    """
    with storing(store):
        store.mkdir(parents=True, exist_ok=True)
        mark = store.resolve() / f"seen-{uuid.uuid4().hex}"
        mark.touch()
    asked = {python: tuple(sorted(set(names))) for python, names in packages.items()}
    asked[OWN] = tuple(sorted({*_ALWAYS, *asked.get(OWN, ())}))
    try:
        yield Question(mark=str(mark), packages=asked, paths=tuple(paths))
    finally:
        for file in store.resolve().glob(f"{mark.name}*"):
            file.unlink(missing_ok=True)


def describe_node(name: str, question: Question) -> Node:
    """What this machine answers; it leaves a file of its own in the store."""
    mark = Path(question.mark)
    own: Path | None = None
    if mark.is_file():
        own = mark.with_name(f"{mark.name}-{uuid.uuid4().hex}")
        try:
            own.touch()
        except OSError:
            own = None
    return Node(
        name=name,
        python=platform.python_version(),
        code=_own_code(),
        versions={python: _versions(python, asked) for python, asked in question.packages.items()},
        unseen=tuple(path for path in question.paths if not Path(path).exists()),
        mark=None if own is None else str(own),
    )


def check_nodes(nodes: Sequence[Node], here: Node, question: Question) -> None:
    """Refuse nodes that do not see the store or the models, or have other versions than here.

    Raises:
        StoreError: a node does not see the store, or this machine not what a node writes into it.
        ConfigError: a node lacks a file, or has other versions.
    """
    root = Path(question.mark).parent
    for node in nodes:
        if node.mark is None or not Path(node.mark).exists():
            raise StoreError(
                f"node {node.name} cannot read and write the store {root}",
                hint="put it on a folder that every node mounts at one path: --store /shared/store",
            )
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
def _own_code() -> str:
    """The content id of the gate's own source files."""
    here = Path(__file__).parents[1]
    files = sorted(here.rglob("*.py"))
    return digest_json({file.relative_to(here).as_posix(): digest_file(file) for file in files})
