"""The perimeter under attack: each attack is refused, told by one word, and stands in the coordinator's log."""

import base64
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from protocol.certificates import Pair, issue_site, new_authority, new_key, new_request, public_of
from protocol.errors import ProtocolError
from protocol.identifiers import SiteId
from protocol.signing import SigningKey
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.errors import CrosslotError, InputError, RefusedError
from site_agent.network.enrolment import join
from site_agent.network.gateway_client import GatewayClient, UnreachableError
from site_agent.network.greeting import greet
from site_agent.network.keys import NetworkHome
from tests.network.conftest import LiveGateway

NOW = datetime.now(UTC)


def relay_request(
    home: NetworkHome, *, path: str = "/v1/fleet/pull-messages", signature: str = "s1"
) -> wire.RelayRequest:
    key = base64.b64encode(public_of(home.node_key)).decode()
    return wire.RelayRequest(
        path=path,
        body=b"body",
        content_type="application/x-protobuf",
        accept="application/x-protobuf",
        headers={"flwr-public-key": key, "flwr-timestamp": "now", "flwr-signature": signature, "x-other": "1"},
    )


def test_a_site_joins_by_its_invite_and_is_greeted(gateway: LiveGateway) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    greeting = greet(client, home)
    client.close()
    assert greeting.compatible
    assert greeting.clocks_agree
    enrolled = gateway.enrolments.enrolled()[SiteId("kyoto")]
    assert enrolled.node_key == public_of(home.node_key)
    assert enrolled.last_seen is not None
    assert gateway.superlink.nodes_known == {enrolled.node_key: 1}


def test_a_call_of_a_site_reaches_the_superlink_with_flowers_headers_only(gateway: LiveGateway) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    reply = client.call(calls.RELAY, relay_request(home))
    client.close()
    assert (reply.status, reply.body) == (200, b"reply")
    (request,) = gateway.superlink.calls
    assert (request.method, request.url.path, request.content) == ("POST", "/v1/fleet/pull-messages", b"body")
    assert request.headers["flwr-signature"] == "s1"
    assert "x-other" not in request.headers


def first_words(gateway: LiveGateway, pair: Pair | None, folder: Path) -> bytes:
    """Return what the gateway says first over HTTP/2 (its settings), or nothing where it ends the connection."""
    host, _, port = gateway.home.settings.address.partition(":")
    context = ssl.create_default_context(cadata=gateway.home.authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    if pair is not None:
        file = folder / "pair.pem"
        file.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(file)
    try:
        with (
            socket.create_connection((host, int(port)), 5) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            return connection.recv(4096)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_an_anonymous_peer_gets_no_further_than_the_handshake(gateway: LiveGateway, tmp_path: Path) -> None:
    home = gateway.join("kyoto")
    assert first_words(gateway, home.client, tmp_path) != b""
    assert first_words(gateway, None, tmp_path) == b""


def test_a_peer_with_a_foreign_authority_gets_no_further_than_the_handshake(gateway: LiveGateway) -> None:
    foreign, key = new_authority(NOW), new_key()
    pair = Pair(certificate=issue_site(foreign, new_request(key, "kyoto"), "kyoto", NOW), key=key)
    client = GatewayClient(gateway.home.settings.address, authority=gateway.home.authority.certificate, pair=pair)
    with pytest.raises(UnreachableError):
        client.call(calls.GREET, wire.GreetRequest(), seconds=5)
    client.close()


def test_a_certificate_of_the_right_authority_without_enrolment_opens_nothing(gateway: LiveGateway) -> None:
    key = new_key()
    certificate = issue_site(gateway.home.authority, new_request(key, "kyoto"), "kyoto", NOW)
    client = GatewayClient(
        gateway.home.settings.address,
        authority=gateway.home.authority.certificate,
        pair=Pair(certificate=certificate, key=key),
    )
    with pytest.raises(RefusedError):
        client.call(calls.GREET, wire.GreetRequest())
    client.close()
    assert any("refused Greet of kyoto" in line and "unknown-signer" in line for line in gateway.log)


def test_a_site_cannot_pose_as_another_by_its_node_key(gateway: LiveGateway) -> None:
    kyoto, leiden = gateway.join("kyoto"), gateway.join("leiden")
    client = gateway.client(leiden)
    with pytest.raises(RefusedError):
        client.call(calls.RELAY, relay_request(kyoto))
    client.close()
    assert gateway.superlink.calls == []
    assert any("refused Relay of leiden" in line and "node key of another" in line for line in gateway.log)


def test_a_replayed_request_is_refused(gateway: LiveGateway) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    client.call(calls.RELAY, relay_request(home, signature="once"))
    with pytest.raises(RefusedError):
        client.call(calls.RELAY, relay_request(home, path="/v1/fleet/push-messages", signature="once"))
    client.close()
    assert len(gateway.superlink.calls) == 1
    assert any("request replayed" in line for line in gateway.log)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/runtime/acquire-task",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/pull-messages?x=1",
        "/",
    ],
)
def test_no_path_leads_to_the_control_and_runtime_interfaces(gateway: LiveGateway, path: str) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    with pytest.raises(RefusedError):
        client.call(calls.RELAY, relay_request(home, path=path))
    client.close()
    assert gateway.superlink.calls == []
    assert any("path not relayed" in line for line in gateway.log)


