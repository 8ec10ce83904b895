"""A site behind a corporate proxy: all that leaves goes through it by CONNECT, and loopback does not.

The coordinator's address is a name that nobody here can resolve but the proxy: what does not go through it, fails.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coordinator.home import CoordinatorHome
from coordinator.store import SqliteStore
from shared.runtime.processes import LOOPBACK, no_proxy_on_loopback
from tests.network.deployed import KYOTO, STUDY, deployed, live, log_of

ADDRESS = "coordinator.example.invalid:8443"


@dataclass
class ConnectProxy:
    """Opens tunnels to one address only, and keeps the first line of every request."""

    port: int
    target: int = 0
    asked: list[str] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            line = head.split(b"\r\n", 1)[0].decode()
            self.asked.append(line)
            if not line.startswith(f"CONNECT {ADDRESS} "):
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            with closing(socket.create_connection((LOOPBACK, self.target), 5)) as upstream:
                upstream.settimeout(None)
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_copy, args=(upstream, connection), daemon=True)
                back.start()
                _copy(connection, upstream)
                back.join(5)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy_running() -> Iterator[ConnectProxy]:
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        proxy = ConnectProxy(port=server.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=proxy.serve, args=(connection,), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield proxy
        server.shutdown(socket.SHUT_RDWR)
        accepting.join(5)


@live
def test_a_site_joins_and_answers_through_a_proxy_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy_running() as proxy:
        for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://{LOOPBACK}:{proxy.port}")
        with _with_target(proxy, tmp_path), deployed(tmp_path, (KYOTO,), (KYOTO,), address=ADDRESS) as deployment:
            deployment.ask_coordinator("collect", STUDY, "--deadline-minutes", "2", "--pause-seconds", "1")
            deployment.ask_site(KYOTO, "doctor")
            home = CoordinatorHome(deployment.coordinator)
            assert len(SqliteStore(home.store_path).reports(STUDY)) == 8
            assert "atlas three kinds: " in log_of(deployment, KYOTO)
    assert set(proxy.asked) == {f"CONNECT {ADDRESS} HTTP/1.1"}
    assert len(proxy.asked) >= 4  # join, the forwarder, the executor, the doctor


@contextmanager
def _with_target(proxy: ConnectProxy, folder: Path) -> Iterator[None]:
    """Tell the proxy where the gateway listens, once the coordinator's folder says so."""
    known = threading.Event()

    def look() -> None:
        home = CoordinatorHome(folder / "network" / "coordinator")
        while not known.wait(0.1):
            with suppress(Exception):
                proxy.target = int(home.settings.listen.rpartition(":")[2])
                return

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    yield
    known.set()
    looking.join(5)


def test_what_was_passed_over_before_is_passed_over_still() -> None:
    assert no_proxy_on_loopback({})["no_proxy"] == LOOPBACK
    told = no_proxy_on_loopback({"no_proxy": "intern.example.org, 10.0.0.1", "NO_PROXY": "intern.example.org"})
    assert told["no_proxy"] == told["NO_PROXY"] == f"10.0.0.1,{LOOPBACK},intern.example.org"
