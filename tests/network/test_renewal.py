"""Certificates before they end: renewed for the same key by the site itself, and by nobody else."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.network.renewal import renew_gateway
from protocol.certificates import (
    Pair,
    expiry_of,
    fingerprint,
    issue_site,
    new_key,
    new_request,
    public_of,
    public_of_certificate,
)
from protocol.errors import SignatureError
from protocol.identifiers import SiteId, instant
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.errors import RefusedError
from site_agent.network import renewal
from site_agent.network.doctor import PASSED, examine
from site_agent.network.gateway_client import GatewayClient, RenewingClient
from site_agent.network.greeting import greet
from site_agent.network.keys import NetworkHome
from site_agent.network.renewal import renew, time_left
from tests.network.conftest import LiveGateway
from tests.network.test_gateway import relay_request

LONG_AGO = datetime.now(UTC) - timedelta(days=825 - 40)
KYOTO = SiteId("kyoto")


@pytest.fixture
def ageing(gateway: LiveGateway) -> NetworkHome:
    """A site that joined so long ago that its certificate ends in 40 days."""
    home = gateway.join("kyoto")
    old = issue_site(gateway.home.authority, new_request(home.client.key, "kyoto"), "kyoto", LONG_AGO)
    home.key_file("client.crt").write_bytes(old)
    with gateway.enrolments._connection() as connection:
        connection.execute(
            "UPDATE sites SET certificate_sha256 = ?, certificate_ends = ?", (fingerprint(old), instant(expiry_of(old)))
        )
    return home


def renewed(gateway: LiveGateway, home: NetworkHome) -> datetime:
    client = gateway.client(home)
    try:
        return renew(client, home)
    finally:
        client.close()


def greeted(gateway: LiveGateway, home: NetworkHome) -> bool:
    client = gateway.client(home)
    try:
        return greet(client, home).compatible
    finally:
        client.close()


def test_a_renewed_certificate_has_the_same_key_and_name_and_opens_the_same(
    gateway: LiveGateway, ageing: NetworkHome
) -> None:
    old = ageing.client
    ends = renewed(gateway, ageing)
    assert ends > datetime.now(UTC) + timedelta(days=800)
    assert ageing.client.certificate != old.certificate
    assert ageing.client.key == old.key
    assert public_of_certificate(ageing.client.certificate) == public_of(old.key)
    assert greeted(gateway, ageing)
    site = gateway.enrolments.enrolled()[KYOTO]
    assert site.certificate_ends == f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    assert site.last_seen is not None
    assert any(line == "kyoto: certificate renewed" for line in gateway.log)


def test_the_older_certificate_opens_until_its_end_so_that_a_broken_off_renewal_shuts_nobody_out(
    gateway: LiveGateway, ageing: NetworkHome
) -> None:
    old = ageing.client
    renewed(gateway, ageing)
    ageing.key_file("client.crt").write_bytes(old.certificate)  # the reply never came to the disk
    assert greeted(gateway, ageing)
    with pytest.raises(RefusedError):
        renewed(gateway, ageing)  # within the hour
    gateway.clock.now += timedelta(hours=2)
    assert renewed(gateway, ageing) > expiry_of(old.certificate)


def test_a_certificate_that_is_good_for_long_is_not_renewed(gateway: LiveGateway) -> None:
    home = gateway.join("kyoto")
    with pytest.raises(RefusedError):
        renewed(gateway, home)
    assert any("refused Renew of kyoto" in line and "good until" in line for line in gateway.log)


def test_no_site_renews_anothers_certificate_nor_one_that_was_never_enrolled(
    gateway: LiveGateway, ageing: NetworkHome
) -> None:
    leiden = gateway.join("leiden")
    key = new_key()
    stray = issue_site(gateway.home.authority, new_request(key, "leiden"), "leiden", LONG_AGO)
    client = gateway.client(leiden)
    for certificate in (ageing.client.certificate, stray):
        with pytest.raises(RefusedError):
            client.call(calls.RENEW, wire.RenewRequest(certificate=certificate))
    client.close()
    assert sum("refused Renew of leiden" in line and "wrong-site" in line for line in gateway.log) == 2


def test_a_revoked_site_renews_nothing_and_its_renewed_certificate_opens_nothing(
    gateway: LiveGateway, ageing: NetworkHome
) -> None:
    renewed(gateway, ageing)
    gateway.enrolments.revoke(KYOTO, now=datetime.now(UTC))
    time.sleep(1.1)  # what the gateway knows of a certificate is a second old at most
    with pytest.raises(RefusedError):
        greeted(gateway, ageing)
    gateway.clock.now += timedelta(hours=2)
    with pytest.raises(RefusedError):
        renewed(gateway, ageing)


@pytest.mark.parametrize("fault", ["another site", "another key"])
def test_a_site_keeps_no_certificate_but_its_own(gateway: LiveGateway, ageing: NetworkHome, fault: str) -> None:
    key = ageing.client.key if fault == "another site" else new_key()
    name = "leiden" if fault == "another site" else "kyoto"
    given = issue_site(gateway.home.authority, new_request(key, name), name, datetime.now(UTC))

    class Posing(GatewayClient):
        def call(self, *_arguments: object, **_named: object) -> wire.RenewReply:
            return wire.RenewReply(certificate=given)

    before = ageing.client
    client = Posing(ageing.settings.address, authority=ageing.authority, pair=ageing.client)
    with pytest.raises(SignatureError):
        renew(client, ageing)
    client.close()
    assert ageing.client == before


def test_the_lasting_connection_takes_a_renewed_certificate_with_the_next_call(
    gateway: LiveGateway, ageing: NetworkHome
) -> None:
    lasting = RenewingClient(ageing)
    lasting.raw(calls.RELAY, relay_request(ageing, signature="a"), seconds=10)
    renewed(gateway, ageing)
    # From now on only the renewed certificate is known: a connection by the older one would be refused.
    with gateway.enrolments._connection() as connection:
        connection.execute("UPDATE renewals SET first_sha256 = 'renewed'")
        connection.execute("UPDATE sites SET certificate_sha256 = 'renewed'")
    time.sleep(1.1)
    assert lasting.raw(calls.RELAY, relay_request(ageing, signature="b"), seconds=10).status == 200
    lasting.close()


def test_the_doctor_tells_in_time(ageing: NetworkHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "RENEW_BEFORE", timedelta(days=60))
    found = {finding.check: finding for finding in examine(ageing)}["certificate"]
    assert found.state == PASSED
    assert "crosslot-site renew" in found.say
    assert timedelta(days=38) < time_left(ageing, datetime.now(UTC)) < timedelta(days=41)


def test_the_gateways_own_certificate_is_renewed_when_it_ends_soon(gateway: LiveGateway) -> None:
    now, old = datetime.now(UTC), gateway.home.gateway
    assert renew_gateway(gateway.home, now) is None
    soon = expiry_of(old.certificate) - timedelta(days=10)
    ends = renew_gateway(gateway.home, soon)
    assert ends is not None
    assert ends > soon + timedelta(days=800)
    pair: Pair = gateway.home.gateway
    assert public_of_certificate(pair.certificate) == public_of(pair.key)
    assert gateway.home.gateway != old
    assert renew_gateway(gateway.home, soon) is None
