"""The gateway as a process of the coordinator's tree: ``python -m coordinator.network.gateway_process HOME PORT``.

PORT is the SuperLink's on loopback. The gateway waits for it, registers the enrolled nodes, and serves until SIGTERM.
"""

import ssl
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

from coordinator.home import CoordinatorHome
from coordinator.network.enrolment import Enrolments
from coordinator.network.gateway import GatewayParts, serve, sites_by_node
from coordinator.network.renewal import renew_gateway
from coordinator.network.superlink import SuperLink
from coordinator.network.waiting import Waiting
from shared.errors import InternalError
from shared.runtime.processes import LOOPBACK, accepts_connections, stopped_by_signals, wait_until

_SUPERLINK_SECONDS: Final = 60.0
_UPSTREAM_SECONDS: Final = 60.0
# The SuperLink has one processor's worth of Python and one file that one thread at a time can write: more calls at once
# would wait there for each other, by SQLite's sleeping and trying again.
_UPSTREAM_AT_ONCE: Final = 8
_STOP_SECONDS: Final = 3.0


def main(home_path: Path, superlink_port: int) -> None:
    """Serve until told to stop."""
    home = CoordinatorHome(home_path)
    settings = home.settings
    if not wait_until(lambda: accepts_connections(superlink_port), timeout_seconds=_SUPERLINK_SECONDS):
        raise InternalError(f"the SuperLink does not listen on port {superlink_port}")
    address = f"{LOOPBACK}:{superlink_port}"
    if (ends := renew_gateway(home, datetime.now(UTC))) is not None:
        _say(f"renewed the gateway's own certificate, good until {ends:%Y-%m-%d}")
    enrolments, superlink = Enrolments(home.enrolments_path), SuperLink.of(home, address)
    registered = sites_by_node(enrolments, superlink)
    trusted = ssl.create_default_context(cadata=home.superlink_certificate.read_text("ascii"))
    limits = httpx.Limits(max_connections=_UPSTREAM_AT_ONCE, max_keepalive_connections=_UPSTREAM_AT_ONCE)
    with httpx.Client(
        base_url=f"https://{address}", verify=trusted, timeout=_UPSTREAM_SECONDS, limits=limits, trust_env=False
    ) as upstream:
        parts = GatewayParts(
            home=home,
            enrolments=enrolments,
            superlink=superlink,
            upstream=upstream,
            clock=lambda: datetime.now(UTC),
            log=_say,
            waiting=Waiting(home.superlink_database, _say),
        )
        server, port = serve(parts, settings.listen)
        _say(f"listening on {settings.listen.rpartition(':')[0]}:{port}, {len(registered)} sites enrolled")
        stopped = threading.Event()
        with stopped_by_signals(stopped.set):
            stopped.wait()
        server.stop(_STOP_SECONDS).wait()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a process of a tree speaks by its output


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
