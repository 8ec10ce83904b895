"""Attacks on a real deployment: each refused, and told by a line at the coordinator.

One coordinator as a process tree, an honest site as another; the second site is enrolled, and hostile: its forwarder
and SuperNode are real, its executor is this test, which has the site's keys and answers what it likes.
"""

import base64
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from coordinator.home import CoordinatorHome
from coordinator.network.enrolment import Enrolments, make_invite
from coordinator.store import SqliteStore
from protocol.certificates import Pair, issue_site, new_authority, new_key, new_node_key, new_request, public_of
from protocol.codec import encode
from protocol.enrolment import EnrolmentRequest, Invite, prove
from protocol.envelopes import PayloadType, open_envelope, seal
from protocol.exchange import BUNDLE_SHA256, Ask, BareCode, Reply
from protocol.identifiers import SiteId
from protocol.queries import answer_with_reports
from protocol.roster import open_query
from protocol.signing import SigningKey
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.errors import RefusedError
from shared.runtime.processes import LOOPBACK, free_port, spawn, stop, wait_until
from simulations.network_demo import COORDINATOR, Deployment
from site_agent.home import open_home
from site_agent.mapping_queue import MappingQueue
from site_agent.network.executor import Executor
from site_agent.network.flower_app import make_client_app
from site_agent.network.gateway_client import GatewayClient, UnreachableError, connected
from site_agent.network.greeting import greet
from site_agent.network.keys import NetworkHome
from site_agent.network.service import FORWARDER, SUPERNODE, process_specs
from site_agent.site_process import HomeAgent, bring_atlas
from tests.network.deployed import KYOTO, LEIDEN, STUDY, deployed, live, n_online, said
from tests.network.test_gateway import relay_request

ATTACKS = ("altered", "altered and named", "another site's", "replayed", "honest")


class Hostile:
    """Answers with the real agent, and changes what it says: one attack for each query, in turn."""

    def __init__(self, deployment: Deployment) -> None:
        self._home = open_home(deployment.sites[LEIDEN])
        self._network = NetworkHome(deployment.sites[LEIDEN])
        self._stored = SqliteStore(CoordinatorHome(deployment.coordinator).store_path)
        queue = MappingQueue(
            home=self._home.folder,
            fetch_atlas=lambda digest: bring_atlas(self._network, self._home.coordinator, digest),
            patience_seconds=45.0,
            limit_seconds=60.0,
            log=lambda _line: None,
        )
        self._agent = HomeAgent(self._home, queue)
        self._earlier: Reply | None = None
        self.left = list(ATTACKS)

    def answer(self, ask: Ask, now: datetime) -> Reply | BareCode:
        honest = self._agent.answer(ask, now)
        assert isinstance(honest, Reply)
        attack = self.left.pop(0) if self.left else "honest"
        altered = (_altered(honest.reports[0]), *honest.reports[1:])
        earlier, self._earlier = self._earlier, honest
        match attack:
            case "altered":
                return replace(honest, reports=altered)
            case "altered and named":
                return self._named(ask, altered)
            case "another site's":
                others = [each.envelope for each in self._stored.reports(STUDY) if each.site == KYOTO]
                return self._named(ask, tuple(others))
            case "replayed":
                assert earlier is not None
                return earlier
            case _:
                return honest

    def _named(self, ask: Ask, reports: tuple[bytes, ...]) -> Reply:
        query = open_query(ask.query, self._home.coordinator)
        answer = answer_with_reports(query.message, query.payload, reports, ledger=self._home.ledger().head())
        return Reply(answer=seal(encode(answer), PayloadType.ANSWER, self._home.site_key()), reports=reports)


def _altered(report: bytes) -> bytes:
    """Return the envelope with another version in its payload, and the signature that it had."""
    document = json.loads(report)
    payload = base64.b64decode(document["payload"])
    changed = payload.replace(b'"version":1', b'"version":2', 1)
    assert changed != payload
    return report.replace(document["payload"].encode(), base64.b64encode(changed))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("attacked"), (KYOTO, LEIDEN), (KYOTO,)) as made:
        yield made


@pytest.fixture
def home(deployment: Deployment) -> CoordinatorHome:
    return CoordinatorHome(deployment.coordinator)


@live
def test_altered_replayed_and_anothers_reports_are_refused_and_the_honest_ones_taken(
    deployment: Deployment, home: CoordinatorHome
) -> None:
    _collect(deployment, "0.4", expected=1)  # the honest site delivers first, so that its reports can be stolen
    assert {each.site for each in SqliteStore(home.store_path).reports(STUDY)} == {KYOTO}
    network, hostile = NetworkHome(deployment.sites[LEIDEN]), Hostile(deployment)
    port = free_port()
    specs = {each.name: each for each in process_specs(network, forwarder_port=free_port(), supernode_port=port)}
    stopped = threading.Event()
    with ExitStack() as running:
        for name in (FORWARDER, SUPERNODE):
            running.callback(stop, spawn(specs[name]))
        executor = Executor(
            f"{LOOPBACK}:{port}",
            network.executor_secret,
            make_client_app(hostile, clock=lambda: datetime.now(UTC), log=print),
            known_bundle=BUNDLE_SHA256,
            task_seconds=60,
            log=print,
        )
        taking = threading.Thread(target=executor.run, args=(stopped,), daemon=True)
        taking.start()
        running.callback(taking.join, 10)
        running.callback(stopped.set)
        assert wait_until(lambda: n_online(deployment) == 2, timeout_seconds=60)
        told = _collect(deployment, "3", expected=0)
    for code in (
        "The reports are not the ones that the answer names.",
        "The signature does not belong to this payload.",
        "The envelope is signed with a key that is not on the roster.",
        "The answer belongs to another query.",
    ):
        assert f"leiden: answer-rejected, 0 lots ({code}" in told, code
    kept = SqliteStore(home.store_path).reports(STUDY)
    assert [each.site for each in kept] == [KYOTO] * 4 + [LEIDEN] * 4
    own = open_home(deployment.sites[LEIDEN]).site_key().verifying_key
    for each in kept[4:]:
        open_envelope(each.envelope, PayloadType.LOT_REPORT, [own])


