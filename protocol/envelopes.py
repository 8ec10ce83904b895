"""Signed envelopes by the DSSE standard: what was signed is kept exactly, and verified before it is parsed.

DSSE is https://github.com/secure-systems-lab/dsse (protocol.md, envelope.md, version 1.0.2). The signature covers the
payload's type and the payload, by the pre-authentication encoding (PAE), so a payload of one kind can never pass for
another. The envelope itself is canonical JSON with standard, padded base64, and carries one signature (SPEC 2.3):

    {"payload":"<base64>","payloadType":"<type>","signatures":[{"keyid":"<fingerprint>","sig":"<base64>"}]}

Opening raises and never returns a Boolean. The order is fixed (SPEC 2.4): size, envelope, type, known key, signature;
only then may the payload be decoded.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from protocol.codec import canonical_json, decode
from protocol.errors import DecodeError, ErrorCode, SignatureError
from protocol.identifiers import Digest, Sha256
from protocol.message import Message
from protocol.signing import SIGNATURE_BYTES, SigningKey, VerifyingKey

_KIB: Final = 1024


class PayloadType(StrEnum):
    """The kinds of payload, as media types; each is signed by one kind of party (SPEC 2.5)."""

    STUDY_PLAN = "application/vnd.crosslot.study-plan+json"
    ATLAS_MANIFEST = "application/vnd.crosslot.atlas-manifest+json"
    ROSTER = "application/vnd.crosslot.roster+json"
    QUERY = "application/vnd.crosslot.query+json"
    ANSWER = "application/vnd.crosslot.answer+json"
    LOT_REPORT = "application/vnd.crosslot.lot-report+json"
    RESULTS = "application/vnd.crosslot.results+json"
    CHECKPOINT = "application/vnd.crosslot.checkpoint+json"
    LEDGER_ENTRY = "application/vnd.crosslot.ledger-entry+json"
    RELEASE_DECISION = "application/vnd.crosslot.release-decision+json"
    TERMS_ACCEPTANCE = "application/vnd.crosslot.terms-acceptance+json"
    BUNDLE = "application/vnd.crosslot.bundle+json"
    SPECIFICATION = "application/vnd.crosslot.specification+json"


PAYLOAD_LIMITS: Final[Mapping[PayloadType, int]] = {
    PayloadType.STUDY_PLAN: 256 * _KIB,
    PayloadType.ATLAS_MANIFEST: 64 * _KIB,
    PayloadType.ROSTER: 256 * _KIB,
    PayloadType.QUERY: 4 * _KIB,
    PayloadType.ANSWER: 512 * _KIB,
    PayloadType.LOT_REPORT: 256 * _KIB,  # the moments of 3,600 genes x clusters at their widest
    PayloadType.RESULTS: 32 * _KIB * _KIB,
    PayloadType.CHECKPOINT: 4 * _KIB,
    PayloadType.LEDGER_ENTRY: 16 * _KIB,
    PayloadType.RELEASE_DECISION: 8 * _KIB,
    PayloadType.TERMS_ACCEPTANCE: 8 * _KIB,
    PayloadType.BUNDLE: 4 * _KIB * _KIB,
    PayloadType.SPECIFICATION: 64 * _KIB,
}
"""The largest payload of each kind, bytes (SPEC 1.4)."""


class _Signature(Message):
    keyid: Digest
    sig: Annotated[str, Field(min_length=88, max_length=88)]


class _Envelope(Message):
    payload: str
    payload_type: Annotated[str, Field(alias="payloadType", max_length=128)]
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=1)]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A payload whose signature held.

    Attributes
    ----------
    payload
        The exact bytes that were signed.
    key_id
        The fingerprint of the key that signed them.
    envelope
        The exact bytes that came, to be kept as evidence.
    """

    payload: bytes
    key_id: Sha256
    envelope: bytes


def seal(payload: bytes, payload_type: PayloadType, key: SigningKey) -> bytes:
    """Return the signed envelope of ``payload``, canonical JSON."""
    signature = key.sign(_pre_authentication_encoding(payload_type, payload))
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": payload_type.value,
            "signatures": [{"keyid": key.fingerprint, "sig": base64.b64encode(signature).decode("ascii")}],
        }
    )


def open_envelope(data: bytes, payload_type: PayloadType, keys: Iterable[VerifyingKey]) -> Opened:
    """Return the payload of an envelope that one of ``keys`` signed.

    Parameters
    ----------
    data
        The envelope as it came.
    payload_type
        The one kind of payload that is expected here.
    keys
        Whom to believe about this kind of payload.

    Raises
    ------
    DecodeError
        If the bytes are not a canonical envelope within the limits of the kind.
    SignatureError
        If the type is another, the key is not among ``keys``, or the signature does not hold.
    """
    envelope = decode(_Envelope, data, limit=envelope_limit(payload_type))
    if envelope.payload_type != payload_type:
        raise SignatureError(ErrorCode.WRONG_PAYLOAD_TYPE, f"Expected {payload_type}.")
    payload = _decoded_base64(envelope.payload)
    if len(payload) > PAYLOAD_LIMITS[payload_type]:
        raise DecodeError(ErrorCode.OVERSIZE, f"Expected a payload of at most {PAYLOAD_LIMITS[payload_type]} bytes.")
    signature = envelope.signatures[0]
    signature_bytes = _decoded_base64(signature.sig)
    if len(signature_bytes) != SIGNATURE_BYTES:
        raise DecodeError(ErrorCode.INVALID_FIELD, f"Expected a signature of {SIGNATURE_BYTES} bytes.")
    for key in keys:
        if key.fingerprint == signature.keyid:
            key.verify(signature_bytes, _pre_authentication_encoding(payload_type, payload))
            return Opened(payload=payload, key_id=signature.keyid, envelope=data)
    raise SignatureError(ErrorCode.UNKNOWN_SIGNER, f"The envelope names key {signature.keyid[:16]}.")


def envelope_limit(payload_type: PayloadType) -> int:
    """Return the largest acceptable envelope of a kind, bytes: its payload in base64 and 1 KiB around it."""
    return -(-PAYLOAD_LIMITS[payload_type] // 3) * 4 + _KIB


def _pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    # DSSE protocol.md: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in decimal ASCII, of bytes.
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _decoded_base64(text: str) -> bytes:
    # DSSE allows several alphabets and paddings; one is read here, so that an envelope has one spelling (SPEC 2.3).
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError(ErrorCode.INVALID_FIELD, "Expected standard base64.") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise DecodeError(ErrorCode.NOT_CANONICAL, "Expected base64 with zero padding bits.")
    return data
