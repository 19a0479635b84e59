"""Whether a release is what was judged and signed: every byte of it, and what its record says."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from gate.errors import ConfigError, RecordError
from gate.presentation import count, one_line, printable, size
from gate.records import Record
from gate.releasing.archived_adapters import archive_faults
from gate.releasing.claims import envelope_of, read_claims, signature_faults
from gate.releasing.envelope import Envelope
from gate.releasing.keys import read_public_key
from gate.releasing.manifest import Manifest, manifest_faults, read_manifest
from gate.releasing.release import RECORD_FILE
from gate.releasing.standing import standing_faults, verdict_on
from gate.reporting.report_files import read_record
from gate.reporting.signoff_views import signoff_lines

_SHOWN_CHARACTERS = 80


def verify(folder: Path, *, key: Path | None, policy: str | None, today: date) -> tuple[str, ...]:
    """Everything that shows that a release is not what was judged, or may not be used any more.

    Every byte is read. Without a key nothing proves who made the release: whoever can write into
    it can make it again from other files.

    Args:
        folder: of the release.
        key: file of the public key by which it has to be signed; None for any, and for none.
        policy: content id of the checks by which it has to be judged; None for any.
        today: in UTC, on which waivers and approvals have to hold.

    Returns:
        A sentence for each fault; none where the release is verified.

    Raises:
        ConfigError: the folder is none, or the key cannot be read.
        OSError: a file or folder cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", hint="the folder of a release, or a link to it")
    public = None if key is None else read_public_key(key)
    folder = folder.resolve()
    manifest = _manifest(folder)
    return (
        *manifest_faults(folder),
        *signature_faults(folder, manifest, public),
        *_record_faults(folder, manifest, policy=policy, today=today),
    )


def released_variant(folder: Path, record: Record, manifest: Manifest) -> str | None:
    """The variant that a release is of: the one that is signed, else the one its files are of.

    Of several variants with the same files it is the first that may go out. None where the record
    judged no such files.
    """
    signed = _signed_variant(folder)
    if signed is not None:
        return signed
    made = variants_of(record, manifest.artifact_digest)
    verdicts = {name: verdict_on(record, name) for name in made}
    promoted = (name for name, one in verdicts.items() if one and one.verdict == "promote")
    return next(promoted, next(iter(made), None))


def description(folder: Path, *, key: Path | None) -> str:
    """What a verified release is, in lines: its name and size, policy, sign-offs and signature.

    Args:
        folder: of the release, which has no faults.
        key: file of the public key by which it is signed; None where none was looked at.

    Raises:
        RecordError: a part of it cannot be read.
        OSError: likewise.
    """
    folder = folder.resolve()
    record, manifest = read_record(folder / RECORD_FILE), read_manifest(folder)
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    named = f"{record.release} {released_variant(folder, record, manifest)}"
    policy = record.policy.digest if record.policy else "not recorded"
    return "\n".join(
        (
            f"verified: {one_line(named, 2 * _SHOWN_CHARACTERS)}, "
            f"{count(len(manifest.files), 'file')}, {size(size_bytes)}",
            f"content id: {manifest.artifact_digest}",
            f"policy: {one_line(policy, _SHOWN_CHARACTERS)}",
            *map(printable, signoff_lines(record)),
            f"signature: {_signature(envelope_of(folder), key)}",
        )
    )


def variants_of(record: Record, artifact_digest: str) -> tuple[str, ...]:
    """The variants of a record that are served from files of this content id."""
    return tuple(one.variant for one in record.artifacts if one.digest == artifact_digest)


def _signature(envelope: Envelope | None, key: Path | None) -> str:
    if envelope is None:
        return "none: whoever can write into the release can make another one"
    if key is not None:
        return f"by the key {read_public_key(key).key_id}"
    ids = ", ".join(one_line(one.keyid, _SHOWN_CHARACTERS) for one in envelope.signatures)
    return f"NOT CHECKED, said to be by {ids}: --key says by whose it has to be"


def _manifest(folder: Path) -> Manifest | None:
    """The manifest; None where there is none, which `manifest_faults` names."""
    try:
        return read_manifest(folder)
    except RecordError:
        return None


def _signed_variant(folder: Path) -> str | None:
    try:
        envelope = envelope_of(folder)
        return read_claims(envelope).variant if envelope else None
    except RecordError:
        return None


def _record_faults(
    folder: Path, manifest: Manifest | None, *, policy: str | None, today: date
) -> Iterator[str]:
    file = folder / RECORD_FILE
    if file.is_symlink() or not file.is_file():
        return  # the faults of the manifest name it
    try:
        record = read_record(file)
    except RecordError as error:
        yield error.problem
        return
    yield from _policy_faults(record, policy)
    if manifest is None:
        return
    variant = released_variant(folder, record, manifest)
    if variant is None or variant not in variants_of(record, manifest.artifact_digest):
        yield (
            f"{RECORD_FILE} did not judge these files: no artifact of "
            f"{one_line(record.release, _SHOWN_CHARACTERS)}"
            f"{f', {one_line(variant, _SHOWN_CHARACTERS)}' if variant else ''} "
            f"has the content id {manifest.artifact_digest}"
        )
    if variant is not None:
        yield from standing_faults(record, variant, today=today)
    yield from archive_faults(record.adapters, manifest)


def _policy_faults(record: Record, policy: str | None) -> Iterator[str]:
    if policy is None:
        return
    if record.policy is None:
        yield f"{RECORD_FILE} does not tell by which policy it was judged"
    elif record.policy.digest != policy:
        judged = one_line(record.policy.digest, _SHOWN_CHARACTERS)
        yield f"judged by the policy {judged}, not by {policy}"
