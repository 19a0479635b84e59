"""gate history: a page of all releases, from the records in a folder of reports."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.options import DEFAULT_REPORTS


def history(
    reports: Annotated[
        Path, typer.Argument(help="The folder of <release>/<run>/record.json.", metavar="REPORTS")
    ] = DEFAULT_REPORTS,
) -> None:
    """Write index.html of all releases: verdicts, scores and sizes over time."""
    from gate.history.index_files import INDEX_FILE, write_index
    from gate.presentation import count, printable

    found = write_index(reports)
    for one in found.unreadable:
        place = printable("/".join(one.place))
        sys.stderr.write(f"left out: {place} {printable(one.reason)}\n")
    sys.stdout.write(f"{count(len(found.runs), 'run')}: {reports / INDEX_FILE}\n")
