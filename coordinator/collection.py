"""Who has answered what: a collection as values in and values out, with time and nonces given.

Rules
-----
1. A round asks, by name, each site that has not yet delivered; a round is short and may be repeated at will.
2. An answer is believed only if its signature, its query and every report beside it hold (SPEC 2.4, 3.7, 4.7); one
   report that does not fit, or that contradicts a kept one, refuses the whole answer, and nothing of it is kept.
3. The log of events is the only source of a site's state: nothing else is remembered.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from coordinator.store import StoredReport
from protocol.admission import check_report_fits
from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, seal
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Instant, SiteId, instant
from protocol.plan import StudyPlan
from protocol.queries import Answer, AnswerStatus, Query, check_answer
from protocol.roster import Believed, Roster, open_answer, open_report
from protocol.signing import SigningKey

VALID_FOR = timedelta(hours=1)


class SiteState(StrEnum):
    """Where a site stands in a collection."""

    NOT_ASKED = "not-asked"
    ASKED = "asked"
    AWAITING_STEWARD = "awaiting-steward"
    DELIVERED = "delivered"
    REFUSED = "refused"
    FAILED = "failed"
    ANSWER_REJECTED = "answer-rejected"

    @property
    def whose_turn(self) -> str:
        """Who must act next, for a person."""
        return _TURN[self]


_TURN = {
    SiteState.NOT_ASKED: "coordinator",
    SiteState.ASKED: "site agent",
    SiteState.AWAITING_STEWARD: "site steward",
    SiteState.DELIVERED: "nobody",
    SiteState.REFUSED: "site steward and coordinator",
    SiteState.FAILED: "site",
    SiteState.ANSWER_REJECTED: "site and coordinator",
}

# Asking again can change these; what a person refused stays refused until that person says otherwise.
ASK_AGAIN = frozenset(
    {SiteState.NOT_ASKED, SiteState.ASKED, SiteState.AWAITING_STEWARD, SiteState.FAILED, SiteState.ANSWER_REJECTED}
)


@dataclass(frozen=True, kw_only=True)
class CollectionEvent:
    """One line of the collection's log."""

    at: Instant
    site: SiteId
    state: SiteState
    round: int
    code: ErrorCode | None = None
    lots: int = 0

    def to_line(self) -> str:
        """Return the event as one line of JSON."""
        return json.dumps(
            {
                "at": self.at,
                "site": self.site,
                "state": self.state,
                "round": self.round,
                "code": self.code,
                "lots": self.lots,
            },
            sort_keys=True,
        )

    @classmethod
    def from_line(cls, line: str) -> "CollectionEvent":
        """Return the event that :meth:`to_line` wrote."""
        fields = json.loads(line)
        return cls(
            at=fields["at"],
            site=SiteId(fields["site"]),
            state=SiteState(fields["state"]),
            round=fields["round"],
            code=None if fields["code"] is None else ErrorCode(fields["code"]),
            lots=fields["lots"],
        )


@dataclass(frozen=True, kw_only=True)
class OutgoingQuery:
    """A sealed query, with what its answer will be held against."""

    query: Query
    payload: bytes
    envelope: bytes


@dataclass(frozen=True, kw_only=True)
class Received:
    """What came of one answer: the event for the log, and the reports to keep (none unless all held)."""

    event: CollectionEvent
    reports: tuple[StoredReport, ...] = ()
    detail: str = ""  # for the coordinator's own log


def site_states(sites: Iterable[SiteId], events: Iterable[CollectionEvent]) -> Mapping[SiteId, CollectionEvent | None]:
    """Return each site's last event, None where it was never asked."""
    last: dict[SiteId, CollectionEvent | None] = dict.fromkeys(sites)
    for event in events:
        if event.site in last:
            last[event.site] = event
    return last


def sites_to_ask(sites: Iterable[SiteId], events: Iterable[CollectionEvent]) -> tuple[SiteId, ...]:
    """Return the sites that a further round should ask."""
    return tuple(
        site
        for site, event in site_states(sites, events).items()
        if (SiteState.NOT_ASKED if event is None else event.state) in ASK_AGAIN
    )


def sites_that_refused(sites: Iterable[SiteId], events: Iterable[CollectionEvent]) -> frozenset[SiteId]:
    """Return the sites whose last word was a refusal: they are asked again only where a person says so."""
    return frozenset(
        site
        for site, event in site_states(sites, events).items()
        if event is not None and event.state is SiteState.REFUSED
    )