def _collect(deployment: Deployment, minutes: str, *, expected: int) -> str:
    argv = [*COORDINATOR, "collect", STUDY, "--home", str(deployment.coordinator)]
    done = subprocess.run(  # noqa: S603 - our own arguments
        [*argv, "--deadline-minutes", minutes, "--pause-seconds", "0.5"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == expected, done.stderr
    return done.stderr


@live
def test_a_site_that_poses_as_another_is_refused(deployment: Deployment) -> None:
    with connected(NetworkHome(deployment.sites[LEIDEN])) as client, pytest.raises(RefusedError):
        client.call(calls.RELAY, relay_request(NetworkHome(deployment.sites[KYOTO])))
    assert said(deployment, "refused Relay of leiden", "node key of another")


@live
def test_a_replayed_request_is_refused(deployment: Deployment) -> None:
    network = NetworkHome(deployment.sites[LEIDEN])
    with connected(network) as client:
        client.call(calls.RELAY, relay_request(network, path="/v1/fleet/get-run", signature="once"))
        with pytest.raises(RefusedError):
            client.call(calls.RELAY, relay_request(network, path="/v1/fleet/push-messages", signature="once"))
    assert said(deployment, "refused Relay of leiden", "request replayed")


@live
@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v1/runtime/acquire-task", "/v1/fleet/register-node"])
def test_no_path_leads_to_the_control_and_runtime_interfaces(deployment: Deployment, path: str) -> None:
    network = NetworkHome(deployment.sites[LEIDEN])
    with connected(network) as client, pytest.raises(RefusedError):
        client.call(calls.RELAY, relay_request(network, path=path, signature=path))
    assert said(deployment, "refused Relay of leiden", "path not relayed")


@live
def test_a_peer_of_a_foreign_authority_stands_in_the_log(deployment: Deployment, home: CoordinatorHome) -> None:
    now = datetime.now(UTC)
    foreign, key = new_authority(now), new_key()
    pair = Pair(certificate=issue_site(foreign, new_request(key, KYOTO), KYOTO, now), key=key)
    client = GatewayClient(home.settings.address, authority=home.authority.certificate, pair=pair)
    with pytest.raises(UnreachableError):
        client.call(calls.GREET, wire.GreetRequest(), seconds=5)
    client.close()
    assert said(deployment, "CERTIFICATE_VERIFY_FAILED")


def enrolment_of(invite: Invite) -> wire.EnrolRequest:
    key, client_key = SigningKey.generate(), new_key()
    request = EnrolmentRequest(
        site=invite.site,
        token=invite.token,
        key=key.verifying_key.to_hex(),
        node_key=public_of(new_node_key()).decode(),
        certificate_request=new_request(client_key, invite.site).decode(),
        version="0.1.0",
    )
    return wire.EnrolRequest(request=encode(request), proof=prove(request, key))


@live
def test_a_replayed_enrolment_a_used_and_an_expired_invite_are_refused(
    deployment: Deployment, home: CoordinatorHome
) -> None:
    enrolments = Enrolments(home.enrolments_path)
    osaka = make_invite(home, enrolments, SiteId("osaka"), token=os.urandom(32).hex(), now=datetime.now(UTC))
    late = make_invite(home, enrolments, SiteId("late"), token=os.urandom(32).hex(), now=datetime.now(UTC))
    with enrolments._connection() as connection:
        connection.execute("UPDATE invites SET expires = '2026-01-01T00:00:00Z' WHERE site = 'late'")
    client = GatewayClient(osaka.address, authority=osaka.authority_pem, pair=osaka.pair)
    captured = enrolment_of(osaka)
    client.call(calls.ENROL, captured)
    for again in (captured, enrolment_of(osaka)):  # the very bytes once more, and the same invite with other keys
        with pytest.raises(RefusedError, match="used before"):
            client.call(calls.ENROL, again)
    client.close()
    assert said(deployment, "refused Enrol of osaka", "replayed")
    client = GatewayClient(late.address, authority=late.authority_pem, pair=late.pair)
    with pytest.raises(RefusedError, match="expired"):
        client.call(calls.ENROL, enrolment_of(late))
    client.close()
    assert said(deployment, "refused Enrol of late", "expired")
    assert set(enrolments.enrolled()) == {KYOTO, LEIDEN, SiteId("osaka")}


@live
def test_a_revoked_site_is_refused_at_once_and_keeps_what_it_delivered(
    deployment: Deployment, home: CoordinatorHome
) -> None:
    before = SqliteStore(home.store_path).reports(STUDY)
    deployment.ask_coordinator("revoke", LEIDEN)
    network = NetworkHome(deployment.sites[LEIDEN])
    with connected(network) as client, pytest.raises(RefusedError, match="does not know this site"):
        greet(client, network)
    assert said(deployment, "refused Greet of leiden", "was revoked")
    assert SqliteStore(home.store_path).reports(STUDY) == before
