"""X.509 certificates of one coordinator's private authority: who may open a connection, and as whom.

Rules
-----
1. The authority is the coordinator's own; it signs the gateway's certificate, one certificate for each invite and one
   for each site. Nothing else is believed by either end: no public authority can speak for a coordinator or a site.
2. A certificate says its role in the organisational unit and its bearer in the common name. A site's certificate is
   issued on the site's own request (PKCS #10); its private key never leaves the site.
3. Certificates open connections only. What is believed of a message rests on its Ed25519 signature (SPEC 2).
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.codec import sha256
from protocol.errors import ErrorCode, SignatureError
from protocol.identifiers import Sha256
from shared.errors import InputError

ORGANISATION: Final = "crosslot"
AUTHORITY_LIFE: Final = timedelta(days=3_650)
GATEWAY_LIFE: Final = timedelta(days=825)
SITE_LIFE: Final = timedelta(days=825)
_BACKDATED: Final = timedelta(minutes=5)  # clocks of honest parties may differ by so much (SPEC 3.5)
_REQUEST_LIMIT: Final = 16_384


class Role(StrEnum):
    """What the bearer of a certificate may do."""

    AUTHORITY = "authority"
    GATEWAY = "gateway"
    INVITE = "invite"
    SITE = "site"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Pair({fingerprint(self.certificate)[:16]})"  # the key is never printed


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """Who presented a certificate: its role, its name, and the hash by which it is pinned."""

    role: Role
    name: str
    fingerprint: Sha256


def new_key() -> bytes:
    """Return a new P-256 private key for TLS, PEM."""
    return _private_pem(ec.generate_private_key(ec.SECP256R1()))


def new_node_key() -> bytes:
    """Return a new P-384 private key in OpenSSH's form, the one that Flower reads: the identity of a node."""
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def public_of(private_pem: bytes) -> bytes:
    """Return the public half of an elliptic-curve key, PEM.

    Raises
    ------
    InputError
        The bytes hold no elliptic-curve key.
    """
    return _private(private_pem).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def check_node_key(public_pem: bytes) -> None:
    """Return if the bytes are a P-384 public key in PEM, as Flower's node authentication wants one.

    Raises
    ------
    InputError
        They are anything else.
    """
    try:
        key = load_pem_public_key(public_pem)
    except ValueError:
        raise InputError("a node key: expected a public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise InputError("a node key: expected an elliptic-curve key on P-384")


def new_authority(now: datetime) -> Pair:
    """Return a new certificate authority, valid for ten years."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _name(Role.AUTHORITY, "crosslot coordinator")
    builder = (
        _builder(subject, key.public_key(), now, AUTHORITY_LIFE)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA384())
    return Pair(certificate=certificate.public_bytes(Encoding.PEM), key=_private_pem(key))


def issue_gateway(authority: Pair, hosts: Sequence[str], now: datetime) -> Pair:
    """Return a server certificate for the names and addresses by which sites reach the gateway."""
    key = new_key()
    return Pair(
        certificate=_issue(
            authority, _private(key).public_key(), Role.GATEWAY, hosts[0], now=now, life=GATEWAY_LIFE, hosts=hosts
        ),
        key=key,
    )


def issue_invite(authority: Pair, site: str, now: datetime, expires: datetime) -> Pair:
    """Return the client certificate of an invite: it opens the connection on which a site enrols, and ends with it."""
    key = new_key()
    life = expires - now
    return Pair(
        certificate=_issue(authority, _private(key).public_key(), Role.INVITE, site, now=now, life=life), key=key
    )


def new_request(key_pem: bytes, site: str) -> bytes:
    """Return a certificate signing request (PKCS #10, PEM) of a site for the key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(Role.SITE, site))
    return builder.sign(_private(key_pem), hashes.SHA256()).public_bytes(Encoding.PEM)


def issue_site(authority: Pair, request_pem: bytes, site: str, now: datetime) -> bytes:
    """Return the client certificate (PEM) of ``site`` for the key of its request.

    Only the key is taken from the request; the name is the invite's, whatever the request says.

    Raises
    ------
    InputError
        The request is none, is of another kind of key, or its signature does not hold.
    """
    if len(request_pem) > _REQUEST_LIMIT:
        raise InputError("a certificate request: expected at most 16 KiB")
    try:
        request = x509.load_pem_x509_csr(request_pem)
        held = request.is_signature_valid
    except (ValueError, InvalidSignature):
        raise InputError("a certificate request: expected PKCS #10 in PEM") from None
    key = request.public_key()
    if not held or not isinstance(key, ec.EllipticCurvePublicKey):
        raise InputError("a certificate request: expected an elliptic-curve key that signed it")
    return _issue(authority, key, Role.SITE, site, now=now, life=SITE_LIFE)


def renew_site(authority: Pair, certificate_pem: bytes, now: datetime) -> bytes:
    """Return a further client certificate (PEM) for the site and the key of one that is still good.

    Raises
    ------
    SignatureError
        The certificate is no site's.
    """
    bearer = bearer_of(certificate_pem)
    if bearer.role is not Role.SITE:
        raise SignatureError(ErrorCode.WRONG_SIGNER, "Only a site's certificate is renewed.")
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SignatureError(ErrorCode.UNKNOWN_SIGNER, "The certificate is of another kind of key.")
    return _issue(authority, key, Role.SITE, bearer.name, now=now, life=SITE_LIFE)


def new_loopback(now: datetime) -> Pair:
    """Return a self-signed server certificate for loopback: for two processes of one machine that want TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(Role.GATEWAY, "localhost")
    builder = (
        _builder(subject, key.public_key(), now, AUTHORITY_LIFE)
        .issuer_name(subject)
        .add_extension(_alternatives(("localhost", "127.0.0.1")), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return Pair(
        certificate=builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM),
        key=_private_pem(key),
    )


def bearer_of(certificate_pem: bytes) -> Bearer:
    """Return who bears a certificate that TLS has verified already.

    Raises
    ------
    SignatureError
        The certificate is not one of the roles of this protocol.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        (unit,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        role = Role(str(unit.value))
    except ValueError:
        raise SignatureError(ErrorCode.UNKNOWN_SIGNER, "The certificate names no role of this protocol.") from None
    return Bearer(role=role, name=str(name.value), fingerprint=fingerprint(certificate_pem))


def fingerprint(certificate_pem: bytes) -> Sha256:
    """Return the SHA-256 of a certificate's DER bytes, by which it is pinned."""
    return sha256(to_der(certificate_pem))


def expiry_of(certificate_pem: bytes) -> datetime:
    """Return when a certificate ends, in UTC."""
    return x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc


def public_of_certificate(certificate_pem: bytes) -> bytes:
    """Return the public key that a certificate speaks for, PEM."""
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def to_der(certificate_pem: bytes) -> bytes:
    """Return a PEM certificate as DER."""
    return x509.load_pem_x509_certificate(certificate_pem).public_bytes(Encoding.DER)


def from_der(certificate_der: bytes) -> bytes:
    """Return a DER certificate as PEM.

    Raises
    ------
    InputError
        The bytes are no certificate.
    """
    try:
        return x509.load_der_x509_certificate(certificate_der).public_bytes(Encoding.PEM)
    except ValueError:
        raise InputError("a certificate: expected X.509 in DER") from None


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    load = load_ssh_private_key if b"OPENSSH" in pem else load_pem_private_key
    try:
        key = load(pem, None)
    except (ValueError, TypeError):
        raise InputError("expected a private key in PEM without passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError("expected an elliptic-curve key, found another algorithm")
    return key


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(role: Role, name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role.value),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _issue(
    authority: Pair,
    key: ec.EllipticCurvePublicKey,
    role: Role,
    name: str,
    *,
    now: datetime,
    life: timedelta,
    hosts: Sequence[str] = (),
) -> bytes:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if role is Role.GATEWAY:  # a client too: the coordinator asks after its own gateway's health
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    issuer_key = _private(authority.key)
    builder = (
        _builder(_name(role, name), key, now, life)
        .issuer_name(issuer.subject)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    if hosts:
        builder = builder.add_extension(_alternatives(hosts), critical=False)
    return builder.sign(issuer_key, hashes.SHA384()).public_bytes(Encoding.PEM)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)
