"""The coordinator's service is not started where it could not listen."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.home import init_home
from coordinator.network.service import require_to_listen, serve
from shared.errors import RefusedError
from shared.runtime.processes import LOOPBACK, free_port


def test_a_taken_port_is_told_at_once_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = f"{LOOPBACK}:{taken.getsockname()[1]}"
        home = init_home(tmp_path / "coordinator", address=address, listen=address, now=datetime.now(UTC))
        said: list[str] = []
        with pytest.raises(RefusedError, match=f"listen on {address}, found: Address already in use") as refused:
            serve(home, lambda _name, line: said.append(line))
    assert "coordinator.toml" in str(refused.value.hint)
    assert said == []
    assert not (home.run / "service.json").exists()
    assert not (home.run / "superlink.port").exists()


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(RefusedError, match=r"192\.0\.2\.1"):
        require_to_listen(f"192.0.2.1:{free_port()}")


def test_a_free_port_is_left_free() -> None:
    address = f"{LOOPBACK}:{free_port()}"
    require_to_listen(address)
    require_to_listen(address)
