"""The site's executor as a process of its tree: ``python -m site_agent.site_process HOME PORT``.

PORT is the SuperNode's Runtime API on loopback. Here the parts meet: home, agent, mappings, and the way to Flower.
"""

import hashlib
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from protocol.errors import ErrorCode, ProtocolError
from protocol.exchange import BUNDLE_SHA256, Ask, BareCode, Reply
from protocol.identifiers import Sha256
from protocol.signing import VerifyingKey
from shared.errors import CrosslotError
from shared.runtime.processes import LOOPBACK, stopped_by_signals
from site_agent.agent import Agent, SiteIdentity
from site_agent.home import Home, open_home
from site_agent.mapping_queue import MappingQueue
from site_agent.network.checkpoints import bring_checkpoints
from site_agent.network.downloads import fetch_atlas, list_studies, named
from site_agent.network.executor import Executor
from site_agent.network.flower_app import make_client_app
from site_agent.network.gateway_client import GatewayClient, connected
from site_agent.network.greeting import Touch
from site_agent.network.keys import NetworkHome
from site_agent.network.renewal import RENEW_BEFORE, renew, time_left

PATIENCE_SECONDS: Final = 20.0
TASK_SECONDS: Final = 50.0
_GREETINGS_AFTER: Final = 5


class HomeAgent:
    """Answers with the home as it is now: a policy that was edited counts from the next query on."""

    def __init__(self, home: Home, queue: MappingQueue) -> None:
        self._home = home
        self._queue = queue

    def answer(self, ask: Ask, now: datetime) -> Reply | BareCode:
        """Return the answer to what the coordinator sent."""
        home = self._home
        agent = Agent(
            SiteIdentity(site=home.site, key=home.site_key(), coordinator=home.coordinator, steward=home.steward()),
            policy=home.policy(),
            reports=self._queue,
            airlock=home.airlock(),
            ledger=home.ledger(),
            records=home.records,
            log=say,
            noise=home.noise_book(),
        )
        return agent.answer(ask, now)


def bring_atlas(network: NetworkHome, coordinator: VerifyingKey, digest: Sha256) -> Path:
    """Return where an atlas lies, fetched from the registry where it is absent.

    Raises
    ------
    CrosslotError
        It cannot be had.
    """
    here = network.atlas(digest)
    if here.is_file() and hashlib.sha256(here.read_bytes()).hexdigest() == digest:
        return here
    here.unlink(missing_ok=True)
    with connected(network) as client:
        manifest = named(list_studies(client, coordinator), digest)
        if manifest is None:
            raise ProtocolError(ErrorCode.ATLAS_MISMATCH, "The registry has no study with this atlas.")
        return fetch_atlas(client, network, manifest, log=say)


def checkpoints_chore(home: Home, network: NetworkHome) -> Callable[[GatewayClient], str]:
    """Return the chore that brings the checkpoints of a ledger that has grown of late.

    A round is countersigned at its end, which may be a minute after the answer: so it is asked for some minutes on.
    """
    seen = [-1, 0]

    def bring(client: GatewayClient) -> str:
        length = sum(1 for _ in (home.folder / "ledger").glob("*.json"))  # the agent's own ledger is another thread's
        seen[:] = [length, _GREETINGS_AFTER] if length != seen[0] else [length, seen[1] - 1]
        if seen[1] < 0:
            return ""
        came = bring_checkpoints(client, network, home.coordinator)
        return f"the coordinator countersigned the ledger: {came} checkpoints came" if came else ""

    return bring


def renewal_chore(network: NetworkHome) -> Callable[[GatewayClient], str]:
    """Return the chore that renews the site's certificate in time."""

    def renew_in_time(client: GatewayClient) -> str:
        if time_left(network, datetime.now(UTC)) > RENEW_BEFORE:
            return ""
        return f"the site's certificate was renewed, good until {renew(client, network):%Y-%m-%d}"

    return renew_in_time


def main(folder: Path, port: int) -> None:
    """Answer tasks until told to stop."""
    home, network = open_home(folder), NetworkHome(folder)
    queue = MappingQueue(
        home=folder,
        fetch_atlas=lambda digest: bring_atlas(network, home.coordinator, digest),
        patience_seconds=PATIENCE_SECONDS,
        limit_seconds=60.0 * network.settings.mapping_minutes,
        log=say,
    )
    touch = Touch(home=network, log=say, chores=(checkpoints_chore(home, network), renewal_chore(network)))
    app = make_client_app(HomeAgent(home, queue), clock=lambda: datetime.now(UTC), log=say)
    executor = Executor(
        f"{LOOPBACK}:{port}",
        network.executor_secret,
        app,
        known_bundle=BUNDLE_SHA256,
        task_seconds=TASK_SECONDS,
        log=say,
        may_answer=touch.may_answer,
    )
    stopped = threading.Event()
    greeter = threading.Thread(target=touch.keep, args=(stopped,), daemon=True, name="greet")
    say(f"site {home.site} ready, crosslot {version('crosslot')}, signing key {home.site_key().fingerprint}")
    with stopped_by_signals(stopped.set):
        greeter.start()
        try:
            executor.run(stopped)
        except CrosslotError as error:
            say(f"error: {error}")
            raise
        finally:
            queue.close()


def say(line: str) -> None:
    """Write a line for the site's log."""
    print(line, flush=True)  # noqa: T201 - a process of a tree speaks by its output


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
