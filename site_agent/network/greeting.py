"""Telling the coordinator now and then who is here: versions, atlases, and how far the two clocks are apart."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

from protocol.identifiers import time_of
from protocol.queries import CLOCK_TOLERANCE
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.errors import CrosslotError
from site_agent.network.gateway_client import GatewayClient, connected
from site_agent.network.keys import NetworkHome

INTERVAL_SECONDS: Final = 60.0
_ATLASES_TOLD: Final = 64


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """What the coordinator said of itself."""

    version: str
    flower: str
    compatible: bool
    clock_ahead_seconds: float  # of the coordinator's clock before this machine's

    @property
    def clocks_agree(self) -> bool:
        """Whether a query of now would be taken (SPEC 3.5)."""
        return abs(self.clock_ahead_seconds) <= CLOCK_TOLERANCE.total_seconds()

    def problems(self) -> tuple[str, ...]:
        """Return what a person should know: a named state, and what to do."""
        found = []
        if not self.compatible:
            found.append(
                f"version-mismatch: here crosslot {version('crosslot')}, the coordinator has {self.version}; "
                "install the coordinator's version"
            )
        if not self.clocks_agree:
            found.append(
                f"clock-skew: the coordinator's clock is {self.clock_ahead_seconds:+.0f} s from this one; "
                "set this machine's clock by a time server, or tell the coordinator"
            )
        return tuple(found)


def greet(client: GatewayClient, home: NetworkHome, *, state: str = "") -> Greeting:
    """Return the coordinator's greeting to this site's.

    Raises
    ------
    UnreachableError
        It does not answer.
    RefusedError
        It refuses this site.
    """
    asked = wire.GreetRequest(
        version=version("crosslot"), flower=version("flwr"), atlases=home.atlases()[:_ATLASES_TOLD], state=state
    )
    reply = client.call(calls.GREET, asked)
    ahead = (time_of(reply.now) - datetime.now(UTC)).total_seconds()
    return Greeting(version=reply.version, flower=reply.flower, compatible=reply.compatible, clock_ahead_seconds=ahead)


def greet_forever(home: NetworkHome, stopped: threading.Event, log: Callable[[str], None]) -> None:
    """Greet once a minute; what changes is logged once."""
    said: tuple[str, ...] = ("",)
    while not stopped.is_set():
        try:
            with connected(home) as client:
                now = greet(client, home).problems()
        except CrosslotError as error:
            now = (str(error),)
        if now != said:
            for line in now or ("the coordinator answers",):
                log(line)
            said = now
        stopped.wait(INTERVAL_SECONDS)
