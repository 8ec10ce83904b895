"""Certificates, invites and proofs: what opens the way, and what does not."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.certificates import (
    Pair,
    Role,
    bearer_of,
    check_node_key,
    expiry_of,
    fingerprint,
    from_der,
    issue_gateway,
    issue_invite,
    issue_site,
    new_authority,
    new_key,
    new_node_key,
    new_request,
    public_of,
    to_der,
)
from protocol.codec import sha256
from protocol.enrolment import (
    EnrolmentRequest,
    Invite,
    check_proof,
    compose_invite,
    prove,
    read_invite,
    write_invite,
)
from protocol.errors import SignatureError
from protocol.identifiers import SiteId, instant
from protocol.signing import SigningKey
from protocol.wire import gateway_pb2
from protocol.wire.calls import PROTO_SHA256
from shared.errors import InputError

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
AUTHORITY = new_authority(NOW)
KEY = SigningKey.from_seed(bytes(32))
TOKEN = "ab" * 32


def make_invite() -> Invite:
    expires = NOW + timedelta(days=7)
    return compose_invite(
        site="kyoto",
        address="coordinator.example.org:8443",
        token=TOKEN,
        authority_pem=AUTHORITY.certificate,
        pair=issue_invite(AUTHORITY, "kyoto", NOW, expires),
        coordinator=KEY.verifying_key,
        expires=instant(expires),
    )


def make_request() -> EnrolmentRequest:
    return EnrolmentRequest(
        site=SiteId("kyoto"),
        token=TOKEN,
        key=KEY.verifying_key.to_hex(),
        node_key=public_of(new_node_key()).decode(),
        certificate_request=new_request(new_key(), "kyoto").decode(),
        version="0.1.0",
    )


def test_the_checked_in_code_is_that_of_the_proto_file() -> None:
    proto = Path(__file__).resolve().parents[2] / "protocol" / "wire" / "gateway.proto"
    assert sha256(proto.read_bytes()) == PROTO_SHA256, "make the code anew as gateway.proto says, then the hash"


def test_the_checked_in_code_has_every_message_of_the_proto_file() -> None:
    proto = Path(__file__).resolve().parents[2] / "protocol" / "wire" / "gateway.proto"
    named = re.findall(r"^message (\w+)", proto.read_text(), re.MULTILINE)
    assert sorted(gateway_pb2.DESCRIPTOR.message_types_by_name) == sorted(named)


def test_a_certificate_says_its_role_and_bearer() -> None:
    site = issue_site(AUTHORITY, new_request(new_key(), "kyoto"), "kyoto", NOW)
    invite = issue_invite(AUTHORITY, "leiden", NOW, NOW + timedelta(hours=1))
    gateway = issue_gateway(AUTHORITY, ("coordinator.example.org", "127.0.0.1"), NOW)
    assert [(bearer_of(each).role, bearer_of(each).name) for each in (site, invite.certificate)] == [
        (Role.SITE, "kyoto"),
        (Role.INVITE, "leiden"),
    ]
    assert bearer_of(gateway.certificate).role is Role.GATEWAY
    assert expiry_of(invite.certificate) == NOW + timedelta(hours=1)


def test_the_name_in_a_certificate_is_the_invites_whatever_the_request_says() -> None:
    certificate = issue_site(AUTHORITY, new_request(new_key(), "someone-else"), "kyoto", NOW)
    assert bearer_of(certificate).name == "kyoto"


@pytest.mark.parametrize("request_pem", [b"", b"no request", new_key(), b"x" * 20_000])
def test_a_bad_certificate_request_is_refused(request_pem: bytes) -> None:
    with pytest.raises(InputError):
        issue_site(AUTHORITY, request_pem, "kyoto", NOW)


def test_der_and_pem_are_one_certificate() -> None:
    assert from_der(to_der(AUTHORITY.certificate)) == AUTHORITY.certificate
    assert fingerprint(AUTHORITY.certificate) == sha256(to_der(AUTHORITY.certificate))


def test_keys_are_never_printed() -> None:
    assert "PRIVATE" not in repr(Pair(certificate=AUTHORITY.certificate, key=AUTHORITY.key))
    assert TOKEN not in repr(make_invite())
    assert TOKEN not in repr(make_request())


@pytest.mark.parametrize("bad", [b"", b"x", public_of(new_key())])
def test_a_node_key_is_on_p384(bad: bytes) -> None:
    check_node_key(public_of(new_node_key()))
    with pytest.raises(InputError):
        check_node_key(bad)


def test_an_invite_survives_mail() -> None:
    invite = make_invite()
    text = write_invite(invite)
    assert read_invite(text) == invite
    assert read_invite("Dear site,\r\n\r\n" + text.replace("\n", "\r\n") + "\r\nregards") == invite
    assert max(map(len, text.splitlines())) <= 120


@given(st.integers(0, 3_000))
@settings(max_examples=40)
def test_an_invite_that_was_cut_is_refused(length: int) -> None:
    text = write_invite(make_invite())
    with pytest.raises(InputError):
        read_invite(text[: length % (len(text) - 4)])


def test_a_proof_binds_request_and_token_to_the_key() -> None:
    request = make_request()
    proof = prove(request, KEY)
    check_proof(request, proof)
    for changed in ({"token": "cd" * 32}, {"site": "leiden"}, {"version": "0.2.0"}):
        with pytest.raises(SignatureError):
            check_proof(request.model_copy(update=changed), proof)
