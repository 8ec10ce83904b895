"""Telling the coordinator once a minute who is here: versions, atlases, a state; and what is done on that occasion.

Rules
-----
1. No query is answered before the first greeting, nor while the two versions do not fit: both ends name the state.
2. A full disk is told the coordinator as a state, since an answer that must be written down first cannot be given.
3. Checkpoints of this site's ledger are brought home, and the certificate is renewed in time (``Touch.chores``).
"""

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
_FIRST_SECONDS: Final = 2.0
DISK_FULL: Final = "disk-full"
LEAST_FREE_BYTES: Final = 16 * 2**20
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
                "no query is answered; install the coordinator's version, or ask it to install this one"
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


Chore = Callable[[GatewayClient], str]
"""Something to do on an open connection; returns a line for the log, or nothing to say."""


@dataclass(frozen=True, kw_only=True)
class Touch:
    """Keeps in touch with the coordinator, in a thread of its own.

    Attributes
    ----------
    home : NetworkHome
        The site's.
    log : callable
        Takes lines for the site's log; what changes is said once.
    may_answer : threading.Event
        Set while queries may be answered.
    chores : sequence of Chore
        What is done at each greeting.
    """

    home: NetworkHome
    log: Callable[[str], None]
    may_answer: threading.Event = field(default_factory=threading.Event)
    chores: Sequence[Chore] = ()

    def keep(self, stopped: threading.Event) -> None:
        """Greet once a minute until stopped."""
        said: tuple[str, ...] = ("",)
        while not stopped.is_set():
            pause = INTERVAL_SECONDS
            try:
                now = self.once()
            except CrosslotError as error:
                now = (f"{error}",)
                if not self.may_answer.is_set():  # no query is answered before the first greeting
                    pause = min(pause, _FIRST_SECONDS)
            if now != said:
                for line in now or ("the coordinator answers",):
                    self.log(line)
                said = now
            stopped.wait(pause)

    def once(self) -> tuple[str, ...]:
        """Greet, let queries be answered or not, do the chores, and return what a person should know.

        Raises
        ------
        CrosslotError
            The coordinator does not answer, or refuses; whether queries may be answered stays as it was.
        """
        full = disk_full(self.home)
        with connected(self.home) as client:
            greeting = greet(client, self.home, state=DISK_FULL if full else "")
            if greeting.compatible:
                self.may_answer.set()
            else:
                self.may_answer.clear()
            for chore in self.chores:
                try:
                    line = chore(client)
                except CrosslotError as error:
                    line = f"{error}" + (f" ({error.hint})" if error.hint else "")
                if line:
                    self.log(line)
        return (*greeting.problems(), *((full,) if full else ()))


def disk_full(home: NetworkHome) -> str:
    """Return what to say of a disk without room for the next answer; nothing where there is room."""
    free = shutil.disk_usage(home.folder).free
    if free >= LEAST_FREE_BYTES:
        return ""
    return f"{DISK_FULL}: {free // 2**20} MiB free under {home.folder}; make room: until then nothing can be answered"
