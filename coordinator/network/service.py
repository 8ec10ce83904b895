"""``crosslot-coordinator serve``: the SuperLink on loopback and the gateway on the public address, as one tree."""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from coordinator.home import CoordinatorHome, say_running
from coordinator.network.enrolment import Enrolments
from shared.errors import RefusedError
from shared.runtime.files import write_atomically
from shared.runtime.processes import (
    LOOPBACK,
    Log,
    ProcessSpec,
    Supervisor,
    free_port,
    only_one,
    stopped_by_signals,
)

SUPERLINK: Final = "superlink"
GATEWAY: Final = "gateway"


def flower_environment(folder: Path) -> dict[str, str]:
    """Return what every Flower process of ours has in its environment: a home of its own, and no call home."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {"FLWR_HOME": str(folder), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


def superlink_spec(home: CoordinatorHome, port: int) -> ProcessSpec:
    """Return the SuperLink's process: loopback, TLS, known nodes only, its own database, nothing run by itself."""
    home.superlink_database.touch(mode=0o600)
    return ProcessSpec(
        name=SUPERLINK,
        argv=(
            str(Path(sys.executable).with_name("flower-superlink")),
            *("--host", LOOPBACK, "--port", str(port)),
            *("--ssl-certfile", str(home.superlink_certificate)),
            *("--ssl-keyfile", str(home.superlink_key)),
            *("--ssl-ca-certfile", str(home.superlink_certificate)),
            "--enable-supernode-auth",
            *("--isolation", "process"),
            *("--superexec-auth-secret-file", str(home.executor_secret)),
            *("--database", str(home.superlink_database)),
            "--disable-runtime-dependency-installation",
        ),
        environment=flower_environment(home.path / "flower"),
    )


def gateway_spec(home: CoordinatorHome, superlink_port: int) -> ProcessSpec:
    """Return the gateway's process."""
    return ProcessSpec(
        name=GATEWAY,
        argv=(sys.executable, "-m", "coordinator.network.gateway_process", str(home.path), str(superlink_port)),
        environment={**flower_environment(home.path / "flower"), "GRPC_VERBOSITY": "INFO"},
    )


def serve(home: CoordinatorHome, log: Log) -> None:
    """Run the coordinator's tree until SIGTERM or SIGINT.

    Raises
    ------
    InputError
        The folder is no coordinator's.
    RefusedError
        A service of this folder runs already, or the address to listen on cannot be had.
    """
    settings = home.settings
    Enrolments(home.enrolments_path)
    with only_one(home.run / "lock", f"the service of {home.path}"):
        require_to_listen(settings.listen)
        port = _superlink_port(home)
        quiet = Quiet(log)
        supervisor = Supervisor([superlink_spec(home, port), gateway_spec(home, port)], quiet)
        log("serve", f"sites reach this coordinator at {settings.address}; signing key {home.key.fingerprint}")

        def changed(pids: Mapping[str, int]) -> None:
            say_running(home, port, pids)

        with stopped_by_signals(supervisor.request_stop):
            try:
                supervisor.run(on_change=changed)
            finally:
                (home.run / "service.json").unlink(missing_ok=True)


def require_to_listen(address: str) -> None:
    """Return if this machine can listen on an address now: a tree that cannot is not started, to die again and again.

    Raises
    ------
    RefusedError
        It is taken, not this machine's, or not for this user.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, int(port)), family=family):
            return
    except OSError as error:
        hint = "stop what listens there, or name another address as `listen` in coordinator.toml"
        raise RefusedError(f"expected to listen on {address}, found: {error.strerror or error}", hint=hint) from error


def _superlink_port(home: CoordinatorHome) -> int:
    """Return the port of the last time where it is free: what was under way then finds the SuperLink again."""
    file = home.run / "superlink.port"
    try:
        last = int(file.read_text())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the SuperLink binds it
            probe.bind((LOOPBACK, last))
    except (OSError, ValueError):
        last = free_port()
    write_atomically(file, str(last).encode())
    return last


class Quiet:
    """Leaves out what Flower says of each of its calls: a line for every poll of every site."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __call__(self, name: str, line: str) -> None:
        """Pass a line on, unless it is an access line of a call that went well."""
        if name == SUPERLINK and (("/v1/" in line and '" 200' in line) or "ControlServicer.ListNodes" in line):
            return
        self._log(name, line)
