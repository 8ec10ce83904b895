"""A real gateway on loopback and sites that hold certificates; behind it a SuperLink of paper."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from coordinator.home import CoordinatorHome, init_home
from coordinator.network.enrolment import Enrolments, make_invite
from coordinator.network.gateway import GatewayParts, serve
from protocol.enrolment import Invite
from protocol.identifiers import SiteId
from protocol.signing import SigningKey
from shared.runtime.processes import LOOPBACK, free_port
from site_agent.network.enrolment import join
from site_agent.network.gateway_client import GatewayClient
from site_agent.network.keys import NetworkHome


@dataclass
class PaperSuperLink:
    """Registers nodes and keeps the calls that reached it."""

    nodes_known: dict[bytes, int] = field(default_factory=dict)
    calls: list[httpx.Request] = field(default_factory=list)
    away: bool = False

    def register(self, nodes: Mapping[str, bytes]) -> Mapping[str, int]:
        for key in nodes.values():
            self.nodes_known.setdefault(key, len(self.nodes_known) + 1)
        return {name: self.nodes_known[key] for name, key in nodes.items()}

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("nobody is there")
        self.calls.append(request)
        return httpx.Response(200, content=b"reply", headers={"content-type": "application/x-protobuf"})


@dataclass
class Clock:
    """A clock that tests set."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now


@dataclass(kw_only=True)
class LiveGateway:
    """A gateway that listens on loopback, and all that is behind it."""

    home: CoordinatorHome
    enrolments: Enrolments
    superlink: PaperSuperLink
    clock: Clock
    log: list[str]
    folder: Path

    def invite(self, site: str) -> Invite:
        return make_invite(self.home, self.enrolments, SiteId(site), token=secrets.token_hex(32), now=self.clock.now)

    def join(self, site: str, invite: Invite | None = None) -> NetworkHome:
        home = NetworkHome(self.folder / site)
        key = SigningKey.from_seed(site.encode().ljust(32, b"\0")[:32])
        join(home, invite or self.invite(site), key, now=datetime.now(UTC))
        return home

    def client(self, home: NetworkHome) -> GatewayClient:
        return GatewayClient(home.settings.address, authority=home.authority, pair=home.client)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    address = f"{LOOPBACK}:{free_port()}"
    clock, log, superlink = Clock(), list[str](), PaperSuperLink()
    home = init_home(tmp_path / "coordinator", address=address, listen=address, now=clock.now)
    enrolments = Enrolments(home.enrolments_path)
    upstream = httpx.Client(transport=httpx.MockTransport(superlink.handle), base_url="https://superlink")
    parts = GatewayParts(
        home=home,
        enrolments=enrolments,
        superlink=superlink,  # type: ignore[arg-type]  # stands in with the one method that a gateway calls
        upstream=upstream,
        clock=clock,
        log=log.append,
    )
    server, _port = serve(parts, address)
    yield LiveGateway(
        home=home, enrolments=enrolments, superlink=superlink, clock=clock, log=log, folder=tmp_path / "sites"
    )
    server.stop(None).wait()
    upstream.close()
