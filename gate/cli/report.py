"""gate report: render a record again, from the record alone."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def report(
    record: Annotated[
        Path, typer.Argument(help="A record.json, or the directory of a run.", metavar="RECORD")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write here instead of beside the record.")
    ] = None,
) -> None:
    """Render report.html, summary.md and junit.xml of a record again."""
    from gate.reporting.report_files import read_record, render, write_reports

    read = read_record(record)
    directory = out or (record if record.is_dir() else record.parent)
    write_reports(read, directory)
    sys.stdout.write(render(read, "text"))
    sys.stdout.write(f"\nreport: {directory / 'report.html'}\n")
