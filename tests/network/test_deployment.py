"""A real deployment on loopback, attacked: one coordinator and one site as process trees. Slow: about a minute.

It runs where CROSSLOT_DEPLOYMENT=1 (``.ci/run`` sets it); the same rules are held without processes by the
other tests of this folder.
"""

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.collection import CollectionEvent, SiteState, site_states
from coordinator.home import CoordinatorHome
from coordinator.network.collecting import roster_of
from coordinator.network.enrolment import Enrolments
from coordinator.network.flower_app import CollectionRun, collect_round
from coordinator.network.gateway import sites_by_node
from coordinator.network.registry import published
from coordinator.network.superlink import SuperLink, bundle
from coordinator.store import SqliteStore
from protocol.codec import sha256
from protocol.exchange import BUNDLE, BUNDLE_SHA256
from protocol.identifiers import SiteId, StudyId
from shared.runtime.processes import wait_until
from simulations.network_demo import Deployment, coordinator_running, join_all, prepare, site_running
from tests.study_with_cells import write_study

KYOTO, STUDY = SiteId("kyoto"), StudyId("vegf-2026")
live = pytest.mark.skipif(os.environ.get("CROSSLOT_DEPLOYMENT") != "1", reason="needs CROSSLOT_DEPLOYMENT=1: slow")


def test_flower_builds_the_bundle_whose_hash_sites_know() -> None:
    assert sha256(bundle()) == BUNDLE_SHA256


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    study = write_study(folder / "study", sites=(KYOTO,), lots_per_site=8)
    made = prepare(study, folder / "network")
    with ExitStack() as running:
        running.enter_context(coordinator_running(made))
        join_all(made)
        made.ask_coordinator("publish", str(study / "study.toml"), "--atlas", str(study / "reference.atlas"))
        running.enter_context(site_running(made, KYOTO))
        home = CoordinatorHome(made.coordinator)
        assert wait_until(
            lambda: any(state == "online" for _, state in SuperLink.of(home).nodes().values()), timeout_seconds=60
        )
        yield made


def log_of(deployment: Deployment, name: str) -> str:
    return (deployment.logs / f"{name}.log").read_text()


@live
def test_a_bundle_with_code_is_never_opened_at_the_site_and_told_in_its_log(
    deployment: Deployment, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    hostile = f"open({str(canary)!r}, 'w').write('was here')\napp = None\n"
    project = BUNDLE["pyproject.toml"].replace("site_agent.network.flower_app:app", "hostile:app")
    content = bundle({"pyproject.toml": project, "hostile.py": hostile})
    home = CoordinatorHome(deployment.coordinator)
    superlink, enrolments, store = SuperLink.of(home), Enrolments(home.enrolments_path), SqliteStore(home.store_path)
    study = published(home, STUDY)
    run = CollectionRun(
        study=study.plan,
        roster=roster_of(home, study, enrolments.enrolled()),
        key=home.key,
        store=store,
        nodes=sites_by_node(enrolments, superlink),
        clock=lambda: datetime.now(UTC),
        nonce=lambda: os.urandom(16).hex(),
        log=lambda _line: None,
        reply_seconds=60.0,
    )
    with superlink.grid(content) as grid:
        collect_round(run, grid)
    event = site_states([KYOTO], map(CollectionEvent.from_line, store.events(STUDY)))[KYOTO]
    assert event is not None
    assert event.state is SiteState.DELIVERED  # the installed code answered, as ever
    assert not canary.exists()
    assert f"a bundle that may hold code (SHA-256 {sha256(content)}); it was not opened" in log_of(deployment, KYOTO)
    assert not list(deployment.sites[KYOTO].rglob("hostile.py"))


@live
def test_an_anonymous_peer_stands_in_the_coordinators_log(deployment: Deployment) -> None:
    home = CoordinatorHome(deployment.coordinator)
    host, _, port = home.settings.address.partition(":")
    context = ssl.create_default_context(cadata=home.authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    said = b""
    try:
        with (
            socket.create_connection((host, int(port)), 5) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            said = connection.recv(4096)
    except (ssl.SSLError, ConnectionError):
        said = b""
    assert said == b""
    assert wait_until(
        lambda: "PEER_DID_NOT_RETURN_A_CERTIFICATE" in log_of(deployment, "coordinator"), timeout_seconds=5
    )


@live
def test_nothing_listens_but_the_gateway_and_loopback(deployment: Deployment) -> None:
    listening = {
        bytes.fromhex(line.split()[1].partition(":")[0])[::-1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and _ours(line.split()[9], deployment)
    }
    assert {socket.inet_ntoa(address) for address in listening} == {"127.0.0.1"}


def _ours(inode: str, deployment: Deployment) -> bool:
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if str(deployment.coordinator.parent).encode() not in command:
                continue
            if any(str(each.readlink()) == wanted for each in (process / "fd").iterdir()):
                return True
        except OSError:
            continue
    return False


@live
def test_a_service_stops_on_sigterm_and_leaves_nothing(deployment: Deployment, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", sites=(KYOTO,))
    other = prepare(study, tmp_path / "network")
    with coordinator_running(other) as process:
        started = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0
        assert time.monotonic() - started < 15
    assert not [
        each for each in Path("/proc").glob("[0-9]*/cmdline") if str(other.coordinator).encode() in each.read_bytes()
    ]
    assert not (other.coordinator / "run" / "service.json").exists()
