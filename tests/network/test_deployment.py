"""A real deployment on loopback: one coordinator and one site as process trees, and a coordinator that turns hostile.

It runs where CROSSLOT_DEPLOYMENT=1 (``.ci/run`` sets it); the same rules are held without processes by the
other tests of this folder.
"""

import json
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.collection import SiteState
from coordinator.home import CoordinatorHome
from coordinator.network.superlink import bundle
from protocol.codec import sha256
from protocol.errors import ErrorCode
from protocol.exchange import BUNDLE, BUNDLE_SHA256
from shared.runtime.processes import wait_until
from simulations.network_demo import Deployment, command, coordinator_running, prepare
from tests.network.deployed import KYOTO, STUDY, deployed, live, log_of, one_round, said
from tests.study_with_cells import write_study


def test_flower_builds_the_bundle_whose_hash_sites_know() -> None:
    assert sha256(bundle()) == BUNDLE_SHA256


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployment"), (KYOTO,), (KYOTO,)) as made:
        yield made


@live
def test_a_bundle_with_code_is_never_opened_at_the_site_and_told_in_its_log(
    deployment: Deployment, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    hostile = f"open({str(canary)!r}, 'w').write('was here')\napp = None\n"
    project = BUNDLE["pyproject.toml"].replace("site_agent.network.flower_app:app", "hostile:app")
    content = bundle({"pyproject.toml": project, "hostile.py": hostile})
    event = one_round(deployment, bundle=content)
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
    heard = b""
    try:
        with (
            socket.create_connection((host, int(port)), 5) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            heard = connection.recv(4096)
    except (ssl.SSLError, ConnectionError):
        heard = b""
    assert heard == b""
    assert wait_until(lambda: "PEER_DID_NOT_RETURN_A_CERTIFICATE" in log_of(deployment), timeout_seconds=5)


@live
def test_clocks_that_differ_are_told_by_a_code_and_the_next_query_is_answered(deployment: Deployment) -> None:
    for skew, code in ((timedelta(minutes=11), ErrorCode.NOT_YET_VALID), (-timedelta(hours=2), ErrorCode.EXPIRED)):
        skewed = datetime.now(UTC) + skew
        event = one_round(deployment, clock=lambda skewed=skewed: skewed)  # type: ignore[misc]  # bound now
        assert (event.state, event.code) == (SiteState.FAILED, code)
        assert said(deployment, "query refused", code.sentence, name=KYOTO)
    assert one_round(deployment).state is SiteState.DELIVERED


@live
def test_checkpoints_come_home_and_cover_the_ledger(deployment: Deployment) -> None:
    deployment.ask_coordinator("collect", STUDY, "--deadline-minutes", "1", "--pause-seconds", "1")
    deployment.ask_site(KYOTO, "status")
    verify = ("log", "verify", "--json", "--home", str(deployment.sites[KYOTO]))
    verified = json.loads(command((sys.executable, "-c", "from site_agent.cli import main; main()", *verify)))
    assert verified["checkpoints"] >= 1
    assert 0 < verified["covered"] < verified["entries"]


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
