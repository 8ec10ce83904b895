"""Invites, and what a site says when it enrols (SPEC 7).

Rules
-----
1. An invite names one site, the gateway's address, the authority to believe, the coordinator's signing key and an
   expiry; it carries a secret token and a short-lived client certificate. It is good for one enrolment.
2. The coordinator keeps the token's SHA-256 only: who reads its store cannot enrol.
3. Enrolling, a site sends its public keys and proves with its signing key that it holds them together: the proof is
   over the token too, so it cannot be used with another invite.
4. Who holds the text of an invite can enrol in the site's stead, once. So it travels by a way that both trust, and
   both compare the fingerprint that ``join`` and ``sites`` show.
"""

import base64
import binascii
import re
import textwrap
from typing import Annotated, Final, Literal

from pydantic import Field

from protocol.certificates import Pair, from_der, to_der
from protocol.codec import canonical_json, decode, encode, sha256
from protocol.errors import DecodeError, ErrorCode
from protocol.identifiers import Instant, PublicKeyHex, Sha256, SiteSlug
from protocol.message import Message
from protocol.signing import SigningKey, VerifyingKey
from shared.errors import InputError

TOKEN_BYTES: Final = 32
INVITE_LIMIT: Final = 16_384
_BEGIN: Final = "-----BEGIN CROSSLOT INVITE-----"
_END: Final = "-----END CROSSLOT INVITE-----"
_ARMOUR: Final = re.compile(rf"{_BEGIN}\s+([A-Za-z0-9+/=\s]+?)\s*{_END}")
_PROOF_CONTEXT: Final = b"crosslot enrolment 1\0"

Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-]{1,253}:[0-9]{1,5}$|^\[[0-9a-fA-F:]{2,45}\]:[0-9]{1,5}$")]
"""A host and a port, such as ``coordinator.example.org:8443`` or ``[::1]:8443``."""

_Base64 = Annotated[str, Field(min_length=4, max_length=8_192)]


class Invite(Message):
    """All that a site needs to enrol; whoever holds it can."""

    schema_id: Literal["crosslot.invite/1"] = Field(default="crosslot.invite/1", alias="schema")
    site: SiteSlug
    address: Address
    token: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    authority: _Base64  # DER of the certificate to believe, base64
    certificate: _Base64  # DER of the invite's own client certificate, base64
    key: Annotated[str, Field(max_length=2_048)]  # its key, PEM
    coordinator: PublicKeyHex
    expires: Instant

    def __repr__(self) -> str:
        return f"Invite({self.site}, {self.address}, until {self.expires})"  # the token is never printed

    @property
    def authority_pem(self) -> bytes:
        """The certificate to believe, PEM."""
        return from_der(_bytes_of(self.authority))

    @property
    def pair(self) -> Pair:
        """The invite's own certificate and key."""
        return Pair(certificate=from_der(_bytes_of(self.certificate)), key=self.key.encode("ascii"))


def compose_invite(
    *, site: str, address: str, token: str, authority_pem: bytes, pair: Pair, coordinator: VerifyingKey, expires: str
) -> Invite:
    """Return an invite of these parts."""
    return Invite.model_validate(
        {
            "site": site,
            "address": address,
            "token": token,
            "authority": base64.b64encode(to_der(authority_pem)).decode("ascii"),
            "certificate": base64.b64encode(to_der(pair.certificate)).decode("ascii"),
            "key": pair.key.decode("ascii"),
            "coordinator": coordinator.to_hex(),
            "expires": expires,
        }
    )


def write_invite(invite: Invite) -> str:
    """Return the invite as text that survives mail: base64 between two lines, with what it says above them."""
    body = "\n".join(textwrap.wrap(base64.b64encode(encode(invite)).decode("ascii"), 76))
    about = f"crosslot invite for site {invite.site} at {invite.address}, good once until {invite.expires}"
    return f"{about}\n{_BEGIN}\n{body}\n{_END}\n"


def read_invite(text: str) -> Invite:
    """Return the invite that a text holds.

    Raises
    ------
    InputError
        The text holds none, or a damaged one.
    """
    found = _ARMOUR.search(text[: 4 * INVITE_LIMIT])
    if found is None:
        raise InputError(
            "expected an invite (from its BEGIN line to its END line), found none", hint="give the file as it came"
        )
    try:
        return decode(Invite, _bytes_of("".join(found[1].split())), limit=INVITE_LIMIT)
    except DecodeError as error:
        raise InputError(f"the invite is damaged: {error}", hint="ask the coordinator for a new one") from None


def token_sha256(token: str) -> Sha256:
    """Return what the coordinator keeps of a token."""
    return sha256(token.encode("ascii"))


class EnrolmentRequest(Message):
    """What a site sends to enrol: its public keys, a certificate request, and the invite's token."""

    schema_id: Literal["crosslot.enrolment/1"] = Field(default="crosslot.enrolment/1", alias="schema")
    site: SiteSlug
    token: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    key: PublicKeyHex
    node_key: Annotated[str, Field(max_length=1_024)]  # P-384 public key, PEM
    certificate_request: Annotated[str, Field(max_length=8_192)]  # PKCS #10, PEM
    version: Annotated[str, Field(min_length=1, max_length=32)]

    def __repr__(self) -> str:
        return f"EnrolmentRequest({self.site})"  # the token is never printed


def prove(request: EnrolmentRequest, key: SigningKey) -> bytes:
    """Return the proof that the sender holds the signing key that its request names."""
    return key.sign(_PROOF_CONTEXT + encode(request))


def check_proof(request: EnrolmentRequest, proof: bytes) -> None:
    """Return if the proof is of the key that the request names.

    Raises
    ------
    SignatureError
        It is not.
    """
    VerifyingKey.from_hex(request.key).verify(proof, _PROOF_CONTEXT + encode(request))


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError(ErrorCode.INVALID_FIELD, "Expected standard base64.") from None


def short_code(*parts: str) -> str:
    """Return eight groups of four hexadecimal digits that two people can compare by telephone.

    Examples
    --------
    >>> short_code("a", "b")
    '0473 ef2d c0d3 24ab 659d 3580 c113 4e9d'
    """
    digest = sha256(canonical_json(list(parts)))[:32]
    return " ".join(digest[start : start + 4] for start in range(0, 32, 4))
