"""The signed form of a statement: a DSSE envelope, version 1, with one signature or more."""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from gate.errors import RecordError
from gate.releasing.keys import PrivateKey, PublicKey
from gate.releasing.release import ENVELOPE_FILE
from gate.storing import write_durably
from gate.terms import Noun

PAYLOAD_TYPE = "application/vnd.in-toto+json"

_URL_SAFE = str.maketrans("-_", "+/")


class Signature(Noun):
    """A signature in base64, and a hint, which proves nothing, whose it is."""

    keyid: str = ""
    sig: str


class Envelope(Noun):
    """A DSSE envelope: what is signed, in base64, of which type, and by whom."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    payload: str
    payload_type: str = Field(alias="payloadType")
    signatures: tuple[Signature, ...] = Field(min_length=1)


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature signs: the type and the payload, each with its length.

    Source: github.com/secure-systems-lab/dsse, protocol.md, pre-authentication encoding.
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def signed_envelope(statement: Mapping[str, Any], key: PrivateKey) -> Envelope:
    """A statement in an envelope, signed by a key."""
    payload = json.dumps(statement, ensure_ascii=False, separators=(",", ":")).encode()
    signature = Signature(
        keyid=key.public.key_id, sig=_encoded(key.sign(pae(PAYLOAD_TYPE, payload)))
    )
    return Envelope(payload=_encoded(payload), payload_type=PAYLOAD_TYPE, signatures=(signature,))


def signatures_by(envelope: Envelope, key: PublicKey) -> tuple[Signature, ...]:
    """Those of an envelope's signatures that are by this key and of this type and payload.

    Raises:
        RecordError: the payload or a signature is not in base64.
    """
    signed = pae(envelope.payload_type, payload_of(envelope))
    return tuple(one for one in envelope.signatures if key.has_signed(signed, _decoded(one.sig)))


def payload_of(envelope: Envelope) -> bytes:
    """What is signed, as bytes, whoever signed it.

    Raises:
        RecordError: it is not in base64.
    """
    return _decoded(envelope.payload)


def write_envelope(folder: Path, envelope: Envelope) -> None:
    """Put an envelope into a release, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    file = folder / ENVELOPE_FILE
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    write_durably(fresh, _text(envelope))
    fresh.replace(file)


def read_envelope(folder: Path) -> Envelope:
    """The envelope of a release, which has to be written as `write_envelope` writes it.

    DSSE leaves a choice of alphabets, spaces and further fields, none of which is signed. Here
    there is none, so that no byte of the file can change unseen.

    Raises:
        RecordError: missing, no envelope, or written in another way.
    """
    file = folder / ENVELOPE_FILE
    if file.is_symlink() or not file.is_file():
        raise RecordError(f"{ENVELOPE_FILE} is missing: the release is not signed")
    try:
        content = file.read_bytes()
        envelope = Envelope.model_validate_json(content)
    except ValidationError as error:
        raise RecordError(
            f"{ENVELOPE_FILE} is no DSSE envelope: {error.errors()[0]['msg']}"
        ) from error
    except OSError as error:
        raise RecordError(f"cannot read {ENVELOPE_FILE}: {error.strerror or error}") from error
    if content != _text(_in_standard_form(envelope)).encode():
        raise RecordError(f"{ENVELOPE_FILE} was changed: it is not written as it was signed")
    return envelope


def _text(envelope: Envelope) -> str:
    return envelope.model_dump_json(indent=1) + "\n"


def _in_standard_form(envelope: Envelope) -> Envelope:
    """The same payload and signatures, in the one form of base64 that is written here."""
    signatures = tuple(
        one.model_copy(update={"sig": _encoded(_decoded(one.sig))}) for one in envelope.signatures
    )
    payload = _encoded(payload_of(envelope))
    return envelope.model_copy(update={"payload": payload, "signatures": signatures})


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str) -> bytes:
    """Base64 in either alphabet, as DSSE asks of verifiers.

    Raises:
        RecordError: it is neither.
    """
    try:
        return base64.b64decode(text.translate(_URL_SAFE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError(f"{ENVELOPE_FILE} has a part that is not in base64") from error
