"""Decisions about reports: the states of a report in the airlock, and the only ways between them.

    pending --approve--> approved --send--> sent
    pending --refuse---> refused
    approved --a rule warns of what was not seen--> pending
    pending, approved --a changed report of the same lot--> voided --the same bytes again--> pending

An approval is for exact bytes: it names the SHA-256 of the payload, who approved it, when, what the signature means,
and the reason where a rule warned; a person's is signed by the steward's key. What was decided is never decided
again: a refused report needs a new version. A steward may withhold clusters of a lot: what the lot's report shows of
them from then on is their order of magnitude (``withheld_clusters``).
Everything here is values in and values out; ``airlock`` keeps them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import Field

from protocol.codec import decode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, envelope_limit
from protocol.identifiers import Digest, Instant, Label, LotPseudonym, Pseudonym, Sha256, StudyId, StudySlug
from protocol.message import Message
from protocol.report import LotReport
from protocol.steward import Meaning
from shared.errors import InputError, RefusedError

DECISION_LIMIT: Final = envelope_limit(PayloadType.RELEASE_DECISION)
EVENT_LIMIT: Final = 4 * PAYLOAD_LIMITS[PayloadType.LOT_REPORT]
"""The largest event, bytes: a payload within a payload, its quotes escaped."""


class State(StrEnum):
    """Where a report stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    SENT = "sent"
    VOIDED = "voided"


class EventKind(StrEnum):
    """What happened."""

    SUBMITTED = "submitted"
    APPROVED = "approved"
    REFUSED = "refused"
    SENT = "sent"
    VOIDED = "voided"
    REOPENED = "reopened"  # a rule warns of what the steward had not seen
    WITHHELD = "withheld"  # of a lot, whatever its report
    OFFERED_AGAIN = "offered-again"  # of a lot whose report was refused: the next report takes another version


NEXT_STATE: Final[Mapping[tuple[State, EventKind], State]] = {
    (State.PENDING, EventKind.APPROVED): State.APPROVED,
    (State.PENDING, EventKind.REFUSED): State.REFUSED,
    (State.PENDING, EventKind.VOIDED): State.VOIDED,
    (State.APPROVED, EventKind.VOIDED): State.VOIDED,
    (State.APPROVED, EventKind.SENT): State.SENT,
    (State.APPROVED, EventKind.REOPENED): State.PENDING,
}
"""The only ways between states; every other is refused."""


class AirlockEvent(Message):
    """One event; it stays at the site."""

    schema_id: Literal["crosslot.airlock-event/1"] = Field(default="crosslot.airlock-event/1", alias="schema")
    kind: EventKind
    at: Instant
    payload_sha256: Digest
    study: StudySlug
    lot: LotPseudonym
    clusters: Annotated[tuple[int, ...], Field(max_length=256)] = ()  # positions withheld; all of them, each time
    payload: Annotated[str, Field(max_length=EVENT_LIMIT)] | None = None  # of a submitted report, its exact text
    lot_sha256: Digest | None = None  # of a submitted report, its provenance
    cells_sha256: Digest | None = None
    draw_sha256: Digest | None = None
    by: Label | None = None
    meaning: Meaning | None = None
    reason: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    warnings_sha256: Digest | None = None  # of an approval, what the rules warned of
    decision: Annotated[str, Field(max_length=DECISION_LIMIT)] | None = None  # the steward's signed envelope


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a report was made of, as the site alone knows it again.

    Attributes
    ----------
    lot_sha256
        Equal for equal lots, in any study.
    cells_sha256
        Equal for equal cells after QC, under any atlas.
    draw_sha256
        Equal for counts that bear the same noise; None for counts without noise.
    """

    lot_sha256: Sha256
    cells_sha256: Sha256
    draw_sha256: Sha256 | None = None


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A decision that exactly these bytes may leave.

    Attributes
    ----------
    payload_sha256
        Of the bytes.
    by, at
        Who, and when.
    meaning
        What the signature means.
    reason
        Why, where a rule warned.
    warnings_sha256
        Of all that the rules warned of when it was given; None where none did.
    decision
        The steward's signed envelope; None where the policy decided.
    """

    payload_sha256: Sha256
    by: str
    at: Instant
    meaning: Meaning
    reason: str | None = None
    warnings_sha256: Sha256 | None = None
    decision: bytes | None = None

    @property
    def automatic(self) -> bool:
        """Whether the policy decided, and no person."""
        return self.meaning is Meaning.RELEASED_BY_POLICY


