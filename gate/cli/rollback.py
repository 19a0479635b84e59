"""gate rollback: the link `current` of a directory of releases, back to an earlier one."""

import sys
from pathlib import Path
from typing import Annotated

import typer

_MOST_CHARACTERS = 2_000


def rollback(
    target: Annotated[
        Path, typer.Argument(help="A directory that was promoted to.", metavar="TARGET")
    ],
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="The release; without it what was current before.", metavar="RELEASE"
        ),
    ] = None,
) -> None:
    """Make an earlier release current again, by one rename of the link, and say which.

    Every byte of it is checked first. A release that is not whole does not become current: each
    fault is named, and the exit status is 1. No release is removed. Once more goes back further.

    \b
    gate rollback releases
    gate rollback releases --to v2-q8_0
    """  # noqa: D301 - \b is typer's mark of lines that are not to be filled
    from gate.presentation import one_line, printable
    from gate.releasing.rollback import roll_back

    found = roll_back(target, to=to)
    if found.faults:
        for fault in found.faults:
            sys.stdout.write(f"fault: {one_line(fault, _MOST_CHARACTERS)}\n")
        still = f"{found.release} is not whole, current is {found.before or 'nothing'}"
        sys.stdout.write(f"not rolled back: {printable(still)}\n")
        raise typer.Exit(1)
    was = f", which was {found.before}" if found.before else ""
    sys.stdout.write(f"{printable(f'current: {found.release}{was}')}\n")
