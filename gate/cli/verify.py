"""gate verify: whether a release is what was judged and signed, down to the last byte."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gate.errors import ConfigError

_DIGEST_CHARACTERS = 64
_MOST_CHARACTERS = 2_000


def verify(
    folder: Annotated[
        Path, typer.Argument(help="The folder of a release, or a link to it.", metavar="DIR")
    ],
    *,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="The public key it has to be signed by.", metavar="PUB"),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="The content id of the policy it has to be judged by.",
            metavar="DIGEST",
        ),
    ] = None,
) -> None:
    """Verify a release: every byte, the signature, the record, its verdict and its sign-offs.

    Each fault is named, and the exit status is 1. Without --key nothing proves who made the
    release, and the last line says so. The content id of a policy is in every report of a run.

    \b
    gate verify releases/current --key release.key.pub
    """  # noqa: D301 - \b is typer's mark of lines that are not to be filled
    from gate.presentation import one_line, printable
    from gate.releasing import verification

    if policy is not None and not _is_digest(policy):
        raise ConfigError(
            f"--policy {policy}: no content id", hint="64 hex digits, as in summary.md of a run"
        )
    try:
        faults = verification.verify(folder, key=key, policy=policy, today=datetime.now(UTC).date())
        told = "" if faults else verification.description(folder, key=key)
    except OSError as error:
        raise ConfigError(
            f"cannot read {error.filename or folder}: {error.strerror or error}",
            hint="nothing was verified: every file has to be readable",
        ) from error
    if faults:
        told = "".join(f"fault: {one_line(fault, _MOST_CHARACTERS)}\n" for fault in faults)
        sys.stdout.write(f"{told}not verified: {printable(str(folder))}\n")
        raise typer.Exit(1)
    sys.stdout.write(f"{told}\n")


def _is_digest(text: str) -> bool:
    return len(text) == _DIGEST_CHARACTERS and set(text) <= set("0123456789abcdef")