@dataclass(frozen=True, kw_only=True)
class Held:
    """One report in the airlock and what was decided about it."""

    payload: bytes
    payload_sha256: Sha256
    study: StudyId
    lot: Pseudonym
    submitted_at: Instant
    provenance: Provenance | None = None
    state: State = State.PENDING
    approval: Approval | None = None
    refusal_reason: str | None = None
    refused_by: str | None = None

    @cached_property
    def report(self) -> LotReport:
        """The report that the payload encodes."""
        return decode(LotReport, self.payload, limit=PAYLOAD_LIMITS[PayloadType.LOT_REPORT])


def apply(held: dict[Sha256, Held], event: AirlockEvent) -> None:
    """Enter an event into the reports that are held.

    Raises
    ------
    RefusedError
        If the event cannot follow what happened before.
    InputError
        If it is about a report that was never submitted.
    """
    digest = event.payload_sha256
    if event.kind is not EventKind.SUBMITTED:
        held[digest] = after(found(held, digest), event)
        return
    payload = (event.payload or "").encode("utf-8")
    if sha256(payload) != digest or (digest in held and held[digest].state is not State.VOIDED):
        raise RefusedError("expected a new report with its own hash")
    held[digest] = Held(
        payload=payload,
        payload_sha256=digest,
        study=event.study,
        lot=event.lot,
        submitted_at=event.at,
        provenance=_provenance(event),
    )


def _provenance(event: AirlockEvent) -> Provenance | None:
    if event.lot_sha256 is None or event.cells_sha256 is None:
        return None
    return Provenance(lot_sha256=event.lot_sha256, cells_sha256=event.cells_sha256, draw_sha256=event.draw_sha256)


def after(held: Held, event: AirlockEvent) -> Held:
    """Return a report as it stands after an event.

    Raises
    ------
    RefusedError
        If there is no such way between states, or an approval does not say who approves.
    """
    state = NEXT_STATE.get((held.state, event.kind))
    if state is None:
        raise RefusedError(
            f"expected a report that can be {event.kind.value}, found one that is {held.state.value}",
            hint="a decision is final; a changed report is submitted anew",
        )
    if event.kind is EventKind.REFUSED:
        return replace(held, state=state, refusal_reason=event.reason, refused_by=event.by)
    if event.kind in {EventKind.VOIDED, EventKind.REOPENED}:
        return replace(held, state=state, approval=None)
    if event.kind is EventKind.SENT:
        return replace(held, state=state)
    if event.by is None or event.meaning is None:
        raise RefusedError("expected an approval that says by whom and what it means")
    approval = Approval(
        payload_sha256=held.payload_sha256,
        by=event.by,
        at=event.at,
        meaning=event.meaning,
        reason=event.reason,
        warnings_sha256=event.warnings_sha256,
        decision=None if event.decision is None else event.decision.encode(),
    )
    return replace(held, state=state, approval=approval)


def found(held: Mapping[Sha256, Held], payload_sha256: Sha256) -> Held:
    """Return one of the reports that are held.

    Raises
    ------
    InputError
        If it is not among them.
    """
    if payload_sha256 not in held:
        raise InputError(f"airlock: no report {payload_sha256[:16]}...", hint="list what waits, and give its hash")
    return held[payload_sha256]
