"""Whether a gate can run here, and what it could use besides."""

import importlib.metadata
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from gate import __version__
from gate.starting.machine import Disk, Machine, look_at_disk, look_at_machine
from gate.starting.pieces import Piece, find_pieces
from gate.terms import Noun

_DISTRIBUTION = "mergegate"
_LEAST_PYTHON = (3, 11)


class Diagnosis(Noun):
    """What `gate doctor` finds.

    Attributes:
        version: of mergegate.
        python: version and path of the interpreter.
        faults: why the gate itself cannot run here; empty where it can.
        disks: where a run writes: the store, and the folder of reports.
        pieces: the engines, found or missing.
    """

    version: str
    python: str
    faults: tuple[str, ...]
    machine: Machine
    disks: tuple[Disk, ...]
    pieces: tuple[Piece, ...]


def diagnose(*, store: Path, reports: Path) -> Diagnosis:
    """Look at the interpreter, the machine, the disks and the engines; nothing is changed."""
    disks = (look_at_disk(store), look_at_disk(reports))
    unwritable = tuple(f"{one.path}: cannot be written" for one in disks if not one.is_writable)
    return Diagnosis(
        version=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        faults=(*_python_faults(), *missing(_requirements()), *unwritable),
        machine=look_at_machine(),
        disks=disks,
        pieces=find_pieces(store),
    )


def missing(requirements: Iterable[str]) -> tuple[str, ...]:
    """What of some requirements is absent or of a version that they exclude, in sentences.

    Args:
        requirements: as in pyproject.toml; those of an extra are passed over.
    """
    faults = []
    for line in requirements:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            faults.append(f"{wanted.name} is not installed, and the gate needs {wanted}")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            faults.append(f"{wanted.name} is {found}, and the gate needs {wanted}")
    return tuple(faults)


def _python_faults() -> tuple[str, ...]:
    if sys.version_info[:2] >= _LEAST_PYTHON:
        return ()
    return (f"Python is {platform.python_version()}, and the gate needs 3.11 or newer",)


def _requirements() -> tuple[str, ...]:
    """What mergegate declares; nothing where it runs from a folder and was never installed."""
    try:
        return tuple(importlib.metadata.requires(_DISTRIBUTION) or ())
    except importlib.metadata.PackageNotFoundError:
        return ()
