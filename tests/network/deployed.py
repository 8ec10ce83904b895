"""A deployment for tests: real process trees on loopback. Slow, so it runs where CROSSLOT_DEPLOYMENT=1."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.collection import CollectionEvent, site_states
from coordinator.home import CoordinatorHome
from coordinator.network.collecting import roster_of
from coordinator.network.enrolment import Enrolments
from coordinator.network.flower_app import CollectionRun, collect_round
from coordinator.network.gateway import sites_by_node
from coordinator.network.registry import published
from coordinator.network.superlink import SuperLink
from coordinator.store import MemoryStore
from protocol.identifiers import SiteId, StudyId
from shared.runtime.processes import wait_until
from simulations.network_demo import Deployment, coordinator_running, join_all, prepare, site_running
from tests.study_with_cells import write_study

KYOTO, LEIDEN, STUDY = SiteId("kyoto"), SiteId("leiden"), StudyId("vegf-2026")
live = pytest.mark.skipif(os.environ.get("CROSSLOT_DEPLOYMENT") != "1", reason="needs CROSSLOT_DEPLOYMENT=1: slow")


@contextmanager
def deployed(
    folder: Path, sites: tuple[SiteId, ...], serving: tuple[SiteId, ...], *, address: str | None = None
) -> Iterator[Deployment]:
    """Keep a coordinator running with joined sites, some of them served, and the study published."""
    study = write_study(folder / "study", sites=sites, lots_per_site=8)
    made = prepare(study, folder / "network", address=address)
    with ExitStack() as running:
        running.enter_context(coordinator_running(made))
        join_all(made)
        made.ask_coordinator("publish", str(study / "study.toml"), "--atlas", str(study / "reference.atlas"))
        for site in serving:
            running.enter_context(site_running(made, site))
        assert wait_until(lambda: n_online(made) == len(serving), timeout_seconds=60)
        yield made


def n_online(deployment: Deployment) -> int:
    nodes = SuperLink.of(CoordinatorHome(deployment.coordinator)).nodes()
    return sum(state == "online" for _, state in nodes.values())


def log_of(deployment: Deployment, name: str = "coordinator") -> str:
    return (deployment.logs / f"{name}.log").read_text()


def said(deployment: Deployment, *words: str, name: str = "coordinator") -> bool:
    """Return whether, soon, one line of a log holds all these words."""
    return wait_until(
        lambda: any(all(word in line for word in words) for line in log_of(deployment, name).splitlines()),
        timeout_seconds=5,
    )


def one_round(
    deployment: Deployment,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    bundle: bytes | None = None,
    site: SiteId = KYOTO,
) -> CollectionEvent:
    """Ask one site once, as a coordinator with this clock and this bundle would; nothing of it is kept."""
    home = CoordinatorHome(deployment.coordinator)
    superlink, enrolments, store = SuperLink.of(home), Enrolments(home.enrolments_path), MemoryStore()
    study = published(home, STUDY)
    run = CollectionRun(
        study=study.plan,
        roster=roster_of(home, study, enrolments.enrolled()),
        key=home.key,
        store=store,
        nodes={site: sites_by_node(enrolments, superlink)[site]},
        clock=clock,
        nonce=lambda: os.urandom(16).hex(),
        log=lambda _line: None,
        reply_seconds=60.0,
    )
    with superlink.grid(bundle) as grid:
        collect_round(run, grid)
    event = site_states([site], map(CollectionEvent.from_line, store.events(STUDY)))[site]
    assert event is not None
    return event
