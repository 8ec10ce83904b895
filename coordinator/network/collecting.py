"""Collecting a study over the network: rounds until every site has answered, or the deadline.

A round is safe to break off at any moment: verified reports are stored as they come, and who is missing is asked again.
"""

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from coordinator.analyse_command import Outcome, analyse_reports, verified_reports
from coordinator.collection import (
    CollectionEvent,
    SiteState,
    site_states,
    sites_that_refused,
    sites_to_ask,
)
from coordinator.evidence.bundle import SPECIFICATION_FILE
from coordinator.home import CoordinatorHome
from coordinator.modules.specification_signing import released_specification, with_envelope
from coordinator.network.enrolment import EnrolledSite, Enrolments, works_with
from coordinator.network.flower_app import CollectionRun, collect_round
from coordinator.network.gateway import sites_by_node
from coordinator.network.registry import CHECKPOINTS_FOLDER, Published, published
from coordinator.network.superlink import RoundBrokenError, SuperLink
from coordinator.released import results_for_site
from coordinator.store import SqliteStore
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.identifiers import SiteId, StudyId
from protocol.roster import Roster, SiteKey
from shared.errors import InputError, NoRoomError, RefusedError
from shared.runtime.files import write_atomically

ROSTER_FILE: Final = "roster.json"
ENVELOPES_FOLDER: Final = "envelopes"
ONLINE: Final = "online"
_SHOW_SECONDS: Final = 10.0

Events = Mapping[SiteId, CollectionEvent | None]


@dataclass(frozen=True, kw_only=True)
class Collecting:
    """A study's collection as it stands."""

    study: StudyId
    events: Events
    enrolled: Mapping[SiteId, EnrolledSite]

    @property
    def complete(self) -> bool:
        """Whether every site has delivered or refused: then asking again changes nothing."""
        return all(
            event is not None and event.state in {SiteState.DELIVERED, SiteState.REFUSED}
            for event in self.events.values()
        )


def standing(home: CoordinatorHome, study: StudyId) -> Collecting:
    """Return how a study's collection stands, from the store alone."""
    plan = published(home, study).plan.message
    store = SqliteStore(home.store_path)
    events = site_states(plan.sites, map(CollectionEvent.from_line, store.events(study)))
    return Collecting(study=study, events=events, enrolled=Enrolments(home.enrolments_path).enrolled())


def roster_of(home: CoordinatorHome, study: Published, enrolled: Mapping[SiteId, EnrolledSite]) -> Roster:
    """Return the roster of a study's enrolled sites; it is signed and kept beside the plan.

    Raises
    ------
    RefusedError
        None of the plan's sites is enrolled.
    """
    plan, key = study.plan.message, home.key
    named = [SiteKey(site=site, key=enrolled[site].key) for site in sorted(plan.sites) if site in enrolled]
    if not named:
        raise RefusedError(
            f"{plan.study}: expected at least one of its sites enrolled, found none",
            hint="invite them: crosslot-coordinator invite SITE",
        )
    roster = Roster(study=plan.study, coordinator=key.verifying_key.to_hex(), sites=tuple(named))
    write_atomically(home.study(plan.study) / ROSTER_FILE, seal(encode(roster), PayloadType.ROSTER, key))
    return roster


def collect(
    home: CoordinatorHome,
    study: StudyId,
    *,
    deadline_seconds: float,
    pause_seconds: float,
    again: bool = False,
    show: Callable[[Collecting], None],
    log: Callable[[str], None],
) -> Collecting:
    """Ask the study's sites in rounds until all have answered or the deadline is over; return how it stands.

    Parameters
    ----------
    deadline_seconds : float
        How long in all; nobody is asked any more after it, and who was asked before is waited for.
    pause_seconds : float
        Between two rounds.
    again : bool
        Whether sites that refused are asked once more, in the first round.
    show : callable
        Called after each round, and in a long one now and then.
    log : callable
        Takes lines for the coordinator's log.

    Raises
    ------
    InputError
        The study was not published, or the service does not run.
    RefusedError
        None of the study's sites is enrolled.
    """
    record = published(home, study)
    enrolments, store = Enrolments(home.enrolments_path), SqliteStore(home.store_path)
    end, first = time.monotonic() + deadline_seconds, True
    while True:
        try:
            _one_round(home, record, enrolments, store, end=end, again=again and first, show=show, log=log)
        except (RoundBrokenError, InputError) as error:  # the service may be between two lives
            if isinstance(error, NoRoomError) or (first and isinstance(error, InputError)):
                raise  # a person must act; what was kept is kept, and the same command goes on there
            log(f"{error}; going on")
        first = False
        write_envelopes(home, study)
        now = standing(home, study)
        show(now)
        if now.complete or time.monotonic() >= end:
            return now
        time.sleep(min(pause_seconds, max(0.0, end - time.monotonic())))