def compose_query(
    study: Believed[StudyPlan],
    key: SigningKey,
    *,
    site: SiteId,
    round_number: int,
    now: datetime,
    nonce: Callable[[], str],
    valid_for: timedelta = VALID_FOR,
) -> OutgoingQuery:
    """Return a sealed query to one site.

    Parameters
    ----------
    study : Believed of StudyPlan
        The signed plan.
    key : SigningKey
        The coordinator's.
    nonce : callable
        Gives 32 hexadecimal digits that were never given before.
    """
    query = Query(
        study=study.message.study,
        plan_sha256=study.payload_sha256,
        atlas_sha256=study.message.atlas.sha256,
        site=site,
        round=round_number,
        nonce=nonce(),
        issued=instant(now),
        expires=instant(now + valid_for),
    )
    payload = encode(query)
    return OutgoingQuery(query=query, payload=payload, envelope=seal(payload, PayloadType.QUERY, key))


def receive(
    study: Believed[StudyPlan],
    roster: Roster,
    asked: OutgoingQuery,
    *,
    answer: bytes,
    report_envelopes: Sequence[bytes],
    now: datetime,
    kept: Iterable[StoredReport] = (),
) -> Received:
    """Return what an answer to ``asked`` amounts to; an answer that does not hold becomes a rejected event.

    Parameters
    ----------
    study, roster : Believed of StudyPlan, Roster
        The signed plan, and whose key is whose.
    asked : OutgoingQuery
        The query that the site was sent.
    answer, report_envelopes : bytes, sequence of bytes
        What came.
    now : datetime
        For the log.
    kept : iterable of StoredReport, optional
        What the store holds of the study: a kept report is never replaced by other bytes under its version.
    """
    query = asked.query
    try:
        believed = open_answer(answer, roster, query.site)
        check_answer(
            believed.message, query=query, query_payload=asked.payload, report_envelopes=list(report_envelopes)
        )
        reports = tuple(_admit(study, roster, query.site, envelope) for envelope in report_envelopes)
        if len({(report.lot, report.version) for report in reports}) != len(reports):
            raise ProtocolError(ErrorCode.REPORTS_MISMATCH, "One lot stands in two reports.")  # noqa: TRY301 - one exit for all refusals
        _check_contradicts_none(reports, kept)
    except ProtocolError as error:
        return Received(event=_event(query, now, SiteState.ANSWER_REJECTED, error.code), detail=str(error))
    state = _state_of(believed.message)
    return Received(event=_event(query, now, state, believed.message.code, lots=len(reports)), reports=reports)


def no_answer(asked: OutgoingQuery, now: datetime, code: ErrorCode | None = None) -> CollectionEvent:
    """Return the event of a site that sent nothing that could be believed, with the code it gave if any."""
    return _event(asked.query, now, SiteState.ASKED if code is None else SiteState.FAILED, code)


def _admit(study: Believed[StudyPlan], roster: Roster, site: SiteId, envelope: bytes) -> StoredReport:
    report = open_report(envelope, roster, site).message
    check_report_fits(report, study.message, study.payload_sha256)
    return StoredReport(
        site=report.site, lot=report.lot, version=report.version, digest=sha256(envelope), envelope=envelope
    )


def _check_contradicts_none(reports: Sequence[StoredReport], kept: Iterable[StoredReport]) -> None:
    new = {(report.site, report.lot, report.version): report for report in reports}
    for old in kept:
        report = new.get((old.site, old.lot, old.version))
        if report is not None and report.digest != old.digest:
            detail = f"Lot {old.lot} version {old.version} is kept with other bytes."
            raise ProtocolError(ErrorCode.REPORTS_MISMATCH, detail, hint="a changed report takes the next version")


def _state_of(answer: Answer) -> SiteState:
    match answer.status:
        case AnswerStatus.REPORTS:
            return SiteState.DELIVERED
        case AnswerStatus.WAITING:
            return SiteState.AWAITING_STEWARD if answer.code is ErrorCode.AWAITING_STEWARD else SiteState.ASKED
        case AnswerStatus.REFUSED:
            return SiteState.REFUSED
        case AnswerStatus.FAILED:
            return SiteState.FAILED


def _event(query: Query, now: datetime, state: SiteState, code: ErrorCode | None, *, lots: int = 0) -> CollectionEvent:
    return CollectionEvent(at=instant(now), site=query.site, state=state, round=query.round, code=code, lots=lots)
