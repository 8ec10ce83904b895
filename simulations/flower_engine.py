"""A study carried by Flower's simulation engine: its sites are spread over this machine's cores by Ray.

Rules
-----
1. The bytes are those of a run in one process. Answers are taken in the order of the questions, whichever came first;
   time, keys and nonces come from the plan, as ever.
2. A site answers in some process of Ray, from its own folder. What it leaves behind, its ledger, its log and the
   copies of what it sent, lies in a scratch folder of this run until it is read back.
3. Ray opens sockets on every address. Whoever calls this sees to a network that has nobody else
   (``private_network``).

Flower's private names here are those of flwr 1.41; ``tests/simulations/test_flower_engine.py`` is their contract test.
"""

import importlib.util
import logging
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import PARTITION_ID_KEY
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from flwr.supercore import telemetry

from coordinator.network.flower_app import Carrier, CollectionRun, collect_round
from protocol.errors import ErrorCode
from protocol.exchange import ACTION, RECORD, BareCode, Reply
from protocol.identifiers import SiteId
from shared.errors import InputError, InternalError
from shared.runtime.console import progress
from shared.runtime.files import write_atomically
from shared.runtime.processes import LOOPBACK
from simulations.exchange_folder import SimulatedSite
from simulations.experiment import opening, simulated_site
from simulations.study_source import StudySource, read_study
from site_agent.network.flower_app import make_client_app
from site_agent.release.append_log import FolderLog, MemoryLog

_WHO: Final = "site"
_PLACE: Final = "place"
_ANSWER: Final = "answer.json"
_CODE: Final = "answer.code"
_LOG: Final = "site.log"
_STORE_BYTES: Final = 100_000_000
_REPLY_SECONDS: Final = 7 * 24 * 3_600.0
_NODES_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.2
# Ray's sockets lie below its folder, and the path of a socket has 107 bytes: what Ray adds is 62 of them.
_LONGEST_FOLDER: Final = 45


def require_ray() -> None:
    """Return if Ray is installed.

    Raises
    ------
    InputError
        It is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "the engine `flower` needs the package ray: expected it installed, found none",
            hint="install it: pip install 'crosslot[ray]'; or leave --engine out: the outcome is the same",
        )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a process of Ray is given to be any site of a study."""

    study: Path
    scratch: Path
    threads: int


def on_ray(source: StudySource, run: CollectionRun, threads: int | None) -> tuple[SimulatedSite, ...]:
    """Collect by Flower's simulation engine: an ``Engine`` of :mod:`simulations.experiment`.

    Parameters
    ----------
    threads : int, optional
        Of each site's mapper; without, one, since sites run side by side.

    Raises
    ------
    InputError
        Ray is not installed, or the folder for temporary files has too long a name for it.
    """
    require_ray()
    plan = source.plan
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        if len(folder) > _LONGEST_FOLDER:
            raise InputError(
                f"expected a folder of at most {_LONGEST_FOLDER} letters for Ray's sockets, found {folder}",
                hint="set TMPDIR to one with a shorter name",
            )
        _keep_quiet(Path(folder))
        work = _Work(study=source.folder.absolute(), scratch=Path(folder) / "sites", threads=threads or 1)
        asked = replace(run, reply_seconds=_REPLY_SECONDS, sites_at_once=len(plan.sites))
        with progress("mapping lots at their sites", len(plan.sites), unit="sites") as advance:
            run_simulation(
                server_app=_server_app(asked, advance),
                client_app=_client_app(work),
                num_supernodes=len(plan.sites),
                backend_config={
                    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                    "init_args": {
                        "_temp_dir": folder,
                        "_node_ip_address": LOOPBACK,
                        "object_store_memory": _STORE_BYTES,
                    },
                },
            )
        return tuple(_read_back(source, work, site) for site in plan.sites)


class InOrder:
    """A carrier that gives replies out in the order of their questions."""

    def __init__(self, carrier: Carrier, on_reply: Callable[[], None]) -> None:
        self._carrier = carrier
        self._on_reply = on_reply
        self._expected: deque[str] = deque()
        self._came: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages, and return the identifiers of those that were taken."""
        taken = list(self._carrier.push_messages(messages))
        self._expected += taken
        return taken

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have come, up to the first that has not."""
        for reply in self._carrier.pull_messages([each for each in message_ids if each not in self._came]):
            self._came[reply.metadata.reply_to_message_id] = reply
            self._on_reply()
        ready = []
        while self._expected and self._expected[0] in self._came:
            ready.append(self._came.pop(self._expected.popleft()))
        return ready


