"""gate promote: what may be released, published with its evidence; all else refused, and why."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.options import MovedAdapters, adapter_folders

if TYPE_CHECKING:
    from gate.releasing.promotion import Promotion
    from gate.releasing.release import Published, Release

_MOST_CHARACTERS = 2_000


def promote(
    record: Annotated[
        Path, typer.Argument(help="A record.json, or the directory of a run.", metavar="RECORD")
    ],
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to", help="A directory, hf://ORG/NAME, or mlflow:URI#MODEL.", metavar="TARGET"
        ),
    ],
    variant: Annotated[
        str | None,
        typer.Option("--variant", help="Which one, where several may ship.", metavar="NAME"),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="The private key to sign with: gate keygen.", metavar="PEM"),
    ] = None,
    publisher: Annotated[
        str | None,
        typer.Option(
            "--publisher", help="directory, hub, mlflow or one of your own.", metavar="NAME"
        ),
    ] = None,
    artifact: Annotated[
        Path | None,
        typer.Option(
            "--artifact", help="The variant's files, where the run's store is gone.", metavar="DIR"
        ),
    ] = None,
    adapters: MovedAdapters = None,
) -> None:
    """Publish a variant that the gate promoted, with the evidence; refuse any other, and say why.

    The artifact and its adapters are hashed again: what is not byte for byte what was judged is
    refused. So is a verdict other than promote, a record whose sign-offs do not hold or reject
    the release, and a waiver that has ended. The exit status is 1, and nothing is published.

    A release is a folder that engines load as it is, with a model card, and in mergegate/ the
    record, its reports, the adapters, and a manifest that --key signs. It appears under its name
    whole or not at all, and becomes current last.

    \b
    gate promote reports/v3/20261122T101500Z --to releases --key release.key
    gate promote reports/v3/20261122T101500Z --to hf://acme/support --variant q8_0
    """  # noqa: D301 - \b is typer's mark of lines that are not to be filled
    from gate.releasing import promotion

    done = promotion.promote(
        record,
        to=to,
        today=datetime.now(UTC).date(),
        variant=variant,
        publisher=publisher,
        key=key,
        artifact=artifact,
        adapters=adapter_folders(adapters or ()),
    )
    sys.stdout.write(_told(done, is_signed=key is not None))
    if done.refusals:
        raise typer.Exit(1)


def _told(done: "Promotion", *, is_signed: bool) -> str:
    """Where it is published, or why it is not, a line each."""
    from gate.presentation import one_line, printable

    if done.release is None or done.published is None:
        lines = [f"refused: {one_line(reason, _MOST_CHARACTERS)}" for reason in done.refusals]
        lines.append(f"not promoted: {done.variant}")
    else:
        lines = _published(done.release, done.published, is_signed=is_signed)
    return printable("\n".join(lines)) + "\n"


def _published(release: "Release", published: "Published", *, is_signed: bool) -> list[str]:
    lines = [
        f"promoted: {release.artifact_name}",
        f"content id: {release.digest}",
        f"published: {published.place}",
        f"before: {published.before or 'nothing'}",
    ]
    if not is_signed:
        lines.append("not signed: with --key PEM, gate verify can tell who made it")
    return lines