def test_a_used_invite_is_refused(gateway: LiveGateway) -> None:
    invite = gateway.invite("kyoto")
    gateway.join("kyoto", invite)
    with pytest.raises(RefusedError, match="used before"):
        join(NetworkHome(gateway.folder / "thief"), invite, SigningKey.generate(), now=NOW)
    assert any("refused Enrol" in line and "replayed" in line for line in gateway.log)


def test_an_expired_invite_is_refused_by_both_ends(gateway: LiveGateway) -> None:
    invite = gateway.invite("kyoto")
    gateway.clock.now += timedelta(days=30)
    with pytest.raises(RefusedError, match="expired"):
        gateway.join("kyoto", invite)
    with pytest.raises(InputError, match="the invite ended"):
        join(NetworkHome(gateway.folder / "late"), invite, SigningKey.generate(), now=gateway.clock.now)
    assert gateway.enrolments.enrolled() == {}


def test_an_invite_names_its_site(gateway: LiveGateway) -> None:
    invite = gateway.invite("kyoto").model_copy(update={"site": "leiden"})
    with pytest.raises(RefusedError):
        gateway.join("leiden", invite)
    assert gateway.enrolments.enrolled() == {}


def test_an_invites_certificate_opens_enrolment_and_nothing_else(gateway: LiveGateway) -> None:
    invite = gateway.invite("kyoto")
    client = GatewayClient(invite.address, authority=invite.authority_pem, pair=invite.pair)
    with pytest.raises(RefusedError):
        client.call(calls.GREET, wire.GreetRequest())
    with pytest.raises(RefusedError):
        client.call(calls.LIST_STUDIES, wire.ListStudiesRequest())
    with pytest.raises(RefusedError):
        client.call(calls.RELAY, wire.RelayRequest(path="/v1/fleet/get-run"))
    client.close()


def test_a_sites_certificate_does_not_enrol_another(gateway: LiveGateway) -> None:
    client = gateway.client(gateway.join("kyoto"))
    with pytest.raises(RefusedError):
        client.call(calls.ENROL, wire.EnrolRequest(request=b"{}", proof=b""))
    client.close()


def test_a_proof_by_another_key_does_not_enrol(gateway: LiveGateway) -> None:
    class Posing(SigningKey):
        __slots__ = ()

        def sign(self, data: bytes) -> bytes:
            return SigningKey.generate().sign(data)

    home = NetworkHome(gateway.folder / "kyoto")
    with pytest.raises(RefusedError):
        join(home, gateway.invite("kyoto"), Posing.generate(), now=NOW)
    assert not home.joined
    assert gateway.enrolments.enrolled() == {}


