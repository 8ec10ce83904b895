"""Making the airlock's events: what happened to a report, and the steward's signature on a decision about it."""

from datetime import datetime

from pydantic import ValidationError

from protocol.identifiers import instant
from protocol.signing import SigningKey
from protocol.steward import Meaning, ReleaseDecision, seal_decision
from shared.errors import InputError
from site_agent.release.decisions import AirlockEvent, EventKind, Held


def signed_decision(event: AirlockEvent, held: Held, key: SigningKey) -> str:
    """Return the steward's signed envelope of a decision about a report."""
    assert event.by is not None  # noqa: S101 - a person decides, and has given a name
    assert event.meaning is not None  # noqa: S101 - the same
    decision = ReleaseDecision(
        study=held.study,
        site=held.report.site,
        lot=held.lot,
        payload_sha256=held.payload_sha256,
        meaning=event.meaning,
        by=event.by,
        at=event.at,
        reason=event.reason,
        warnings_sha256=event.warnings_sha256,
    )
    return seal_decision(decision, key).decode("ascii")


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
