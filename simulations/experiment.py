"""One run of a study: real agents, real signed messages, Flower's wire encoding between them.

What carries the messages is an engine: this process by itself, or Flower's own on many cores (``flower_engine``).
Each site's agent is given its own folder and nothing of another's; the coordinator is given envelopes. Time is the
first day of the quarter in which the plan opens and keys come from the plan's seed, so a run repeats to the byte.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from flwr.app import Context, RecordDict

from coordinator.analyse_command import Outcome, analyse_reports, verified_reports
from coordinator.collection import CollectionEvent, SiteState, site_states
from coordinator.evidence.bundle import SPECIFICATION_FILE, read_evidence, write_bundle
from coordinator.modules.specification_signing import question_of, seal_specification, specification_of
from coordinator.network.flower_app import CollectionRun, make_server_app
from coordinator.released import results_for_site
from coordinator.report.edition import Edition
from coordinator.store import MemoryStore
from coordinator.written import RESULTS_FILE, report_html, write_outcome
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.errors import ErrorCode
from protocol.identifiers import SiteId
from protocol.modules.specification_results import SpecificationOutcome
from protocol.plan import StudyPlan
from protocol.roster import Believed, Roster, SiteKey, open_plan
from protocol.signing import SigningKey
from shared.errors import InputError, ProblemsError, RefusedError
from shared.runtime.console import progress, remark
from shared.runtime.files import appearing_whole, write_atomically
from simulations.exchange_folder import SimulatedSite, write_exchange
from simulations.grid import InProcessGrid
from simulations.keys import coordinator_key, nonce, pseudonym_secret, site_key
from simulations.pooled import parity_with, pooled_data
from simulations.seeded_noise import seeded_noise
from simulations.study_folder import SITES_FOLDER
from simulations.study_source import StudySource, read_study
from site_agent.agent import Agent, SiteIdentity
from site_agent.cells.lots import Lot
from site_agent.lot_reports import FolderReports
from site_agent.network.flower_app import make_client_app
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import AppendLog, MemoryLog
from site_agent.release.ledger import Ledger
from site_agent.release.noise_book import NoiseBook
from site_agent.release.site_records import MemoryRecords

Engine = Callable[[StudySource, CollectionRun, int | None], tuple[SimulatedSite, ...]]
"""Collects a study, with so many threads a mapper, and returns its sites as they were left, in the plan's order."""

POLICY_FILE = "policy.toml"
BUNDLE_FOLDER = "bundle"
_POOLED_STEPS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class RunOutcome:
    """What a run gives back: the outcome with its parity, each site's last event, and the bytes that left each site."""

    outcome: Outcome
    events: Mapping[SiteId, CollectionEvent | None]
    bytes_sent: Mapping[SiteId, int]


def run_study(folder: Path, out: Path, *, threads: int | None = None, engine: Engine | None = None) -> RunOutcome:
    """Run the study in ``folder`` and write results, report, sent bytes and the bundle of evidence into ``out``.

    Parameters
    ----------
    folder, out : Path
        The study; where everything goes.
    threads : int, optional
        Worker threads of the mapper; the outcome does not depend on them.
    engine : callable, optional
        What carries the messages; without one, this process. The outcome does not depend on it.

    Raises
    ------
    ProblemsError
        What is missing or wrong in the study folder or in its lots, all of it at once.
    RefusedError
        No site delivered.
    """
    source = read_study(folder)
    plan = source.plan
    key = coordinator_key(plan.study, plan.analysis.seed)
    study = open_plan(seal(encode(plan), PayloadType.STUDY_PLAN, key), key.verifying_key)
    roster = _roster(plan, key)
    store = MemoryStore()
    with appearing_whole(out, replaces=RESULTS_FILE) as work:
        run = _collection(study, roster, key, store)
        sites = (engine or in_process)(source, run, threads)
        events = site_states(plan.sites, map(CollectionEvent.from_line, store.events(plan.study)))
        _require_answers(events, sites)
        envelopes = [(report.digest, report.envelope) for report in store.reports(plan.study)]
        outcome = analyse_reports(study, verified_reports(study, roster, envelopes))
        with progress("pooled analysis as oracle", _POOLED_STEPS, unit="steps") as advance:
            pooled = pooled_data(source, advance, threads=threads)
        parity = parity_with(pooled, outcome.data, outcome.results, source)
        outcome = replace(outcome, results=outcome.results.model_copy(update={"parity": parity}))
        write_exchange(work, source, study, roster, key, store, sites, now=opening(plan))
        write_outcome(outcome, work)
        _publish_specification(work, study, outcome, key)
        write_bundle(read_evidence(work), work / BUNDLE_FOLDER, key=key, at=opening(plan))
        for site in sites:
            page = report_html(outcome, Edition.of_site(site.site))
            received = work / "sites" / site.site / "received"
            write_atomically(received / "report.html", page)
            released = encode(results_for_site(outcome, site.site))
            write_atomically(received / RESULTS_FILE, seal(released, PayloadType.RESULTS, key))
    return RunOutcome(outcome=outcome, events=events, bytes_sent={site.site: site.bytes_sent for site in sites})


