"""What the coordinator asks and what a site answers, with the rules against replay (SPEC 3.4 to 3.7).

A query is signed by the coordinator and names the study, the exact plan and atlas, one site, a round and a nonce. It
lives for a day at most. A site takes each nonce once and remembers it until the query has expired. An answer is signed
by the site and names the query by nonce and hash, and the reports beside it by the hashes of their envelopes: the
reports themselves travel as they were sealed.

Flower authenticates a node by headers that can be replayed for minutes on other bodies, so nothing here rests on it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from protocol.codec import sha256
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Digest, Instant, Nonce, Sha256, SiteSlug, StudySlug, time_of
from protocol.ledger import Head
from protocol.message import Message

MAXIMUM_VALIDITY: Final = timedelta(hours=24)
"""SPEC 3.5: no query lives longer."""

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""SPEC 3.5: how far two honest clocks may differ."""


class Query(Message):
    """Ask one site for its reports under one plan and atlas; signed by the coordinator."""

    schema_id: Literal["crosslot.query/1"] = Field(default="crosslot.query/1", alias="schema")
    study: StudySlug
    plan_sha256: Digest
    atlas_sha256: Digest
    site: SiteSlug
    round: Annotated[int, Field(ge=1, le=1_000_000)]
    nonce: Nonce
    issued: Instant
    expires: Instant

    @model_validator(mode="after")
    def _expires_after_it_is_issued(self) -> Self:
        if self.expires <= self.issued:
            raise ValueError("expected expires after issued")
        return self


class AnswerStatus(StrEnum):
    """What a site says to a query."""

    REPORTS = "reports"
    WAITING = "waiting"
    REFUSED = "refused"
    FAILED = "failed"


class Answer(Message):
    """A site's answer to one query; signed by the site. ``code`` says why there are no reports."""

    schema_id: Literal["crosslot.answer/1"] = Field(default="crosslot.answer/1", alias="schema")
    study: StudySlug
    site: SiteSlug
    query_nonce: Nonce
    query_sha256: Digest  # of the query's payload
    status: AnswerStatus
    code: ErrorCode | None = None
    reports: Annotated[tuple[Digest, ...], Field(max_length=5_000)] = ()  # of each report's envelope, sorted
    ledger: Head | None = None  # where the site's ledger ended before this answer: the coordinator countersigns it

    @model_validator(mode="after")
    def _status_says_what_comes(self) -> Self:
        with_reports = self.status is AnswerStatus.REPORTS
        if with_reports != bool(self.reports) or with_reports == (self.code is not None):
            raise ValueError("expected reports without a code, or a code without reports")
        if list(self.reports) != sorted(set(self.reports)):
            raise ValueError("reports: expected distinct digests in ascending order")
        return self


@dataclass(frozen=True)
class ReplayWindow:
    """The nonces that a site has taken and whose queries have not yet expired, as (nonce, expires) pairs."""

    taken: frozenset[tuple[str, str]] = frozenset()

    def take(self, query: Query, *, now: datetime) -> "ReplayWindow":
        """Return the window after ``query`` was taken at ``now`` (SPEC 3.6).

        Nonces of queries that expired more than the clocks' tolerance ago are forgotten: those queries are refused by
        their age.

        Raises
        ------
        ProtocolError
            If the query's nonce was taken before.
        """
        if any(nonce == query.nonce for nonce, _ in self.taken):
            raise ProtocolError(ErrorCode.REPLAYED)
        alive = {(nonce, expires) for nonce, expires in self.taken if time_of(expires) + CLOCK_TOLERANCE >= now}
        return ReplayWindow(frozenset(alive | {(query.nonce, query.expires)}))


def check_query(query: Query, *, site: str, now: datetime) -> None:
    """Return if a query whose signature held is for this site and of this time (SPEC 3.5).

    Raises
    ------
    ProtocolError
        If it names another site, lies in the future, has expired, or would live too long.
    """
    if query.site != site:
        raise ProtocolError(ErrorCode.WRONG_SITE)
    issued, expires = time_of(query.issued), time_of(query.expires)
    if expires - issued > MAXIMUM_VALIDITY:
        raise ProtocolError(ErrorCode.VALID_TOO_LONG)
    if issued > now + CLOCK_TOLERANCE:
        raise ProtocolError(
            ErrorCode.NOT_YET_VALID,
            f"It was issued {query.issued}, and here it is {now.isoformat()}.",
            hint="compare this machine's clock with a time server",
        )
    if expires + CLOCK_TOLERANCE < now:
        raise ProtocolError(ErrorCode.EXPIRED, f"It expired {query.expires}.")


def check_asks_for(query: Query, *, study: str, plan_sha256: Sha256, atlas_sha256: Sha256) -> None:
    """Return if a query asks for the study, plan and atlas that this site agreed to (SPEC 3.4).

    Raises
    ------
    ProtocolError
        If one of the three differs.
    """
    if query.study != study:
        raise ProtocolError(ErrorCode.WRONG_STUDY)
    if query.plan_sha256 != plan_sha256:
        raise ProtocolError(ErrorCode.PLAN_MISMATCH)
    if query.atlas_sha256 != atlas_sha256:
        raise ProtocolError(ErrorCode.ATLAS_MISMATCH)


def answer_with_reports(
    query: Query, query_payload: bytes, report_envelopes: Iterable[bytes], *, ledger: Head | None = None
) -> Answer:
    """Return the answer that names the given sealed reports."""
    return Answer(
        study=query.study,
        site=query.site,
        query_nonce=query.nonce,
        query_sha256=sha256(query_payload),
        status=AnswerStatus.REPORTS,
        reports=tuple(sorted({sha256(envelope) for envelope in report_envelopes})),
        ledger=ledger,
    )


def answer_with_code(
    query: Query, query_payload: bytes, status: AnswerStatus, code: ErrorCode, *, ledger: Head | None = None
) -> Answer:
    """Return the answer that says by a code why no reports come."""
    return Answer(
        study=query.study,
        site=query.site,
        query_nonce=query.nonce,
        query_sha256=sha256(query_payload),
        status=status,
        code=code,
        ledger=ledger,
    )


def check_answer(answer: Answer, *, query: Query, query_payload: bytes, report_envelopes: Sequence[bytes]) -> None:
    """Return if an answer whose signature held belongs to the query and names exactly the reports beside it (SPEC 3.7).

    Raises
    ------
    ProtocolError
        If it belongs to another query, site or study, or the reports beside it are others, more or fewer.
    """
    if answer.query_nonce != query.nonce or answer.query_sha256 != sha256(query_payload):
        raise ProtocolError(ErrorCode.WRONG_QUERY)
    if answer.site != query.site:
        raise ProtocolError(ErrorCode.WRONG_SITE)
    if answer.study != query.study:
        raise ProtocolError(ErrorCode.WRONG_STUDY)
    if tuple(sorted(sha256(envelope) for envelope in report_envelopes)) != answer.reports:
        raise ProtocolError(ErrorCode.REPORTS_MISMATCH)
