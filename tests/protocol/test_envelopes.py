import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import canonical_json
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, envelope_limit, open_envelope, seal
from protocol.errors import DecodeError, ErrorCode, ProtocolError
from protocol.signing import SigningKey, VerifyingKey
from shared.errors import InputError, RefusedError

QUERY = PayloadType.QUERY


def _code(data: bytes, keys: list[VerifyingKey], kind: PayloadType = QUERY) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        open_envelope(data, kind, keys)
    return caught.value.code


@given(st.binary(max_size=300), st.sampled_from(PayloadType), st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_opening_a_sealed_payload_gives_its_exact_bytes(payload: bytes, kind: PayloadType, seed: bytes) -> None:
    key = SigningKey.from_seed(seed)
    envelope = seal(payload, kind, key)
    opened = open_envelope(envelope, kind, [key.verifying_key])
    assert (opened.payload, opened.key_id, opened.envelope) == (payload, key.fingerprint, envelope)
    assert len(envelope) <= envelope_limit(kind)


@given(st.data())
@settings(max_examples=300)
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    key = SigningKey.from_seed(bytes(32))
    envelope = bytearray(seal(b'{"a":1}', QUERY, key))
    at = data.draw(st.integers(0, len(envelope) * 8 - 1))
    envelope[at // 8] ^= 1 << at % 8
    with pytest.raises(ProtocolError):
        open_envelope(bytes(envelope), QUERY, [key.verifying_key])


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_with_a_code(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        open_envelope(data, QUERY, [SigningKey.from_seed(bytes(32)).verifying_key])


def test_rfc_8032_test_1_to_3_hold() -> None:
    # RFC 8032, section 7.1: secret key, public key, message, signature.
    for seed, public, message, signature in (
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
                "d25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
                "387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            (
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
                "4a7c15e9716ed28dc027beceea1ec40a"
            ),
        ),
    ):
        key = SigningKey.from_seed(bytes.fromhex(seed))
        assert key.verifying_key.to_hex() == public
        assert key.sign(bytes.fromhex(message)).hex() == signature
        VerifyingKey.from_hex(public).verify(bytes.fromhex(signature), bytes.fromhex(message))


def test_what_is_signed_is_the_dsse_encoding(coordinator_key: SigningKey) -> None:
    # DSSE protocol.md, "Test vectors": PAE("http://example.com/HelloWorld", "hello world") is
    # "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; here with a type of ours.
    envelope = json.loads(seal(b"hello world", QUERY, coordinator_key))
    signed = b"DSSEv1 35 application/vnd.crosslot.query+json 11 hello world"
    coordinator_key.verifying_key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


def test_a_payload_of_one_kind_does_not_pass_for_another(site_key: SigningKey) -> None:
    envelope = seal(b"{}", PayloadType.ANSWER, site_key)
    assert _code(envelope, [site_key.verifying_key]) is ErrorCode.WRONG_PAYLOAD_TYPE
    renamed = envelope.replace(PayloadType.ANSWER.encode(), QUERY.encode())
    assert _code(renamed, [site_key.verifying_key]) is ErrorCode.BAD_SIGNATURE


def test_a_strangers_signature_is_refused(site_key: SigningKey, stranger_key: SigningKey) -> None:
    assert _code(seal(b"{}", QUERY, stranger_key), [site_key.verifying_key]) is ErrorCode.UNKNOWN_SIGNER
    assert _code(seal(b"{}", QUERY, stranger_key), []) is ErrorCode.UNKNOWN_SIGNER


def test_a_stranger_under_anothers_name_is_refused(site_key: SigningKey, stranger_key: SigningKey) -> None:
    forged = seal(b"{}", QUERY, stranger_key).replace(stranger_key.fingerprint.encode(), site_key.fingerprint.encode())
    assert _code(forged, [site_key.verifying_key]) is ErrorCode.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"payload": "e30"}, ErrorCode.INVALID_FIELD),  # "{}" without its padding
        ({"payload": "e31="}, ErrorCode.NOT_CANONICAL),  # padding bits that are not zero
        ({"payload": "e3\n0="}, ErrorCode.INVALID_FIELD),
        ({"payload": "e-0="}, ErrorCode.INVALID_FIELD),
        ({"payload": 3}, ErrorCode.INVALID_FIELD),
        ({"signatures": []}, ErrorCode.INVALID_FIELD),
        ({"extra": 1}, ErrorCode.UNKNOWN_FIELD),
    ],
)
def test_an_envelope_has_one_spelling(change: dict[str, Any], code: ErrorCode, site_key: SigningKey) -> None:
    document = json.loads(seal(b"{}", QUERY, site_key))
    assert _code(canonical_json({**document, **change}), [site_key.verifying_key]) is code


def test_a_second_signature_is_refused(site_key: SigningKey) -> None:
    document = json.loads(seal(b"{}", QUERY, site_key))
    document["signatures"] *= 2
    assert _code(canonical_json(document), [site_key.verifying_key]) is ErrorCode.INVALID_FIELD


def test_a_payload_over_its_limit_is_refused_before_its_signature_is_looked_at(site_key: SigningKey) -> None:
    envelope = seal(b" " * (PAYLOAD_LIMITS[QUERY] + 1), QUERY, site_key)
    assert _code(envelope, []) is ErrorCode.OVERSIZE
    assert _code(b"x" * (envelope_limit(QUERY) + 1), []) is ErrorCode.OVERSIZE


def test_nothing_is_parsed_before_it_is_verified(site_key: SigningKey, stranger_key: SigningKey) -> None:
    # A payload that is no message at all: the signature's fault is what is reported.
    assert _code(seal(b"\xff not json", QUERY, stranger_key), [site_key.verifying_key]) is ErrorCode.UNKNOWN_SIGNER


def test_a_saved_key_is_private_and_signs_the_same(tmp_path: Path) -> None:
    key = SigningKey.generate()
    for passphrase in (None, b"correct horse"):
        path = tmp_path / f"key-{passphrase is None}.pem"
        key.save(path, passphrase)
        assert path.stat().st_mode & 0o777 == 0o600
        assert SigningKey.load(path, passphrase).sign(b"x") == key.sign(b"x")
        with pytest.raises(InputError, match="there already"):
            key.save(path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    SigningKey.generate().save(path)
    for mode in (0o604, 0o640, 0o666):
        path.chmod(mode)
        with pytest.raises(RefusedError, match="only its owner"):
            SigningKey.load(path)


def test_a_wrong_passphrase_or_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    SigningKey.generate().save(path, b"right")
    for passphrase in (None, b"wrong"):
        with pytest.raises(InputError):
            SigningKey.load(path, passphrase)
    with pytest.raises(InputError):
        SigningKey.load(tmp_path / "absent.pem")
    other = tmp_path / "other.pem"
    other.write_bytes(b"not a key")
    other.chmod(0o600)
    with pytest.raises(InputError, match="PEM"):
        SigningKey.load(other)


def test_no_secret_is_printed() -> None:
    seed = bytes(range(32))
    key = SigningKey.from_seed(seed)
    assert seed.hex() not in repr(key) + str(key)
    assert not hasattr(key, "__dict__")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(InputError):
        VerifyingKey(b"short")
    with pytest.raises(InputError):
        VerifyingKey.from_hex("AB" * 32)
    with pytest.raises(InputError):
        SigningKey.from_seed(b"short")


def test_decode_error_tells_the_person_more_than_the_other_party() -> None:
    error = DecodeError(ErrorCode.OVERSIZE, "Expected at most 3 bytes, found 4.")
    assert "found 4" in str(error)
    assert "found 4" not in error.code.sentence
