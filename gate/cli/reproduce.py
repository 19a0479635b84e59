"""gate reproduce: the artifacts of a record made again, and compared byte for byte."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.options import (
    DEFAULT_STORE,
    AllowPickle,
    MovedAdapters,
    StorePath,
    TrustRemoteCode,
    adapter_folders,
)
from gate.errors import StageError

if TYPE_CHECKING:
    from gate.reproducing.comparing import Remade
    from gate.reproducing.reproduction import Reproduction


def reproduce(
    record: Annotated[
        Path,
        typer.Argument(
            help="A record.json, the directory of a run, or a release.", metavar="RECORD"
        ),
    ],
    *,
    variant: Annotated[
        str | None,
        typer.Option("--variant", help="Only this one, and its merge.", metavar="NAME"),
    ] = None,
    adapters: MovedAdapters = None,
    base: Annotated[
        Path | None,
        typer.Option("--base", help="The base, where it is not where it was read.", metavar="DIR"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Keep what is made, in a new directory.", metavar="DIR"),
    ] = None,
    store: StorePath = DEFAULT_STORE,
    allow_pickle: AllowPickle = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Make each merged and quantized artifact of a record again, and compare it byte for byte.

    Base and adapters are hashed first: what is not what was merged is refused. Of a release, the
    adapters that were archived in it are taken. Nothing comes from the store but the environments
    of engines. Merges have to be the same, and so have rtn and gguf in F32, F16, BF16 and Q8_0;
    of other quantizers size and audit are compared. The exit status is 1 where one is different,
    and 3 where one could not be made.

    \b
    gate reproduce reports/v3/20261122T101500Z
    gate reproduce releases/current --base models/base --out made-again
    """  # noqa: D301 - \b is typer's mark of lines that are not to be filled
    from gate.cli.progress import watch
    from gate.presentation import printable
    from gate.reproducing import reproduction
    from gate.reproducing.origins import Places

    places = Places(base, adapter_folders(adapters or ()), allow_pickle, trust_remote_code)
    with watch(sys.stderr) as watcher:
        found = reproduction.reproduce(
            record,
            places=places,
            variant=variant,
            out=out,
            environments=store,
            watcher=watcher,
        )
    sys.stdout.write("".join(f"{printable(line)}\n" for line in _told(found)))
    if any(one.is_different for one in found.remade):
        raise typer.Exit(1)
    if any(one.error for one in found.remade):
        raise typer.Exit(StageError.exit_status)


def _told(found: "Reproduction") -> list[str]:
    lines = [f"note: {note}" for note in found.notes]
    for one in found.remade:
        lines += [f"{one.variant}: {_outcome(one)}", *_details(one)]
    same = sum(one.is_same for one in found.remade)
    return [*lines, f"byte for byte the same: {same} of {len(found.remade)}"]


def _outcome(one: "Remade") -> str:
    """What came of one artifact, in words."""
    if one.is_same:
        return f"the same, {one.judged}"
    if one.error is not None:
        return f"could not be compared: {one.error}"
    ids = f"{one.found}, judged was {one.judged}"
    if one.is_promised:
        return f"DIFFERENT, {ids}"
    said = f"other bytes, {ids}; {one.method} does not promise the same"
    return f"DIFFERENT, {said}" if one.differences else f"{said}; size and audit are the same"


def _details(one: "Remade") -> list[str]:
    return [f"  {line}" for line in (*one.differences, *one.notes)]
