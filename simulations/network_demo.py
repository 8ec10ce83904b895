"""A study over a real network on one machine: a coordinator and its sites, each a process tree of its own, on loopback.

``python -m simulations.network_demo [STUDY] --out OUT`` takes a study folder as ``crosslot-simulate split`` makes one,
runs every command that two people would run, and compares the result with the run in one process. The sites keep the
simulated secrets for pseudonyms, so that both runs give lots the same names: the order of lots is part of the seed.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from coordinator.written import RESULTS_FILE
from protocol.identifiers import SiteId
from shared.errors import InternalError
from shared.runtime.console import progress, remark
from shared.runtime.files import PRIVATE, write_atomically
from shared.runtime.processes import LOOPBACK, bound_argv, free_port, wait_until
from simulations.keys import coordinator_key, pseudonym_secret
from simulations.scenarios import scenario_named
from simulations.study_folder import ATLAS_FILE, PLAN_FILE, SITES_FOLDER
from simulations.study_source import read_study
from simulations.study_writer import demo_steps, write_demo_study

COORDINATOR: Final = (sys.executable, "-m", "coordinator.network")
SITE: Final = (sys.executable, "-m", "site_agent.network_commands")
_SITES: Final = frozenset({"site-a", "site-b", "site-c"})
_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 30.0
_COMMAND_SECONDS: Final = 600.0
_PASSPHRASE: Final = "a passphrase for the demo"  # noqa: S105 - of keys that live as long as the demo


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Where one coordinator and its sites are."""

    coordinator: Path
    sites: Mapping[SiteId, Path]
    logs: Path

    def ask_coordinator(self, *arguments: str) -> str:
        """Return what a command of the coordinator printed."""
        return command((*COORDINATOR, *arguments, "--home", str(self.coordinator)))

    def ask_site(self, site: SiteId, *arguments: str) -> str:
        """Return what a command of a site printed."""
        return command((*SITE, *arguments, "--home", str(self.sites[site])))


