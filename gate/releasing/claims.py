"""What the signed statement of a release claims, by whose signature, and whether that is so."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gate.digest import digest_file
from gate.errors import RecordError
from gate.presentation import one_line
from gate.releasing.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    payload_of,
    read_envelope,
    signatures_by,
)
from gate.releasing.keys import PublicKey
from gate.releasing.manifest import Manifest
from gate.releasing.release import ENVELOPE_FILE, MANIFEST_FILE
from gate.releasing.statement import PREDICATE_TYPE, STATEMENT_TYPE
from gate.releasing.tree import shown

_PROMOTED = ("PASSED", "WARNED")
_SHOWN_CHARACTERS = 80


class Claims(NamedTuple):
    """A statement's content, as far as a release is verified by it.

    Attributes:
        result: PASSED, WARNED or FAILED.
        variant: the one that was released; None where it does not tell.
        files: {path: SHA-256} of its subjects.
    """

    result: str
    variant: str | None
    files: dict[str, str]


def read_claims(envelope: Envelope) -> Claims:
    """The claims in an envelope, whoever signed it.

    Fields that are not known here are passed over, as the specification of statements asks.

    Raises:
        RecordError: it is no in-toto Statement v1 with a test-result predicate.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise _refused(f"its payload is {one_line(envelope.payload_type, _SHOWN_CHARACTERS)}")
    try:
        content = json.loads(payload_of(envelope))
    except (ValueError, RecursionError) as error:
        raise _refused("its payload is not JSON") from error
    statement = _mapping(content)
    kinds = (statement.get("_type"), statement.get("predicateType"))
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise _refused(f"it is of the types {one_line(str(kinds), 2 * _SHOWN_CHARACTERS)}")
    predicate = _mapping(statement.get("predicate"))
    variant = _mapping(predicate.get("mergegate")).get("variant")
    return Claims(
        result=one_line(str(predicate.get("result")), _SHOWN_CHARACTERS),
        variant=variant if isinstance(variant, str) else None,
        files=dict(_subjects(statement.get("subject"))),
    )


def envelope_of(folder: Path) -> Envelope | None:
    """The signed statement of a release; None of one that has none.

    Raises:
        RecordError: what is in its place is no envelope.
    """
    file = folder / ENVELOPE_FILE
    return read_envelope(folder) if file.exists() or file.is_symlink() else None


def signature_faults(
    folder: Path, manifest: Manifest | None, key: PublicKey | None
) -> Iterator[str]:
    """What shows that a release was not signed, or not as it is: a sentence each.

    Args:
        folder: of the release.
        manifest: its own; None where it cannot be read, and then no file is compared.
        key: by which it has to be signed; None for any, and for none.

    Raises:
        OSError: the manifest cannot be read.
    """
    try:
        envelope = envelope_of(folder)
        if envelope is None:
            if key is not None:
                yield f"{ENVELOPE_FILE} is missing: the release is not signed"
            return
        if key is not None:
            yield from _key_faults(envelope, key)
        claims = read_claims(envelope)
    except RecordError as error:
        yield error.problem
        return
    if claims.result not in _PROMOTED:
        yield f"the signed statement says {claims.result}"
    if manifest is not None:
        files = {path: entry.sha256 for path, entry in manifest.files.items()}
        files[MANIFEST_FILE] = digest_file(folder / MANIFEST_FILE)
        yield from _subject_faults(claims.files, files)


def _key_faults(envelope: Envelope, key: PublicKey) -> Iterator[str]:
    """Why an envelope is not signed by a key, as far as the ids tell, which prove nothing."""
    named = [one_line(one.keyid, _SHOWN_CHARACTERS) for one in envelope.signatures]
    own = signatures_by(envelope, key)
    if any(one.keyid != key.key_id for one in own):
        yield f"{ENVELOPE_FILE} was changed: it names another key than the one that signed it"
    elif not own and key.key_id in named:
        yield f"{ENVELOPE_FILE} was changed after it was signed"
    elif not own:
        ids = ", ".join(one or "one without an id" for one in named)
        yield f"signed by another key: {ids}, not {key.key_id}"


def _subject_faults(signed: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """How files, {path: SHA-256}, are not those that were signed."""
    for path in sorted(found.keys() | signed.keys()):
        if path not in found:
            yield f"{shown(path)} was signed, and is not in the manifest"
        elif path not in signed:
            yield f"{shown(path)} was not signed"
        elif found[path] != signed[path]:
            yield f"{shown(path)} is not the one that was signed"


def _subjects(subjects: Any) -> Iterator[tuple[str, str]]:
    for one in subjects if isinstance(subjects, list) else ():
        subject = _mapping(one)
        yield str(subject.get("name")), str(_mapping(subject.get("digest")).get("sha256"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _refused(why: str) -> RecordError:
    return RecordError(
        f"{ENVELOPE_FILE} is no in-toto statement of a test result: {why}",
        hint="take the file that gate promote wrote",
    )
