"""Killing every process of a deployment at every stage, to see that the study completes and reports count once.

``python -m simulations.fault_matrix STUDY --out OUT`` starts one coordinator and its sites, publishes the study under
one name for each fault, and for each: brings the collection to the stage, kills one process by SIGKILL, runs
``collect`` until it is complete, and counts the reports in the store against those of the study without a fault. It
prints the table of ``docs/network.md``.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from coordinator.home import CoordinatorHome
from coordinator.store import SqliteStore
from protocol.identifiers import SiteId, StudyId
from shared.errors import InternalError
from shared.runtime.console import remark
from shared.runtime.processes import bound_argv, wait_until
from simulations.network_demo import (
    COORDINATOR,
    command,
    coordinator_running,
    join_all,
    prepare,
    site_running,
)
from simulations.study_folder import ATLAS_FILE, PLAN_FILE

STAGES: Final = ("before", "during", "after")
COORDINATOR_PROCESSES: Final = ("superlink", "gateway", "serve", "collect")
SITE_PROCESSES: Final = ("forwarder", "supernode", "executor", "mapping", "site serve")
_COMPLETE_SECONDS: Final = 240.0
_STARTED: Final = re.compile(r"started (\w+), process (\d+)")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One process, killed at one stage of a round."""

    process: str
    stage: str

    @property
    def study(self) -> str:
        """The name of the study that is collected under this fault."""
        return f"{self.stage}-{self.process.replace(' ', '-')}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a fault: how long until the study was complete, and whether every report is there once."""

    fault: Fault
    seconds: float
    complete: bool
    reports: int
    expected: int

    @property
    def held(self) -> bool:
        """Whether the study completed with every report, none twice."""
        return self.complete and self.reports == self.expected


class Matrix:
    """A running deployment on which faults are tried one after the other."""

    def __init__(self, study: Path, work: Path, faults: Sequence[Fault]) -> None:
        self._study = study
        self._faults = tuple(faults)
        self._deployment = prepare(study, work)
        self._home = CoordinatorHome(self._deployment.coordinator)
        self._running = ExitStack()
        self._trees: dict[str, ExitStack] = {}
        self._site = next(iter(self._deployment.sites))
        self._expected = 0

    def run(self) -> Iterator[Verdict]:
        """Yield the verdict of every fault."""
        deployment = self._deployment
        with self._running:
            self._start("coordinator", coordinator_running(deployment))
            join_all(deployment)
            names = ["without-fault", *(fault.study for fault in self._faults)]
            for name in names:
                self._publish(name)
            self._allow(names)
            for site in deployment.sites:
                self._start(site, site_running(deployment, site))
            self._collect("without-fault")
            self._expected = self._reports("without-fault")
            for fault in self._faults:
                yield self._try(fault)
            for tree in reversed(list(self._trees.values())):
                tree.close()

    def _start(self, name: str, context: object) -> None:
        tree = ExitStack()
        tree.enter_context(context)  # type: ignore[arg-type]  # every caller gives a context of a service
        self._trees[name] = tree

    def _publish(self, name: str) -> None:
        text = (self._study / PLAN_FILE).read_text()
        draft = self._deployment.logs.parent / f"{name}.toml"
        draft.write_text(re.sub(r'^study = ".*"$', f'study = "{name}"', text, count=1, flags=re.MULTILINE))
        self._deployment.ask_coordinator("publish", str(draft), "--atlas", str(self._study / ATLAS_FILE))

    def _allow(self, names: Sequence[str]) -> None:
        listed = json.dumps(list(names))
        for home in self._deployment.sites.values():
            policy = (home / "policy.toml").read_text()
            for field in ("allowed_studies", "auto_approve"):
                policy = re.sub(rf"^{field} = \[[^\]]*\]", f"{field} = {listed}", policy, flags=re.MULTILINE)
            (home / "policy.toml").write_text(policy)

    def _try(self, fault: Fault) -> Verdict:
        remark(f"{fault.process}, {fault.stage} the round ...")
        started = time.monotonic()
        match fault.stage:
            case "before":
                self._kill(fault, None)
                complete = self._collect(fault.study)
            case "during":
                with self._collecting(fault.study) as collecting:
                    self._wait_for_mapping(fault)
                    self._kill(fault, collecting)
                complete = self._collect(fault.study)
            case _:
                complete = self._collect(fault.study)
                self._kill(fault, None)
                complete = self._collect(fault.study) and complete
        return Verdict(
            fault=fault,
            seconds=round(time.monotonic() - started, 1),
            complete=complete,
            reports=self._reports(fault.study),
            expected=self._expected,
        )

    @contextmanager
    def _collecting(self, study: str) -> Iterator[subprocess.Popen[bytes]]:
        argv = [*COORDINATOR, "collect", study, "--home", str(self._home.path), "--deadline-minutes", "0.2"]
        with (self._deployment.logs / f"collect-{study}.log").open("ab") as log:
            process = subprocess.Popen(bound_argv(argv), stdout=log, stderr=log)  # noqa: S603 - our own arguments
            try:
                yield process
                with suppress(subprocess.TimeoutExpired):  # a collection that hangs shows in the seconds
                    process.wait(_COMPLETE_SECONDS)
            finally:
                process.kill()
                process.wait()

    def _wait_for_mapping(self, fault: Fault) -> None:
        text = f"study {fault.study}: mapping"
        log = self._deployment.logs / f"{self._site}.log"
        if not wait_until(lambda: text in log.read_text(), timeout_seconds=90):
            raise InternalError(f"{fault.study}: no mapping began")

    def _kill(self, fault: Fault, collecting: subprocess.Popen[bytes] | None) -> None:
        match fault.process:
            case "serve":
                self._kill_tree("coordinator", lambda: coordinator_running(self._deployment))
            case "site serve":
                self._kill_tree(self._site, lambda: site_running(self._deployment, self._site))
            case "collect":
                if collecting is not None:
                    collecting.kill()
            case "mapping":
                for pid in _mappings_of(self._deployment.sites[self._site]):
                    os.kill(pid, signal.SIGKILL)
            case name:
                log = "coordinator" if name in COORDINATOR_PROCESSES else self._site
                os.kill(_last_started(self._deployment.logs / f"{log}.log", name), signal.SIGKILL)

    def _kill_tree(self, name: str, again: Callable[[], object]) -> None:
        tree = self._trees.pop(name)
        pid = _supervisor_of(self._home.path if name == "coordinator" else self._deployment.sites[SiteId(name)])
        os.kill(pid, signal.SIGKILL)
        tree.close()
        self._start(name, again())

    def _collect(self, study: str) -> bool:
        end = time.monotonic() + _COMPLETE_SECONDS
        argv = (*COORDINATOR, "collect", study, "--home", str(self._home.path))
        while time.monotonic() < end:
            # The service may be between two lives: the command says so, and is run again, as a person would.
            printed = command((*argv, "--deadline-minutes", "0.5", "--pause-seconds", "1", "--json"), expected=(0, 1))
            document = json.loads(printed)
            if document.get("complete"):
                return True
            time.sleep(2)
        return False

    def _reports(self, study: str) -> int:
        return len(SqliteStore(self._home.store_path).reports(StudyId(study)))


