"""``crosslot-site serve``: forwarder, SuperNode and the site's own executor, as one tree on loopback."""

import os
import sys
from pathlib import Path
from typing import Final

from shared.runtime.processes import (
    LOOPBACK,
    Log,
    ProcessSpec,
    Supervisor,
    free_port,
    no_proxy_on_loopback,
    only_one,
    stopped_by_signals,
)
from site_agent.network.keys import NetworkHome

FORWARDER: Final = "forwarder"
SUPERNODE: Final = "supernode"
EXECUTOR: Final = "executor"


def process_specs(home: NetworkHome, *, forwarder_port: int, supernode_port: int) -> tuple[ProcessSpec, ...]:
    """Return the three processes of a site, in the order of starting."""
    flower = home.folder / "flower"
    flower.mkdir(parents=True, exist_ok=True, mode=0o700)
    quiet = {
        "FLWR_HOME": str(flower),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        **no_proxy_on_loopback(os.environ),
    }
    return (
        ProcessSpec(
            name=FORWARDER,
            argv=(sys.executable, "-m", "site_agent.network.forwarder", str(home.folder), str(forwarder_port)),
        ),
        ProcessSpec(
            name=SUPERNODE,
            argv=(
                str(Path(sys.executable).with_name("flower-supernode")),
                *("--superlink", f"{LOOPBACK}:{forwarder_port}"),
                *("--root-certificates", str(home.key_file("loopback.crt"))),
                *("--auth-supernode-private-key", str(home.key_file("node.key"))),
                *("--isolation", "process"),
                *("--superexec-auth-secret-file", str(home.key_file("executor.secret"))),
                *("--host", LOOPBACK, "--port", str(supernode_port)),
            ),
            environment=quiet,
        ),
        ProcessSpec(
            name=EXECUTOR,
            argv=(sys.executable, "-m", "site_agent.site_process", str(home.folder), str(supernode_port)),
            environment=quiet,
        ),
    )


def serve(home: NetworkHome, log: Log) -> None:
    """Run the site's tree until SIGTERM or SIGINT.

    Raises
    ------
    InputError
        The site has not joined.
    RefusedError
        A service of this home runs already.
    """
    settings = home.settings
    with only_one(home.folder / "run" / "lock", f"the service of {home.folder}"):
        specs = process_specs(home, forwarder_port=free_port(), supernode_port=free_port())
        supervisor = Supervisor(specs, log)
        log("serve", f"site {settings.site}; only {settings.address} is called; nothing listens but on loopback")
        with stopped_by_signals(supervisor.request_stop):
            supervisor.run()
