"""gate keygen: a pair of keys to sign releases with, and to verify them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.options import one_of


def keygen(
    out: Annotated[
        Path,
        typer.Argument(
            help="The private key's file; the public one's is beside it.", metavar="OUT"
        ),
    ],
    *,
    key_type: Annotated[str, typer.Option("--type", help="ed25519 or ecdsa (P-256).")] = "ed25519",
) -> None:
    """Make a pair of keys: OUT signs releases (gate promote --key), OUT.pub verifies them.

    OUT can be read by its owner only, and has no passphrase: keep it where secrets are kept. Give
    OUT.pub to everyone who runs gate verify, by another way than the releases themselves. No file
    is overwritten.
    """
    from gate.presentation import printable
    from gate.releasing.keys import KEY_TYPES, write_key_pair

    pair = write_key_pair(out, key_type=one_of("--type", key_type, KEY_TYPES))
    sys.stdout.write(f"private key: {printable(str(pair.private))}\n")
    sys.stdout.write(f"public key: {printable(str(pair.public))}\n")
    sys.stdout.write(f"key id: {pair.key_id}\n")
