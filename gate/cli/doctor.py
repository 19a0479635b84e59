"""gate doctor: what is here, what is missing, and what each missing piece costs."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.options import DEFAULT_REPORTS, DEFAULT_STORE, ReportsPath, StorePath
from gate.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gate.starting.diagnosis import Diagnosis
    from gate.starting.pieces import Piece

_WIDTH = 20


def doctor(
    store: StorePath = DEFAULT_STORE,
    reports: ReportsPath = DEFAULT_REPORTS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object for scripts.")] = False,
) -> None:
    """List engines, versions, interpreters, devices and disk; what is missing, and its price.

    The exit status is 0 unless the gate itself cannot run here.
    """
    from gate.starting.diagnosis import diagnose

    found = diagnose(store=store, reports=reports)
    if as_json:
        sys.stdout.write(f"{found.model_dump_json(indent=2)}\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(found)))
    if found.faults:
        raise typer.Exit(code=GateError.exit_status)


def _lines(found: "Diagnosis") -> "Iterator[str]":
    from gate.presentation import size

    state = "cannot run here" if found.faults else "can run here"
    yield f"mergegate {found.version} {state}: Python {found.python}"
    yield from (f"  FAULT: {fault}" for fault in found.faults)
    machine = found.machine
    yield ""
    yield "machine"
    yield f"  {machine.cpu}, {machine.cpu_count} cores, {size(machine.memory_bytes)} of memory"
    for gpu in machine.gpus:
        yield f"  {gpu.name}, {size(gpu.memory_bytes)}, compute capability {gpu.capability:g}"
    if not machine.gpus:
        yield "  no NVIDIA GPU: everything runs on the processor"
    for disk in found.disks:
        writable = "" if disk.is_writable else ", CANNOT BE WRITTEN"
        yield f"  {disk.path}: {size(disk.free_bytes)} free{writable}"
    yield ""
    yield "engines"
    for piece in found.pieces:
        yield from _of_piece(piece)


def _of_piece(piece: "Piece") -> "Iterator[str]":
    versions = ", ".join(f"{name} {version}" for name, version in piece.versions.items())
    yield f"  {piece.name:<{_WIDTH}}{piece.state:<9}{versions or piece.gives}"
    indent = " " * (_WIDTH + 2)
    if piece.python is not None:
        yield f"{indent}in {piece.python}"
    if piece.state == "ready":
        return
    if piece.fault is not None:
        yield f"{indent}{piece.fault}"
    if piece.versions:
        yield f"{indent}for {piece.gives}"
    yield f"{indent}{piece.remedy}: {piece.cost}"