def test_a_revoked_site_is_refused_from_then_on(gateway: LiveGateway) -> None:
    home = gateway.join("kyoto")
    gateway.enrolments.revoke(SiteId("kyoto"), now=NOW)
    client = gateway.client(home)
    with pytest.raises(RefusedError, match="does not know this site"):
        greet(client, home)
    client.close()
    assert any("revoked" in line for line in gateway.log)


def test_a_revoked_site_comes_back_with_new_keys_only(gateway: LiveGateway) -> None:
    gateway.join("kyoto")
    gateway.enrolments.revoke(SiteId("kyoto"), now=NOW)
    again = NetworkHome(gateway.folder / "again")
    same_key = SigningKey.from_seed(b"kyoto".ljust(32, b"\0"))
    with pytest.raises(RefusedError):
        join(again, gateway.invite("kyoto"), same_key, now=NOW)
    join(again, gateway.invite("kyoto"), SigningKey.generate(), now=NOW)
    assert again.joined


def test_an_enrolled_site_is_not_invited_twice(gateway: LiveGateway) -> None:
    gateway.join("kyoto")
    with pytest.raises(RefusedError, match="enrolled already"):
        gateway.invite("kyoto")


def test_a_body_that_is_too_large_is_refused(gateway: LiveGateway) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    request = relay_request(home)
    request.body = bytes(calls.MAXIMUM_RELAY_BYTES + 1)
    with pytest.raises(CrosslotError):
        client.call(calls.RELAY, request)
    client.close()
    assert gateway.superlink.calls == []


def test_no_text_of_an_inner_failure_leaves(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    home = gateway.join("kyoto")

    def fails(*_arguments: object, **_named: object) -> None:
        raise OSError("secret words of a path")

    monkeypatch.setattr(gateway.enrolments, "greeted", fails)
    client = gateway.client(home)
    with pytest.raises(RefusedError) as caught:
        greet(client, home)
    client.close()
    assert "secret" not in str(caught.value)
    assert any("secret words of a path" in line for line in gateway.log)


def test_tokens_are_not_kept(gateway: LiveGateway) -> None:
    invite = gateway.invite("kyoto")
    assert invite.token.encode() not in gateway.home.enrolments_path.read_bytes()
    assert invite.token not in repr(invite)


def test_an_unknown_atlas_is_not_given(gateway: LiveGateway) -> None:
    client = gateway.client(gateway.join("kyoto"))
    with pytest.raises(RefusedError):
        list(client.stream(calls.FETCH_ATLAS, wire.FetchAtlasRequest(sha256="0" * 64), seconds=10))
    with pytest.raises(RefusedError):
        list(client.stream(calls.FETCH_RESULTS, wire.FetchResultsRequest(study="../coordinator"), seconds=10))
    client.close()


def test_a_gateway_that_speaks_for_another_coordinator_is_not_believed(gateway: LiveGateway) -> None:
    other = SigningKey.generate().verifying_key.to_hex()
    invite = gateway.invite("kyoto").model_copy(update={"coordinator": other})
    home = NetworkHome(gateway.folder / "kyoto")
    with pytest.raises(ProtocolError, match="another coordinator"):
        join(home, invite, SigningKey.generate(), now=NOW)
    assert not home.joined


def test_a_superlink_that_is_away_is_told_as_such_and_logged_once(gateway: LiveGateway) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    gateway.superlink.away = True
    away = [client.call(calls.RELAY, relay_request(home, signature=f"a{number}")).status for number in range(3)]
    gateway.superlink.away = False
    back = client.call(calls.RELAY, relay_request(home, signature="b")).status
    client.close()
    assert (away, back) == ([503] * 3, 200)  # Flower's client tries again on 503
    assert sum("does not answer" in line for line in gateway.log) == 1
