"""gate report: render a record again, from the record alone."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.ci import announce, without_commands
from gate.errors import ConfigError


def report(
    record: Annotated[
        Path, typer.Argument(help="A record.json, or the directory of a run.", metavar="RECORD")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write here instead of beside the record.")
    ] = None,
) -> None:
    """Render every report of a record again: report.html, summary.md, junit.xml and the others."""
    from gate.reporting.report_files import REPORT_FILE, read_record, render, write_reports

    read = read_record(record)
    directory = out or (record if record.is_dir() else record.parent)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_reports(read, directory)
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written: {error.strerror or error}") from error
    with without_commands(sys.stdout, os.environ):
        sys.stdout.write(render(read, "text"))
        sys.stdout.write(f"\nreport: {directory / REPORT_FILE}\n")
    announce(read, os.environ, out=sys.stdout, errors=sys.stderr)
