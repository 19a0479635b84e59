"""Signing a release: the last thing that is written into it."""

from pathlib import Path

from gate.digest import digest_file
from gate.records import Record
from gate.releasing.envelope import signed_envelope, write_envelope
from gate.releasing.keys import PrivateKey
from gate.releasing.manifest import Manifest
from gate.releasing.release import MANIFEST_FILE
from gate.releasing.statement import statement


def sign_release(
    folder: Path, record: Record, manifest: Manifest, *, variant: str, key: PrivateKey
) -> None:
    """Put the signed statement about a release into it, after which nothing may change.

    Args:
        folder: of the release, with its manifest.
        record: that was judged.
        manifest: as `write_manifest` wrote it.
        variant: the one that is released.
        key: of `read_private_key`.

    Raises:
        OSError: the manifest cannot be read, or the statement not be written.
    """
    told = statement(
        record, manifest, variant=variant, manifest_sha256=digest_file(folder / MANIFEST_FILE)
    )
    write_envelope(folder, signed_envelope(told, key))
