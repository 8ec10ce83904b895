"""How many sites one gateway and one SuperLink on one machine carry, with light clients in place of SuperNodes.

``python benchmarks/network_scale.py [--sites 50 100 200]``

Gateway and SuperLink are the real processes. A light client is a thread that makes the very calls of a SuperNode (the
same Flower client class, the same signatures, through the site's own gRPC connection), and answers by the real agent
over lots without cells; what it lacks of a site is its three processes of about 120 MiB each.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Context, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, pull_objects
from flwr.supernode import fleet_http_connection
from flwr.supernode.fleet_http_client import FleetHttpClient

from coordinator.home import CoordinatorHome, init_home, say_running
from coordinator.network.collecting import collect
from coordinator.network.enrolment import Enrolments, make_invite
from coordinator.network.registry import publish
from coordinator.network.service import gateway_spec, superlink_spec
from coordinator.network.wellbeing import health_of
from coordinator.store import SqliteStore
from protocol.identifiers import SiteId
from protocol.plan import StudyPlan
from protocol.policy import SitePolicy, write_policy
from protocol.signing import SigningKey
from protocol.study_draft import write_study_draft
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.atlas.artefact import to_bytes
from shared.runtime.processes import LOOPBACK, free_port, spawn, stop, wait_until
from site_agent.agent import Agent, SiteIdentity
from site_agent.network.enrolment import join
from site_agent.network.flower_app import make_client_app
from site_agent.network.gateway_client import GatewayClient
from site_agent.network.keys import NetworkHome
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import MemoryLog
from site_agent.release.ledger import Ledger
from site_agent.release.site_records import MemoryRecords
from tests.study_parts import THREE_LOTS, Lots, make_plan
from tests.study_with_cells import cell_study, make_study_plan

POLL_SECONDS = 3.0  # as a SuperNode polls


class RelayTransport(httpx.BaseTransport):
    """Sends what would be HTTP as gRPC calls of one site, as its forwarder does."""

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the relayed reply."""
        asked = wire.RelayRequest(
            path=request.url.path,
            body=request.read(),
            content_type=request.headers.get("content-type", ""),
            accept=request.headers.get("accept", ""),
            headers={name: value for name, value in request.headers.items() if name.startswith("flwr-")},
        )
        reply = self._client.raw(calls.RELAY, asked, seconds=60)
        return httpx.Response(reply.status, content=reply.body, headers={"content-type": reply.content_type})


def agent_of(home: CoordinatorHome, plan: StudyPlan, site: SiteId, key: SigningKey) -> Agent:
    """Return a real agent over lots without cells."""
    coordinator = home.key.verifying_key
    policy = SitePolicy(
        version=1,
        site=site,
        profile=plan.disclosure.profile,
        allowed_studies=(plan.study,),
        allowed_coordinators=(coordinator.fingerprint,),
        auto_approve=(plan.study,),
    )
    return Agent(
        SiteIdentity(site=site, key=key, coordinator=coordinator),
        policy=write_policy(policy),
        reports=Lots({f"{site}-{name}": counts for name, counts in THREE_LOTS.items()}),
        airlock=Airlock(MemoryLog()),
        ledger=Ledger(MemoryLog(), site=site, key=key),
        records=MemoryRecords(),
        log=lambda line: print(line, file=sys.stderr),
    )


