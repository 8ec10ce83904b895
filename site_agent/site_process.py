"""The site's executor as a process of its tree: ``python -m site_agent.site_process HOME PORT``.

PORT is the SuperNode's Runtime API on loopback. Here the parts meet: home, agent, mappings, and the way to Flower.
"""

import hashlib
import sys
import threading
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
from site_agent.network.downloads import fetch_atlas, list_studies, named
from site_agent.network.executor import Executor
from site_agent.network.flower_app import make_client_app
from site_agent.network.gateway_client import connected
from site_agent.network.greeting import greet_forever
from site_agent.network.keys import NetworkHome

PATIENCE_SECONDS: Final = 20.0
TASK_SECONDS: Final = 50.0


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
    app = make_client_app(HomeAgent(home, queue), clock=lambda: datetime.now(UTC), log=say)
    executor = Executor(
        f"{LOOPBACK}:{port}",
        network.executor_secret,
        app,
        known_bundle=BUNDLE_SHA256,
        task_seconds=TASK_SECONDS,
        log=say,
    )
    stopped = threading.Event()
    greeter = threading.Thread(target=greet_forever, args=(network, stopped, say), daemon=True, name="greet")
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