def _publish_specification(work: Path, study: Believed[StudyPlan], outcome: Outcome, key: SigningKey) -> None:
    """Sign the specification that the plan asks for, where one exists."""
    found = outcome.results.specification
    if found is None or found.outcome is SpecificationOutcome.NONE:
        return
    made = specification_of(
        study,
        outcome,
        (work / RESULTS_FILE).read_bytes(),
        question_of(study.message),
        issued=opening(study.message),
    )
    write_atomically(work / "published" / SPECIFICATION_FILE, seal_specification(made, key))


def _roster(plan: StudyPlan, key: SigningKey) -> Roster:
    seed = plan.analysis.seed
    return Roster(
        study=plan.study,
        coordinator=key.verifying_key.to_hex(),
        sites=tuple(
            SiteKey(site=site, key=site_key(plan.study, seed, site).verifying_key.to_hex())
            for site in sorted(plan.sites)
        ),
    )


def _collection(study: Believed[StudyPlan], roster: Roster, key: SigningKey, store: MemoryStore) -> CollectionRun:
    plan, nonces = study.message, itertools.count()
    now = opening(plan)
    return CollectionRun(
        study=study,
        roster=roster,
        key=key,
        store=store,
        nodes={site: number for number, site in enumerate(plan.sites, start=1)},
        clock=lambda: now,
        nonce=lambda: nonce(plan.study, plan.analysis.seed, next(nonces)),
        log=lambda _line: None,
    )


def in_process(source: StudySource, run: CollectionRun, threads: int | None) -> tuple[SimulatedSite, ...]:
    """Collect in this process, one site after the other."""
    with progress(
        "mapping lots at their sites", sum(len(lots.lots) for _, lots in source.sites), unit="lots"
    ) as advance:
        sites = tuple(
            simulated_site(source, site, ledger=MemoryLog(), done=lambda _lot: advance(), threads=threads)
            for site, _ in source.sites
        )
        apps = {run.nodes[site.site]: make_client_app(site, clock=run.clock, log=site.log.append) for site in sites}
        context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
        make_server_app(run)(InProcessGrid(apps), context)
    return sites


def simulated_site(
    source: StudySource, site: SiteId, *, ledger: AppendLog, done: Callable[[Lot], None], threads: int | None
) -> SimulatedSite:
    """Return a site of a study, its agent given its own folder and nothing of another's."""
    plan, log = source.plan, list[str]()
    policy = source.folder / SITES_FOLDER / site / POLICY_FILE
    own_key = site_key(plan.study, plan.analysis.seed, site)
    coordinator = coordinator_key(plan.study, plan.analysis.seed).verifying_key
    kept = Ledger(ledger, site=site, key=own_key)
    noise = NoiseBook(MemoryLog(), mechanism=seeded_noise(plan.study, plan.analysis.seed, site))
    agent = Agent(
        SiteIdentity(site=site, key=own_key, coordinator=coordinator),
        policy=policy.read_bytes() if policy.is_file() else None,
        reports=FolderReports(
            site=dict(source.sites)[site],
            atlas=source.atlas,
            secret=pseudonym_secret(plan.study, plan.analysis.seed, site),
            done=done,
            log=log.append,
            threads=threads,
            noise=noise,
        ),
        airlock=Airlock(MemoryLog()),
        ledger=kept,
        records=MemoryRecords(),
        log=log.append,
        noise=noise,
    )
    return SimulatedSite(site=site, agent=agent, ledger=kept, log=log)


def opening(plan: StudyPlan) -> datetime:
    """Return the time of a run: the first day of the quarter in which its plan opens."""
    year, quarter = plan.opens.split("-Q")
    return datetime(int(year), 3 * int(quarter) - 2, 1, tzinfo=UTC)


def _require_answers(events: Mapping[SiteId, CollectionEvent | None], sites: Sequence[SimulatedSite]) -> None:
    """Raise if the lots of a site fail, with what its log says; a site that refuses or waits is told and left out."""
    logs = {site.site: site.log for site in sites}
    problems = []
    for site, event in events.items():
        said = "; ".join(logs[site]) or "nothing in its log"
        if event is None or event.state in {SiteState.FAILED, SiteState.ANSWER_REJECTED, SiteState.ASKED}:
            code = event.code if event is not None else None
            problems.append(InputError(f"{site} ({(code or ErrorCode.INTERNAL).value}): {said}"))
        elif event.state is not SiteState.DELIVERED:
            remark(f"{site}: {event.state.value}: {event.code.sentence if event.code else ''} {said}")
        else:
            for line in logs[site]:
                remark(f"{site}: {line}")
    if problems:
        raise ProblemsError("the sites", problems)
    if not any(event is not None and event.state is SiteState.DELIVERED for event in events.values()):
        raise RefusedError("expected reports of at least one site, found none", hint="see each site's reason above")
