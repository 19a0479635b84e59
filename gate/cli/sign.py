"""gate sign: approve or reject a release, or waive one of its checks, in the record itself."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from gate.cli.options import one_of
from gate.errors import ConfigError

if TYPE_CHECKING:
    from gate.records import Record


def sign(
    record: Annotated[
        Path, typer.Argument(help="A record.json, or the directory of a run.", metavar="RECORD")
    ],
    *,
    name: Annotated[str, typer.Option("--as", help="Who decides.", metavar="NAME")],
    decision: Annotated[
        str, typer.Option("--decision", help="approve, reject or waive.", metavar="DECISION")
    ],
    reason: Annotated[
        str, typer.Option("--reason", help="Why, in at most 2,000 characters.", metavar="TEXT")
    ],
    check: Annotated[
        str | None,
        typer.Option(
            "--check",
            help="Of a waiver: the check, by its name or by its number in the report.",
            metavar="LABEL",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            help="The last day on which it counts, in UTC: 2026-12-31. A waiver needs one.",
            metavar="DATE",
        ),
    ] = None,
) -> None:
    """Sign a record: approve or reject the release, or waive one check that did not pass.

    The entry is added to record.json, chained by its digest to the entries before it and to
    everything the run found, and the reports are rendered again. No signature changes a verdict:
    a waiver is shown beside it, until it ends. Note the digest that is printed where others
    cannot change it: with it anyone can tell whether the record is still the one you signed.

    \b
    gate sign reports/v3/20261122T101500Z --as "Ada Lovelace" --decision approve \\
      --reason "All four tasks within their margins."
    gate sign reports/v3/20261122T101500Z --as "Ada Lovelace" --decision waive \\
      --check "q4_k_m-vs-merged[intent]:delta" --until 2026-12-31 \\
      --reason "Only the pilot group gets it."
    """  # noqa: D301 - \b is typer's mark of lines that are not to be filled
    from gate import signoff
    from gate.reporting.report_files import REPORT_FILE
    from gate.reporting.signing import sign_file
    from gate.signoff_records import Decision

    decided = one_of("--decision", decision, get_args(Decision))
    last_day = None if until is None else _day(until)

    def add_entry(read: "Record") -> "Record":
        now = datetime.now(UTC)
        return signoff.signed(
            read, name=name, decision=decided, reason=reason, check=check, until=last_day, at=now
        )

    signed = sign_file(record, add_entry)
    directory = record if record.is_dir() else record.parent
    sys.stdout.write(_told(signed))
    sys.stdout.write(f"report: {directory / REPORT_FILE}\n")


def _day(text: str) -> date:
    """A day as written: 2026-12-31.

    Raises:
        ConfigError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--until {text}: no date", hint="for example 2026-12-31") from error


def _told(record: "Record") -> str:
    """What was signed, what that leaves as it is, and the digest to note."""
    from gate.presentation import count, printable
    from gate.reporting.signoff_views import signoff_lines

    entry = record.signoff[-1]
    lines = [f"signed: {signoff_lines(record)[-1]}"]
    if record.verdict != "promote" and entry.decision != "reject":
        lines.append(f"the verdict stays {record.verdict}: no signature changes it")
    lines.append(f"chain: {count(len(record.signoff), 'sign-off')}, digest {entry.digest}")
    return printable("\n".join(lines)) + "\n"
