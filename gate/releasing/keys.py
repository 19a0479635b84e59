"""Keys that releases are signed with: Ed25519, or ECDSA on the curve P-256, in PEM files."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gate.errors import ConfigError, StageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

KeyType = Literal["ed25519", "ecdsa"]
KEY_TYPES: tuple[KeyType, ...] = ("ed25519", "ecdsa")

_CURVE = "secp256r1"
"""P-256, by the name that cryptography has for it."""

_KNOWN = "keys are Ed25519, or ECDSA on P-256: make a pair with 'gate keygen'"


class KeyPair(NamedTuple):
    """A fresh pair of keys, and the id by which envelopes name it.

    Attributes:
        private: its file, which only its owner can read.
        public: its file, to be given to whoever verifies.
        key_id: the SHA-256 of the public key's DER form.
    """

    private: Path
    public: Path
    key_id: str


class PrivateKey:
    """What signs."""

    def __init__(
        self, key: "ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey", public: "PublicKey"
    ) -> None:
        """Hold a key and the public one that belongs to it."""
        self._key = key
        self.public = public

    def sign(self, message: bytes) -> bytes:
        """The signature of a message: 64 bytes of Ed25519, or DER of ECDSA with SHA-256."""
        from cryptography.hazmat.primitives.asymmetric import ed25519

        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, _ecdsa_algorithm())


class PublicKey:
    """What verifies."""

    def __init__(self, key: "ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey") -> None:
        """Hold a key."""
        self._key = key

    @property
    def key_id(self) -> str:
        """The SHA-256 of the key as DER (SubjectPublicKeyInfo), in hex."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        der = self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether a signature is of this message and by this key."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ed25519

        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, _ecdsa_algorithm())
        except InvalidSignature:
            return False
        return True


def write_key_pair(out: Path, *, key_type: KeyType) -> KeyPair:
    """Make a pair of keys: the private one in `out`, mode 0600, the public one in `out`.pub.

    Neither file is ever overwritten, and neither is left without the other.

    Raises:
        ConfigError: one of the files is there already, or `out` names none.
        StageError: the files cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if key_type == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public = key.public_key().public_bytes(
        forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo
    )
    if not out.name:
        raise ConfigError(f"{out} is no name of a file", hint="give one, such as release.key")
    public_file = out.with_name(f"{out.name}.pub")
    _write_new(out, private, mode=0o600)
    try:
        _write_new(public_file, public, mode=0o644)
    except BaseException:
        out.unlink()
        raise
    return KeyPair(out, public_file, PublicKey(key.public_key()).key_id)


def read_private_key(file: Path) -> PrivateKey:
    """The private key in a PEM file.

    Raises:
        ConfigError: missing, unreadable, no private key, with a passphrase, or of another type.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = _loaded(file, lambda pem: load_pem_private_key(pem, password=None), kind="private")
    _require_type(file, key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey))
    return PrivateKey(key, PublicKey(key.public_key()))


def read_public_key(file: Path) -> PublicKey:
    """The public key in a PEM file.

    Raises:
        ConfigError: missing, unreadable, no public key, or of another type.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = _loaded(file, load_pem_public_key, kind="public")
    _require_type(file, key, (ed25519.Ed25519PublicKey, ec.EllipticCurvePublicKey))
    return PublicKey(key)


def _ecdsa_algorithm() -> "ec.ECDSA":
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    # the same signature again, so that a promotion which is repeated changes nothing (RFC 6979)
    return ec.ECDSA(SHA256(), deterministic_signing=True)


def _loaded(file: Path, load: Callable[[bytes], Any], *, kind: str) -> Any:
    """What a loader of cryptography makes of a PEM file.

    Raises:
        ConfigError: the file is missing or unreadable, or the loader refuses it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        pem = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the key {file}: {error.strerror or error}",
            hint="a pair is made with 'gate keygen OUT': OUT signs, OUT.pub verifies",
        ) from error
    if kind == "public" and b"PRIVATE KEY-----" in pem:
        raise ConfigError(
            f"{file} is a private key", hint="what verifies is the public one beside it, in .pub"
        )
    if kind == "private" and b"PUBLIC KEY-----" in pem:
        raise ConfigError(
            f"{file} is a public key", hint="what signs is the private one, without .pub"
        )
    try:
        return load(pem)
    except TypeError as error:
        raise ConfigError(
            f"the key {file} has a passphrase, and the gate asks for none",
            hint=f"keep one without where it is used: openssl pkey -in {file} -out KEY",
        ) from error
    except UnsupportedAlgorithm as error:
        raise ConfigError(f"the key {file} is of an unknown type", hint=_KNOWN) from error
    except ValueError as error:
        raise ConfigError(f"{file} is no {kind} key in PEM form", hint=_KNOWN) from error


def _require_type(file: Path, key: Any, known: tuple[type, ...]) -> None:
    """A key of a type that releases are signed with.

    Raises:
        ConfigError: another one.
    """
    curve = getattr(key, "curve", None)
    if isinstance(key, known) and (curve is None or curve.name == _CURVE):
        return
    kind = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
    found = curve.name if curve else kind
    raise ConfigError(f"the key {file} is of an unknown type, {found}", hint=_KNOWN)


def _write_new(file: Path, content: bytes, *, mode: int) -> None:
    """Write a file that is not there yet, on disk when this returns; half of one does not stay.

    Raises:
        ConfigError: it is there.
        StageError: it cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise ConfigError(
            f"{file} is there already", hint="no key is overwritten: choose another name"
        ) from error
    except OSError as error:
        raise _unwritten(file, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException as error:
        file.unlink()
        if isinstance(error, OSError):
            raise _unwritten(file, error) from error
        raise


def _unwritten(file: Path, error: OSError) -> StageError:
    return StageError(
        f"cannot write {file}: {error.strerror or error}",
        hint="give a name in a folder that is there and has room, such as release.key",
    )
