"""Keys: what is made, who can read it, what is refused, and that OpenSSL agrees."""

import hashlib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gate.errors import ConfigError, StageError
from gate.releasing.keys import (
    KEY_TYPES,
    read_private_key,
    read_public_key,
    write_key_pair,
)

MESSAGE = b"what is released"


@pytest.fixture(params=KEY_TYPES)
def pair(request, tmp_path):
    return write_key_pair(tmp_path / "release.key", key_type=request.param)


def written(file, key, encryption=None):
    """A private key as a PEM file."""
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    file.write_bytes(content)
    return file


def test_what_the_private_key_signs_the_public_one_verifies(pair):
    signature = read_private_key(pair.private).sign(MESSAGE)
    assert read_public_key(pair.public).has_signed(MESSAGE, signature)


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_changed_signature_or_message_is_not_verified(pair, at):
    signature = bytearray(read_private_key(pair.private).sign(MESSAGE))
    public = read_public_key(pair.public)
    assert not public.has_signed(MESSAGE + b".", bytes(signature))
    signature[at] ^= 1
    assert not public.has_signed(MESSAGE, bytes(signature))


def test_another_key_does_not_verify(pair, tmp_path):
    other = write_key_pair(tmp_path / "other", key_type="ed25519")
    signature = read_private_key(pair.private).sign(MESSAGE)
    assert not read_public_key(other.public).has_signed(MESSAGE, signature)


def test_only_the_owner_can_read_the_private_key(pair):
    assert stat.S_IMODE(pair.private.stat().st_mode) == 0o600
    assert pair.public.name == "release.key.pub"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_knows_the_key_by_the_same_id(pair):
    command = ["openssl", "pkey", "-pubin", "-in", pair.public, "-outform", "DER"]
    der = subprocess.run(command, capture_output=True, check=True).stdout
    assert hashlib.sha256(der).hexdigest() == pair.key_id


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_verifies_a_signature(pair, tmp_path):
    (tmp_path / "message").write_bytes(MESSAGE)
    (tmp_path / "signature").write_bytes(read_private_key(pair.private).sign(MESSAGE))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pair.public, "-rawin"]
    command += ["-in", tmp_path / "message", "-sigfile", tmp_path / "signature"]
    assert (
        "Verified Successfully"
        in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )


def test_no_key_is_overwritten(pair):
    before = pair.private.read_bytes()
    with pytest.raises(ConfigError, match=r"release\.key is there already"):
        write_key_pair(pair.private, key_type="ed25519")
    assert pair.private.read_bytes() == before


def test_no_private_key_is_left_where_the_public_one_cannot_be_written(tmp_path):
    (tmp_path / "new.pub").write_text("another's")
    with pytest.raises(ConfigError, match=r"new\.pub is there already"):
        write_key_pair(tmp_path / "new", key_type="ecdsa")
    assert [path.name for path in tmp_path.iterdir()] == ["new.pub"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StageError, match=r"cannot write .*gone/new: No such file") as caught:
        write_key_pair(tmp_path / "gone" / "new", key_type="ed25519")
    assert caught.value.hint == (
        "give a name in a folder that is there and has room, such as release.key"
    )


@pytest.mark.parametrize("out", ["", ".", "/"])
def test_what_is_no_name_of_a_file_is_refused(out):
    with pytest.raises(ConfigError, match=r"is no name of a file\n  hint: give one, such as"):
        write_key_pair(Path(out), key_type="ed25519")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "RSA"),
        (ed448.Ed448PrivateKey.generate, "Ed448"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "secp384r1"),
    ],
)
def test_a_key_of_another_type_is_refused_by_name(tmp_path, make, name):
    key = make()
    private = written(tmp_path / "key", key)
    public = tmp_path / "key.pub"
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ConfigError, match=f"is of an unknown type, {name}\n"):
        read_private_key(private)
    with pytest.raises(ConfigError, match=f"is of an unknown type, {name}\n"):
        read_public_key(public)


def test_a_key_with_a_passphrase_is_refused_with_a_way_out(tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    file = written(tmp_path / "key", key, BestAvailableEncryption(b"secret"))
    with pytest.raises(ConfigError, match=r"has a passphrase(.|\n)*openssl pkey -in"):
        read_private_key(file)


def test_the_two_files_are_told_apart(pair):
    with pytest.raises(ConfigError, match=r"release\.key is a private key"):
        read_public_key(pair.private)
    with pytest.raises(ConfigError, match=r"release\.key\.pub is a public key"):
        read_private_key(pair.public)


@pytest.mark.parametrize("content", [b"", b"ssh-ed25519 AAAA", b"\x00\xff", b"-----BEGIN X-----"])
@pytest.mark.parametrize("read", [read_private_key, read_public_key])
def test_what_is_no_key_is_refused(tmp_path, content, read):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=r"is no (private|public) key in PEM form"):
        read(tmp_path / "key")


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the key .*none: No such file"):
        read_public_key(tmp_path / "none")


def test_the_same_message_is_signed_the_same_so_that_a_repeated_promotion_changes_nothing(pair):
    key = read_private_key(pair.private)
    assert key.sign(MESSAGE) == key.sign(MESSAGE)