def command(argv: Sequence[str], *, expected: Sequence[int] = (0,)) -> str:
    """Run a command to its end and return what it printed to stdout.

    Raises
    ------
    InternalError
        It ended otherwise than expected.
    """
    done = subprocess.run(  # noqa: S603 - an argument vector of our own; no shell
        list(argv), capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
    if done.returncode not in expected:
        words = " ".join(str(part) for part in argv[2:])
        raise InternalError(f"{words} ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def served(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a service running for the length of a block; it is told to stop, and must."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - an argument vector of our own; no shell
            bound_argv(argv), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def prepare(study: Path, work: Path, *, address: str | None = None) -> Deployment:
    """Make the coordinator's folder, and each site's home out of its folder of the study; nothing runs yet.

    ``address`` is how the sites reach the coordinator, if not as it listens.
    """
    source = read_study(study)
    plan = source.plan
    coordinator = work / "coordinator"
    listen = f"{LOOPBACK}:{free_port()}"
    addresses = ("--address", address or listen, "--listen", listen)
    made = command((*COORDINATOR, "init", str(coordinator), *addresses, "--json"))
    own = json.loads(made)["fingerprint"]
    simulated = coordinator_key(plan.study, plan.analysis.seed).fingerprint
    sites: dict[SiteId, Path] = {}
    for site, _ in source.sites:
        home = work / "sites" / site
        shutil.copytree(study / SITES_FOLDER / site, home)
        policy = (home / "policy.toml").read_text()
        write_atomically(home / "policy.toml", policy.replace(simulated, own).encode())
        secret = pseudonym_secret(plan.study, plan.analysis.seed, site)
        write_atomically(home / "pseudonym.secret", secret, mode=PRIVATE)
        sites[site] = home
    return Deployment(coordinator=coordinator, sites=sites, logs=work / "logs")


@contextmanager
def coordinator_running(deployment: Deployment) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the coordinator for the length of a block, from its first good answer on."""
    argv = (*COORDINATOR, "serve", "--home", str(deployment.coordinator))
    with served(argv, deployment.logs / "coordinator.log") as process:

        def serving() -> bool:
            return bool(json.loads(deployment.ask_coordinator("status", "--json"))["service"] == "serving")

        if not wait_until(serving, timeout_seconds=_START_SECONDS, interval_seconds=0.5):
            log = (deployment.logs / "coordinator.log").read_text()[-2_000:]
            raise InternalError(f"the coordinator does not serve:\n{log}")
        yield process


@contextmanager
def site_running(deployment: Deployment, site: SiteId) -> Iterator[subprocess.Popen[bytes]]:
    """Serve one site for the length of a block."""
    argv = (*SITE, "serve", "--home", str(deployment.sites[site]))
    with served(argv, deployment.logs / f"{site}.log") as process:
        yield process


def join_all(deployment: Deployment) -> None:
    """Invite every site and let it join."""
    passphrase = deployment.logs.parent / "passphrase"
    write_atomically(passphrase, _PASSPHRASE.encode(), mode=PRIVATE)
    for site in deployment.sites:
        invite = deployment.logs.parent / f"{site}.invite"
        deployment.ask_coordinator("invite", site, "--out", str(invite))
        deployment.ask_site(site, "join", str(invite), "--passphrase-file", str(passphrase))


def results_of(folder: Path) -> dict[str, Any]:
    """Return results without the comparison that only a simulated run has."""
    document: dict[str, Any] = json.loads((folder / RESULTS_FILE).read_bytes())
    document.pop("parity", None)
    return document


def run_network_demo(study: Path, out: Path) -> dict[str, float]:
    """Run a study over loopback and in one process, and compare; return the seconds of each part.

    Raises
    ------
    InternalError
        A command failed, or the two results differ.
    """
    took: dict[str, float] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        started = time.monotonic()
        remark(f"{part} ...")
        yield
        took[part] = round(time.monotonic() - started, 1)

    plan = read_study(study).plan
    with timed("preparing folders"):
        deployment = prepare(study, out / "network")
    with ExitStack() as running:
        with timed("starting the coordinator"):
            running.enter_context(coordinator_running(deployment))
        with timed("joining"):
            join_all(deployment)
        with timed("publishing"):
            deployment.ask_coordinator("publish", str(study / PLAN_FILE), "--atlas", str(study / ATLAS_FILE))
        for site in deployment.sites:
            running.enter_context(site_running(deployment, site))
        with timed("collecting"):
            deployment.ask_coordinator("collect", plan.study, "--deadline-minutes", "2", "--pause-seconds", "2")
        with timed("analysing and releasing"):
            deployment.ask_coordinator("conclude", plan.study, "--out", str(out / "report"))
            deployment.ask_coordinator("release-results", plan.study)
            for site in deployment.sites:
                deployment.ask_site(site, "results", plan.study)
        started = time.monotonic()
    took["stopping"] = round(time.monotonic() - started, 1)
    with timed("the same study in one process"):
        simulate = (sys.executable, "-m", "simulations.cli", "run", str(study), "--out", str(out / "in-process"))
        command((sys.executable, "-c", "from simulations.cli import main; main()", *simulate[3:]))
    if results_of(out / "report") != results_of(out / "in-process"):
        raise InternalError("the study over the network gave another result than in one process")
    return took


def simulated_study(folder: Path) -> Path:
    """Write the model study of three sites, cells and all, and return its folder."""
    scenario = scenario_named("model-study")
    few = replace(scenario, blocks=tuple(block for block in scenario.blocks if block.site in _SITES))
    with progress("simulating cells", demo_steps(few), unit="steps") as advance:
        write_demo_study(folder / "model-study", progress=advance, scenario=few)
    return folder / "model-study"


@click.command()
@click.argument("study", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder for all that is made.")
def main(study: Path | None, out: Path) -> None:
    """Run STUDY over loopback: one coordinator and its sites as process trees; compare with one process.

    Without STUDY the model study is simulated for three sites.
    """
    out.mkdir(parents=True)
    made = study or simulated_study(out / "study")
    took = run_network_demo(made, out)
    for part, seconds in took.items():
        click.echo(f"{seconds:7.1f} s  {part}")
    click.echo(f"{sum(took.values()):7.1f} s  in all; the results are equal")


if __name__ == "__main__":
    main()