def _server_app(run: CollectionRun, on_reply: Callable[[], None]) -> ServerApp:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        places = _places(grid, len(run.nodes))
        nodes = {site: places[place] for place, site in enumerate(run.study.message.sites)}
        collect_round(replace(run, nodes=nodes), InOrder(grid, on_reply))

    return app


def _places(grid: Grid, number: int) -> dict[int, int]:
    """Return which node has which place among the plan's sites: Flower draws the nodes, and tells each its place."""
    end = time.monotonic() + _NODES_SECONDS
    while len(nodes := list(grid.get_node_ids())) < number:
        if time.monotonic() >= end:
            raise InternalError(f"expected {number} nodes of Flower's engine, found {len(nodes)}")
        time.sleep(_POLL_SECONDS)
    questions = [Message(RecordDict(), dst_node_id=node, message_type=f"query.{_WHO}") for node in nodes]
    places: dict[int, int] = {}
    for reply in grid.send_and_receive(questions, timeout=_NODES_SECONDS):
        told = None if reply.has_error() else reply.content[RECORD]
        if isinstance(told, ConfigRecord) and isinstance(place := told[_PLACE], int):
            places[place] = reply.metadata.src_node_id
    if sorted(places) != list(range(number)):
        raise InternalError(f"expected {number} nodes of Flower's engine to tell their places, found {sorted(places)}")
    return places


def _client_app(work: _Work) -> ClientApp:
    """Return what every node runs, in a process of Ray: the site that its place among the plan's sites makes it."""
    app = ClientApp()

    @app.query(_WHO)
    def who(message: Message, context: Context) -> Message:
        place = int(context.node_config[PARTITION_ID_KEY])
        return Message(RecordDict({RECORD: ConfigRecord({_PLACE: place})}), reply_to=message)

    @app.query(ACTION)
    def collect(message: Message, context: Context) -> Message:
        source = _source(work.study)
        site = source.plan.sites[int(context.node_config[PARTITION_ID_KEY])]
        simulated = simulated_site(
            source, site, ledger=_ledger(work, site), done=lambda _lot: None, threads=work.threads
        )
        now = opening(source.plan)
        reply = make_client_app(simulated, clock=lambda: now, log=simulated.log.append)(message, context)
        _leave(work.scratch / site, simulated)
        return reply

    return app


@cache
def _source(study: Path) -> StudySource:
    """Return the study, read once in each process."""
    return read_study(study)


def _ledger(work: _Work, site: SiteId) -> FolderLog:
    return FolderLog(work.scratch / site / "ledger")


def _leave(folder: Path, site: SimulatedSite) -> None:
    for reply in site.replies:  # one: a run asks each site once
        if isinstance(reply, BareCode):
            write_atomically(folder / _CODE, reply.code.value.encode())
            continue
        write_atomically(folder / _ANSWER, reply.answer)
        for number, report in enumerate(reply.reports):
            write_atomically(folder / "reports" / f"{number:09d}.json", report)
    write_atomically(folder / _LOG, "".join(f"{line}\n" for line in site.log).encode())


def _read_back(source: StudySource, work: _Work, site: SiteId) -> SimulatedSite:
    """Return a site as the process that answered for it left it."""
    folder = work.scratch / site
    ledger = MemoryLog()
    for position, record in enumerate(_ledger(work, site).read()):
        ledger.append(record, position=position)
    left = simulated_site(source, site, ledger=ledger, done=lambda _lot: None, threads=work.threads)
    if (folder / _LOG).is_file():
        left.log += (folder / _LOG).read_text("utf-8").splitlines()
    if (folder / _CODE).is_file():
        left.replies.append(BareCode(code=ErrorCode((folder / _CODE).read_text("ascii"))))
    if (folder / _ANSWER).is_file():
        reports = tuple(path.read_bytes() for path in sorted((folder / "reports").glob("*.json")))
        left.replies.append(Reply(answer=(folder / _ANSWER).read_bytes(), reports=reports))
    return left


def _keep_quiet(folder: Path) -> None:
    """Let neither Flower nor Ray call home, keep files elsewhere, or tell of each of its steps."""
    os.environ |= {
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": "error",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as Ray's own notice asks for
    }
    telemetry.FLWR_TELEMETRY_ENABLED = "0"  # it looked into the environment when it was imported
    logging.getLogger("flwr").setLevel(logging.ERROR)
