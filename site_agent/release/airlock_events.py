"""Making the airlock's events: what happened to a report, and the steward's signature on a decision about it."""

from datetime import datetime
from typing import Final

from pydantic import ValidationError

from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import SiteId, instant
from protocol.signing import SigningKey, VerifyingKey
from protocol.steward import Meaning, ReleaseDecision, open_decision, seal_decision
from shared.errors import InputError
from site_agent.release.decisions import AirlockEvent, EventKind, Held

_SIGNED: Final = {
    EventKind.APPROVED: Meaning.APPROVED_FOR_RELEASE,
    EventKind.REFUSED: Meaning.REFUSED_FOR_RELEASE,
    EventKind.WITHHELD: Meaning.CLUSTERS_WITHHELD,
    EventKind.OFFERED_AGAIN: Meaning.TO_BE_OFFERED_AGAIN,
}
"""What a person decides, by signature, and what the signature means."""


def is_a_persons(event: AirlockEvent) -> bool:
    """Return whether an event is a decision that a person's signature must stand under."""
    return event.kind in _SIGNED and event.meaning is not Meaning.RELEASED_BY_POLICY


def signed(event: AirlockEvent, site: SiteId, key: SigningKey) -> AirlockEvent:
    """Return a decision as an event that bears its meaning and the steward's signed envelope."""
    meant = event.model_copy(update={"meaning": _SIGNED[event.kind]})
    return meant.model_copy(update={"decision": seal_decision(_decision(meant, site), key).decode("ascii")})


def check_signed(event: AirlockEvent, site: SiteId, steward: VerifyingKey) -> None:
    """Return if the steward signed exactly the decision that an event tells of.

    Raises
    ------
    ProtocolError
        If not.
    """
    if event.decision is None or event.by is None or event.meaning is not _SIGNED.get(event.kind):
        raise ProtocolError(ErrorCode.NOT_APPROVED, f"What was {event.kind.value} bears no steward's signature.")
    if open_decision(event.decision.encode(), steward) != _decision(event, site):
        raise ProtocolError(ErrorCode.NOT_APPROVED, "The steward signed another decision.")


def _decision(event: AirlockEvent, site: SiteId) -> ReleaseDecision:
    assert event.payload_sha256 is not None  # noqa: S101 - a decision is about a report
    assert event.by is not None  # noqa: S101 - a person decides, and has given a name
    assert event.meaning is not None  # noqa: S101 - it is what is signed
    return ReleaseDecision(
        study=event.study,
        site=site,
        lot=event.lot,
        payload_sha256=event.payload_sha256,
        meaning=event.meaning,
        by=event.by,
        at=event.at,
        reason=event.reason,
        warnings_sha256=event.warnings_sha256,
        clusters=event.clusters,
    )


def event_about(
    held: Held,
    kind: EventKind,
    at: datetime,
    *,
    by: str | None = None,
    meaning: Meaning | None = None,
    reason: str | None = None,
) -> AirlockEvent:
    """Return an event about a report.

    Raises
    ------
    InputError
        If a name or a reason is too long, or no printable text.
    """
    try:
        return AirlockEvent(
            kind=kind,
            at=instant(at),
            payload_sha256=held.payload_sha256,
            study=held.study,
            lot=held.lot,
            by=by,
            meaning=meaning,
            reason=reason,
        )
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise InputError(
            f"a decision: {place}: {problem['msg']}", hint="shorten it, and leave out line breaks"
        ) from None