def _one_round(
    home: CoordinatorHome,
    record: Published,
    enrolments: Enrolments,
    store: SqliteStore,
    *,
    end: float,
    again: bool,
    show: Callable[[Collecting], None],
    log: Callable[[str], None],
) -> None:
    """Ask, once, the sites that are online and have yet to deliver; nothing is started where there is none."""
    superlink, study = SuperLink.of(home), record.plan.message.study
    roster = roster_of(home, record, enrolments.enrolled())
    online = {key for key, (_, state) in superlink.nodes().items() if state == ONLINE}
    enrolled = enrolments.enrolled()
    every = sites_by_node(enrolments, superlink)
    # A site of another version takes no query: asked, it would only let the round wait.
    ready = {site for site, each in enrolled.items() if each.node_key in online and works_with(each)}
    nodes = {site: node for site, node in every.items() if site in ready}
    events = [CollectionEvent.from_line(line) for line in store.events(study)]
    asked = set(sites_to_ask(record.plan.message.sites, events))
    if again:
        asked |= sites_that_refused(record.plan.message.sites, events)
    nodes = _in_turn(asked, nodes, events)
    if not nodes:
        return
    run = CollectionRun(
        study=record.plan,
        roster=roster,
        key=home.key,
        store=store,
        nodes=nodes,
        clock=lambda: datetime.now(UTC),
        nonce=lambda: secrets.token_hex(16),
        log=log,
        reply_seconds=float(home.settings.reply_seconds),
        sites_at_once=home.settings.sites_at_once,
        may_ask=lambda: time.monotonic() < end,
        kept=_NowAndThen(lambda: show(standing(home, study))),
        ask_refused=again,
        terms=record.terms,
        keep_checkpoint=lambda name, data: write_atomically(home.study(study) / CHECKPOINTS_FOLDER / name, data),
    )
    with superlink.grid() as grid:
        collect_round(run, grid)


class _NowAndThen:
    """Does its work when it is called, but not again within ten seconds."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._at >= _SHOW_SECONDS:
            self._work()
            self._at = time.monotonic()


def _in_turn(
    asked: Collection[SiteId], nodes: Mapping[SiteId, int], events: Iterable[CollectionEvent]
) -> dict[SiteId, int]:
    """Return the nodes of the sites to ask, those first that were asked longest ago: none waits behind a silent one."""
    last = {site: 0 if event is None else event.round for site, event in site_states(nodes, events).items()}
    return {site: nodes[site] for _, site in sorted((last[site], site) for site in asked if site in nodes)}


def write_envelopes(home: CoordinatorHome, study: StudyId) -> None:
    """Write the stored envelopes of a study beside its plan, each under a name of its own: evidence in plain files."""
    folder = home.study(study) / ENVELOPES_FOLDER
    for report in SqliteStore(home.store_path).reports(study):
        path = folder / f"{report.site}-{report.lot}-v{report.version}.json"
        if not path.is_file():
            write_atomically(path, report.envelope)


def outcome_of(home: CoordinatorHome, study: StudyId) -> Outcome:
    """Return the outcome of what was collected, every envelope verified anew.

    Raises
    ------
    InputError
        Nothing was collected yet.
    """
    record = published(home, study)
    reports = SqliteStore(home.store_path).reports(study)
    if not reports:
        raise InputError(f"{study}: expected collected reports, found none", hint="collect first")
    # A site that was revoked since then delivered in good faith: its key is believed for what was kept.
    known = {each.site: each for each in Enrolments(home.enrolments_path).sites()}
    roster = roster_of(home, record, known)
    envelopes = [(report.digest, report.envelope) for report in reports]
    return analyse_reports(record.plan, verified_reports(record.plan, roster, envelopes))


def release_results(home: CoordinatorHome, study: StudyId) -> tuple[SiteId, ...]:
    """Sign the results of a study for each of its sites and put them into the registry; return the sites.

    What a site is given holds aggregates, and of excluded lots its own only; and the signed specification, where there
    is one.
    """
    outcome = outcome_of(home, study)
    believed = published(home, study).plan
    plan, key = believed.message, home.key
    place = home.study(study) / SPECIFICATION_FILE
    signed = released_specification(place, believed, outcome, key, now=datetime.now(UTC))
    for site in plan.sites:
        results = results_for_site(outcome, site)
        if signed is not None:
            results = with_envelope(results, *signed)
        write_atomically(home.results(study, site), seal(encode(results), PayloadType.RESULTS, key))
    return plan.sites