def live(network: NetworkHome, agent: Agent, stopped: threading.Event, problems: list[str]) -> None:
    """Poll and answer as a SuperNode with its executor does, until stopped."""
    client = GatewayClient(network.settings.address, authority=network.authority, pair=network.client)
    app = make_client_app(agent, clock=lambda: datetime.now(UTC), log=problems.append)
    private = load_ssh_private_key(network.node_key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101 - made so by join
    _TRANSPORTS[threading.get_ident()] = RelayTransport(client)
    with fleet_http_connection.http_request_response("relay", False, None, (private, private.public_key())) as (
        node_id,
        receive,
        send,
        get_run,
        get_fab,
        pull_object,
        push_object,
        confirm,
    ):
        known: set[int] = set()
        while not stopped.is_set():
            received = receive()
            if received is None:
                stopped.wait(POLL_SECONDS)
                continue
            message, tree = received
            run_id = message.metadata.run_id
            if run_id not in known:
                get_fab(get_run(run_id).fab_hash, run_id)
                known.add(run_id)
            wanted = [each.object_id for each in iterate_object_tree(tree)]
            contents = pull_objects(wanted, partial(pull_object, run_id))
            confirm(run_id, tree.object_id)
            whole = inflate_object_from_contents(tree.object_id, contents)
            assert isinstance(whole, Message)  # noqa: S101 - Flower sends messages
            whole.metadata.__dict__["_message_id"] = tree.object_id
            context = Context(run_id=run_id, node_id=node_id, node_config={}, state=RecordDict(), run_config={})
            reply = app(whole, context)
            reply.metadata.__dict__["_message_id"] = reply.object_id
            objects = get_all_nested_objects(reply)
            absent, session = send(reply, get_object_tree(reply), 0.1)
            for identifier in absent:
                push_object(run_id, session, identifier, objects[identifier].deflate())
    client.close()


_TRANSPORTS: dict[int, RelayTransport] = {}


class RelayedClient(FleetHttpClient):
    """Flower's own client, its calls relayed."""

    @classmethod
    def from_server_address(cls, *_arguments: object, **named: object) -> "RelayedClient":
        """Return a client of the thread's own connection."""
        made = cls("https://relay", interceptors=named["interceptors"])  # type: ignore[arg-type]  # as Flower gives them
        made._client = httpx.Client(transport=_TRANSPORTS[threading.get_ident()])
        return made


def processor_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the processor time of each process so far, seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = {name: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for name, pid in pids.items()}
    return {name: (int(each[11]) + int(each[12])) / ticks for name, each in fields.items()}


def measure(n_sites: int, work: Path) -> None:
    """Enrol so many sites, let them idle, then collect one study of all of them; print what it took."""
    sites = tuple(SiteId(f"site-{number:04d}") for number in range(n_sites))
    plan = make_plan(sites=sites).model_copy(update={"atlas": make_study_plan(sites).atlas})
    address = f"{LOOPBACK}:{free_port()}"
    home = init_home(work / "coordinator", address=address, listen=address, now=datetime.now(UTC))
    (work / "study.toml").write_bytes(write_study_draft(plan))
    (work / "reference.atlas").write_bytes(to_bytes(cell_study().atlas))
    port, stopped, problems = free_port(), threading.Event(), list[str]()
    specs = (superlink_spec(home, port), gateway_spec(home, port))
    with ExitStack() as ending:
        children = {}
        for spec in specs:
            children[spec.name] = child = spawn(spec)
            threading.Thread(target=lambda stream=child.stdout: [None for _ in stream], daemon=True).start()
            ending.callback(stop, child)
        pids = {name: child.pid for name, child in children.items()}
        say_running(home, port, pids)
        assert wait_until(lambda: health_of(home) == "serving", timeout_seconds=60)  # noqa: S101 - nothing to measure
        enrolments = Enrolments(home.enrolments_path)
        started, threads = time.monotonic(), []
        for site in sites:
            key = SigningKey.generate()
            network = NetworkHome(work / "sites" / site)
            invite = make_invite(home, enrolments, site, token=os.urandom(32).hex(), now=datetime.now(UTC))
            join(network, invite, key, now=datetime.now(UTC))
            agent = agent_of(home, plan, site, key)
            thread = threading.Thread(target=live, args=(network, agent, stopped, problems), daemon=True)
            thread.start()
            threads.append(thread)
        joined = time.monotonic() - started
        ending.callback(stopped.set)
        time.sleep(10)
        before, at = processor_seconds(pids), time.monotonic()
        time.sleep(20)
        after, idle = processor_seconds(pids), time.monotonic() - at
        shares = ", ".join(f"{name} {100 * (after[name] - before[name]) / idle:.0f} %" for name in pids)
        publish(home, work / "study.toml", work / "reference.atlas")
        started = time.monotonic()
        ended = collect(
            home,
            plan.study,
            deadline_seconds=300,
            pause_seconds=0.2,
            show=lambda _now: None,
            log=lambda line: print(line, file=sys.stderr) if "delivered" not in line else None,
        )
        took = time.monotonic() - started
        reports = len(SqliteStore(home.store_path).reports(plan.study))
        delivered = sum(event is not None and event.state == "delivered" for event in ended.events.values())
        rounds = max(event.round for event in ended.events.values() if event is not None)
        print(
            f"| {n_sites} | {joined / n_sites:.2f} s | {shares} | {delivered} of {n_sites} ({reports} reports) "
            f"| {rounds} | {took:.1f} s |",
            flush=True,
        )
        for line in problems[:3]:
            print(line, file=sys.stderr)
        stopped.set()
        for thread in threads:
            with suppress(RuntimeError):
                thread.join(10)


def main() -> None:
    """Measure each number of sites and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[50, 100, 200])
    fleet_http_connection.FleetHttpClient = RelayedClient  # type: ignore[attr-defined]  # the seam for light clients
    print(
        "| sites | joining, each | idle: processor share | delivered | rounds | collected in |\n"
        "|---|---|---|---|---|---|"
    )
    for n_sites in parser.parse_args().sites:
        with tempfile.TemporaryDirectory() as folder:
            measure(n_sites, Path(folder))


if __name__ == "__main__":
    main()
