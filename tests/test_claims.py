"""The signature of a release: by whom, of what, and that no byte of it can change unseen."""

import base64
import shutil
from datetime import date

import pytest
from signed_release import released, reseal

from gate.releasing.claims import signature_faults
from gate.releasing.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    Signature,
    read_envelope,
    signed_envelope,
    write_envelope,
)
from gate.releasing.keys import KEY_TYPES, read_private_key, read_public_key, write_key_pair
from gate.releasing.release import ENVELOPE_FILE
from gate.releasing.verification import verify

TODAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_key_pair(tmp_path_factory.mktemp("keys") / "release.key", key_type="ed25519")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_key_pair(tmp_path_factory.mktemp("keys") / "other.key", key_type="ed25519")


@pytest.fixture
def release(tmp_path, pair):
    """A signed release, to be tampered with."""
    return released(tmp_path / "v3", key=pair.private)


def faults(folder, pair=None):
    return verify(folder, key=pair and pair.public, policy=None, today=TODAY)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_no_byte_of_the_envelope_can_change_unseen(release, tmp_path, key_type):
    pair = write_key_pair(tmp_path / "key", key_type=key_type)
    reseal(release.folder, release.record, key=pair.private)
    assert faults(release.folder, pair) == ()
    file, key = release.folder / ENVELOPE_FILE, read_public_key(pair.public)
    content = file.read_bytes()
    payload_ends = content.index(b'",', len('{\n "payload": "'))
    unseen = []
    for at in (*range(0, payload_ends, 41), *range(payload_ends - 4, len(content))):
        for flip in (0x01, 0x06, 0x20):
            file.write_bytes(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
            if not list(signature_faults(release.folder, None, key)):
                unseen.append((at, flip))
    assert unseen == []


@pytest.mark.parametrize("payload", ["", "\x00", "[" * 100_000, "null", '"text"'])
def test_a_payload_that_is_no_statement_is_named(release, payload):
    encoded = base64.b64encode(payload.encode()).decode()
    made = Envelope(payload=encoded, payload_type=PAYLOAD_TYPE, signatures=(Signature(sig=""),))
    write_envelope(release.folder, made)
    (fault,) = faults(release.folder)
    assert fault.startswith(
        "mergegate/statement.dsse.json is no in-toto statement of a test result: it"
    )


def test_a_removed_signature_is_named(release, pair):
    (release.folder / ENVELOPE_FILE).unlink()
    assert faults(release.folder, pair) == (
        "mergegate/statement.dsse.json is missing: the release is not signed",
    )


def test_a_release_signed_by_another_key_is_named_with_both(release, pair, other):
    reseal(release.folder, release.record, key=other.private)
    assert faults(release.folder, pair) == (
        f"signed by another key: {other.key_id}, not {pair.key_id}",
    )


def test_a_signature_that_claims_to_be_by_the_key_and_is_not_is_named(release, pair, other):
    reseal(release.folder, release.record, key=other.private)
    forged = read_envelope(release.folder)
    (signature,) = forged.signatures
    renamed = signature.model_copy(update={"keyid": pair.key_id})
    write_envelope(release.folder, forged.model_copy(update={"signatures": (renamed,)}))
    assert faults(release.folder, pair) == (
        "mergegate/statement.dsse.json was changed after it was signed",
    )


def test_one_signature_of_several_is_enough(release, pair, other):
    reseal(release.folder, release.record, key=other.private)
    foreign = read_envelope(release.folder)
    reseal(release.folder, release.record, key=pair.private)
    own = read_envelope(release.folder)
    both = own.model_copy(update={"signatures": (*foreign.signatures, *own.signatures)})
    write_envelope(release.folder, both)
    assert faults(release.folder, pair) == faults(release.folder, other) == ()


def test_the_signature_of_another_release_is_no_signature_of_this_one(release, pair, tmp_path):
    another = released(
        tmp_path / "v4",
        key=pair.private,
        change=lambda record: record.model_copy(update={"release": "support-bot-v4"}),
    )
    shutil.copyfile(another.folder / ENVELOPE_FILE, release.folder / ENVELOPE_FILE)
    assert faults(release.folder, pair) == (
        "mergegate/manifest.json is not the one that was signed",
        "mergegate/record.json is not the one that was signed",
    )


def test_a_statement_that_says_failed_is_named(release, pair):
    reseal(release.folder, release.record, key=pair.private, variant="w8a8")
    found = faults(release.folder, pair)
    assert "the signed statement says FAILED" in found
    assert "w8a8 was not up for release" in found
    assert any("of support-bot-v3, w8a8 has the content id" in fault for fault in found)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "it is of the types"),
        ({}, "it is of the types"),
    ],
)
def test_another_statement_signed_by_the_key_is_none_about_this_release(
    release, pair, statement, why
):
    write_envelope(release.folder, signed_envelope(statement, read_private_key(pair.private)))
    (fault,) = faults(release.folder, pair)
    assert fault.startswith(
        f"mergegate/statement.dsse.json is no in-toto statement of a test result: {why}"
    )


def test_a_payload_of_another_type_is_not_read_as_a_statement(release):
    made = Envelope(payload="e30=", payload_type="text/plain", signatures=(Signature(sig=""),))
    write_envelope(release.folder, made)
    assert faults(release.folder) == (
        "mergegate/statement.dsse.json is no in-toto statement of a test result: "
        "its payload is text/plain",
    )
