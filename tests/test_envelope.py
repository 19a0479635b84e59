"""DSSE: the published vectors, and what a release accepts of an envelope."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gate.errors import RecordError
from gate.releasing.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    Signature,
    pae,
    payload_of,
    read_envelope,
    signatures_by,
    signed_envelope,
    write_envelope,
)
from gate.releasing.keys import PrivateKey, PublicKey
from gate.releasing.release import ENVELOPE_FILE

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ=="
SIGNED = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="
URL_SAFE = (
    "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw=="
)
EMPTY = "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg=="
UMLAUT = "xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw=="
SECOND = "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw=="


def key_of(seed):
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    return PrivateKey(private, PublicKey(private.public_key()))


# RFC 8032, section 7.1, tests 1 and 2, as in testvectors/vectors.json of secure-systems-lab/dsse
A = key_of("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
B = key_of("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")


def envelope(payload=STATEMENT, *, kind=IN_TOTO, signatures=(SIGNED,)):
    named = tuple(Signature(sig=one) for one in signatures)
    return Envelope(payload=payload, payload_type=kind, signatures=named)


def test_the_encoding_is_that_of_the_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize(
    ("kind", "payload", "encoded"),
    [
        (
            IN_TOTO,
            base64.b64decode(STATEMENT),
            "445353457631203238206170706c69636174696f6e2f766e642e696e2d746f746f2b6a736f6e203433207b"
            "225f74797065223a2268747470733a2f2f696e2d746f746f2e696f2f53746174656d656e742f7631227d",
        ),
        (
            "application/vnd.ex\u00e4mple+json",
            base64.b64decode(STATEMENT),
            "445353457631203239206170706c69636174696f6e2f766e642e6578c3a46d706c652b6a736f6e20343320"
            "7b225f74797065223a2268747470733a2f2f696e2d746f746f2e696f2f53746174656d656e742f7631227d",
        ),
        (IN_TOTO, b"", b"DSSEv1 28 application/vnd.in-toto+json 0 ".hex()),
    ],
)
def test_the_encoding_is_that_of_the_published_vectors(kind, payload, encoded):
    assert pae(kind, payload).hex() == encoded


@pytest.mark.parametrize(
    "accepted",
    [
        pytest.param(envelope(), id="single-signature"),
        pytest.param(envelope("-_-_Pj8=", signatures=(URL_SAFE,)), id="url-safe-base64"),
        pytest.param(
            envelope(kind="application/vnd.ex\u00e4mple+json", signatures=(UMLAUT,)),
            id="non-ascii-payload-type",
        ),
        pytest.param(envelope("", signatures=(EMPTY,)), id="empty-payload"),
        pytest.param(envelope(signatures=(SECOND, SIGNED)), id="one-signature-of-two"),
    ],
)
def test_a_published_signature_is_accepted(accepted):
    assert len(signatures_by(accepted, A.public)) == 1


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(envelope(kind="application/vnd.example.other+json"), id="type-swapped"),
        pytest.param(envelope(""), id="another-payload"),
        pytest.param(envelope(signatures=(SECOND,)), id="another-key"),
        pytest.param(envelope(signatures=("",)), id="no-signature"),
    ],
)
def test_a_signature_of_something_else_is_not_accepted(refused):
    assert signatures_by(refused, A.public) == ()


def test_the_ecdsa_example_of_the_specification_is_accepted():
    x = 46950820868899156662930047687818585632848591499744589407958293238635476079160
    y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
    public = PublicKey(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())
    raw = base64.b64decode(
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    assert public.has_signed(pae("http://example.com/HelloWorld", b"hello world"), der)


def test_a_signed_statement_is_what_the_published_vector_is():
    made = signed_envelope({"_type": "https://in-toto.io/Statement/v1"}, A)
    assert (made.payload_type, made.payload) == (PAYLOAD_TYPE, STATEMENT)
    assert [(one.keyid, one.sig) for one in made.signatures] == [(A.public.key_id, SIGNED)]


@pytest.mark.parametrize("text", ["@", "Zg", "Zg==\n", "Zm9v\u00e4"])
def test_what_is_not_base64_is_refused(text):
    broken = envelope(text)
    with pytest.raises(RecordError, match="a part that is not in base64"):
        payload_of(broken)


@pytest.fixture
def release(tmp_path):
    (tmp_path / ENVELOPE_FILE).parent.mkdir()
    write_envelope(tmp_path, signed_envelope({"name": "Gr\u00f6\u00dfe."}, A))
    return tmp_path


def test_an_envelope_is_read_as_it_was_written(release):
    content = json.loads((release / ENVELOPE_FILE).read_text())
    assert list(content) == ["payload", "payloadType", "signatures"]
    assert json.loads(payload_of(read_envelope(release))) == {"name": "Gr\u00f6\u00dfe."}
    assert [path.name for path in (release / ENVELOPE_FILE).parent.iterdir()] == [
        "statement.dsse.json"
    ]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text + " ", id="a-space"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="line-ends"),
        pytest.param(lambda text: text.replace("+", "-").replace("/", "_"), id="alphabet"),
        pytest.param(lambda text: text.replace("vnd", "\\u0076nd"), id="escapes"),
        pytest.param(lambda text: text.replace('fQ=="', 'fR=="'), id="unused-bits"),
        pytest.param(
            lambda text: text.replace('"payload"', '"payload": "", "payload"'), id="a-field-twice"
        ),
    ],
)
def test_an_envelope_that_is_written_in_another_way_was_changed(release, change):
    file = release / ENVELOPE_FILE
    file.write_bytes(change(file.read_text()).encode())
    with pytest.raises(RecordError, match=r"is not written as it was signed|no DSSE envelope"):
        read_envelope(release)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"payload": "", "payloadType": "", "signatures": []}', "\x00"]
)
def test_what_is_no_envelope_is_named(release, content):
    (release / ENVELOPE_FILE).write_text(content)
    with pytest.raises(RecordError, match=r"statement\.dsse\.json is no DSSE envelope"):
        read_envelope(release)