def _last_started(log: Path, name: str) -> int:
    found = [int(pid) for process, pid in _STARTED.findall(log.read_text()) if process == name]
    return found[-1]


def _mappings_of(home: Path) -> Iterator[int]:
    """Yield the mappings of one home; other deployments of this machine are not ours to kill."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            parts = path.read_bytes().split(b"\0")
        except OSError:
            continue
        ours = {b"site_agent.mapping_task", str(home).encode()} <= set(parts)
        if ours and b"bound_child.py" not in b" ".join(parts):
            yield int(path.parent.name)


def _supervisor_of(home: Path) -> int:
    wanted = [b"serve", b"--home", str(home).encode()]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            parts = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if parts[-4:-1] == wanted:
            return int(path.parent.name)
    raise InternalError(f"no service of {home} runs")


def all_faults() -> tuple[Fault, ...]:
    """Return every process at every stage; a mapping and a collection live during a round only."""
    every = (*COORDINATOR_PROCESSES, *SITE_PROCESSES)
    brief = {"collect", "mapping"}
    return tuple(
        Fault(process=process, stage=stage)
        for process in every
        for stage in STAGES
        if stage == "during" or process not in brief
    )


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder for all that is made.")
@click.option("--only", help="Only faults whose name holds this text.")
def main(study: Path, out: Path, only: str | None) -> None:
    """Kill every process of a deployment of STUDY at every stage, and print what came of it."""
    faults = [fault for fault in all_faults() if only is None or re.search(only, fault.study)]
    click.echo("| process | killed | complete after | reports | held |\n|---|---|---|---|---|")
    failed = 0
    for verdict in Matrix(study, out, faults).run():
        failed += not verdict.held
        click.echo(
            f"| {verdict.fault.process} | {verdict.fault.stage} the round | {verdict.seconds} s "
            f"| {verdict.reports} of {verdict.expected} | {'yes' if verdict.held else 'NO'} |"
        )
    if failed:
        raise InternalError(f"{failed} faults did not hold")


if __name__ == "__main__":
    main()
