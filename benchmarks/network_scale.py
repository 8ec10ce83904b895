"""How many sites one gateway and one SuperLink on one machine carry, with light clients in place of SuperNodes.

``python -m benchmarks.network_scale [--sites 10 50 100 200]``

Gateway and SuperLink are the real processes. A light client is a thread that makes the very calls of a SuperNode (the
same Flower client class, the same signatures, through the site's own gRPC connection), and answers by the real agent
over lots without cells; what it lacks of a site is its three processes of about 120 MiB each. ``collect`` is the real
command. Of each process processor time and memory at its peak are told; ``load`` is the machine's, by others too.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
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
from coordinator.network.collecting import standing
from coordinator.network.enrolment import Enrolments, make_invite
from coordinator.network.registry import publish
from coordinator.network.service import gateway_spec, superlink_spec
from coordinator.network.wellbeing import health_of
from coordinator.store import SqliteStore
from protocol.identifiers import SiteId, StudyId
from protocol.plan import StudyPlan
from protocol.policy import SitePolicy, write_policy
from protocol.signing import SigningKey
from protocol.study_draft import write_study_draft
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.atlas.artefact import to_bytes
from shared.runtime.processes import LOOPBACK, ProcessSpec, free_port, spawn, stop, wait_until
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

COORDINATOR = (sys.executable, "-m", "coordinator.network")
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


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a process has used so far."""

    processor_seconds: float
    peak_megabytes: float

    def since(self, before: "Use") -> str:
        """Return processor time since then, and the peak of memory, for a table."""
        return f"{self.processor_seconds - before.processor_seconds:.1f} s, {self.peak_megabytes:.0f} MB"


def use_of(pid: int) -> Use:
    """Return what a running process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Use(processor_seconds=seconds, peak_megabytes=peak / 1024)


def follow(child: subprocess.Popen[str], log: Path) -> threading.Thread:
    """Write what a process prints into a file."""

    def copy() -> None:
        assert child.stdout is not None  # noqa: S101 - spawned so
        with log.open("w") as file:
            file.writelines(child.stdout)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def collected(home: CoordinatorHome, study: StudyId, log: Path, minutes: float) -> tuple[float, Use]:
    """Run the command that collects, and return its seconds and what it used."""
    argv = (*COORDINATOR, "collect", study, "--home", str(home.path), "--deadline-minutes", str(minutes))
    started = time.monotonic()
    child = spawn(ProcessSpec(name="collect", argv=(*argv, "--pause-seconds", "1", "--json")))
    reading, used = follow(child, log), Use(processor_seconds=0, peak_megabytes=0)
    while child.poll() is None:
        with suppress(OSError, StopIteration):  # it ends between two looks
            used = use_of(child.pid)
        time.sleep(0.2)
    took = time.monotonic() - started
    reading.join(5)
    return took, used


def measure(n_sites: int, work: Path, minutes: float) -> None:
    """Enrol so many sites, let them idle, then collect one study of all of them; print what it took."""
    sites = tuple(SiteId(f"site-{number:04d}") for number in range(n_sites))
    plan = make_plan(sites=sites).model_copy(update={"atlas": make_study_plan(sites).atlas})
    address = f"{LOOPBACK}:{free_port()}"
    home = init_home(work / "coordinator", address=address, listen=address, now=datetime.now(UTC))
    (work / "study.toml").write_bytes(write_study_draft(plan))
    (work / "reference.atlas").write_bytes(to_bytes(cell_study().atlas))
    port, stopped, problems = free_port(), threading.Event(), list[str]()
    with ExitStack() as ending:
        pids = {"clients": os.getpid()}
        for spec in (superlink_spec(home, port), gateway_spec(home, port)):
            child = spawn(spec)
            follow(child, work / f"{spec.name}.log")
            ending.callback(stop, child)
            pids[spec.name] = child.pid
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
        time.sleep(5)
        before, at = {name: use_of(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(20)
        idle = {
            name: (use_of(pid).processor_seconds - before[name].processor_seconds) / (time.monotonic() - at)
            for name, pid in pids.items()
        }
        publish(home, work / "study.toml", work / "reference.atlas")
        before = {name: use_of(pid) for name, pid in pids.items()}
        took, used = collected(home, plan.study, work / "collect.log", minutes)
        after = {name: use_of(pid) for name, pid in pids.items()}
        events = standing(home, plan.study).events.values()
        cells = (
            str(n_sites),
            f"{joined / n_sites:.2f} s",
            *(f"{100 * idle[name]:.0f} %" for name in ("superlink", "gateway")),
            f"{sum(event is not None and event.state == 'delivered' for event in events)} of {n_sites}",
            str(len(SqliteStore(home.store_path).reports(plan.study))),
            str(max((event.round for event in events if event is not None), default=0)),
            f"{took:.0f} s",
            *(after[name].since(before[name]) for name in ("superlink", "gateway")),
            used.since(Use(processor_seconds=0, peak_megabytes=0)),
            after["clients"].since(before["clients"]),
            f"{os.getloadavg()[0]:.0f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)
        for line in problems[:3]:
            print(line, file=sys.stderr)
        stopped.set()
        for thread in threads:
            with suppress(RuntimeError):
                thread.join(10)


COLUMNS = (
    *("sites", "joining, each", "idle: SuperLink", "idle: gateway", "delivered", "reports", "rounds", "collected in"),
    *("SuperLink", "gateway", "collect", "light clients", "load"),
)


def main() -> None:
    """Measure each number of sites and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[10, 50, 100, 200])
    parser.add_argument("--minutes", type=float, default=5.0, help="The deadline of each collection.")
    parser.add_argument("--logs", type=Path, help="Keep what the processes print in this folder.")
    given = parser.parse_args()
    fleet_http_connection.FleetHttpClient = RelayedClient  # type: ignore[attr-defined]  # the seam for light clients
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for n_sites in given.sites:
        with tempfile.TemporaryDirectory() as folder:
            measure(n_sites, Path(folder), given.minutes)
            for log in Path(folder).glob("*.log") if given.logs else ():
                given.logs.mkdir(parents=True, exist_ok=True)
                shutil.copy(log, given.logs / f"{n_sites}-{log.name}")


if __name__ == "__main__":
    main()
