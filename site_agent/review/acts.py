"""What a steward does: approve, withhold clusters, refuse, offer again, accept terms. Each act is signed and logged.

An act is judged at the time of the act, by the rules as they are then. The ledger is told before the airlock: what
cannot be written down is not done.
"""

from collections.abc import Collection
from datetime import datetime

from protocol.codec import sha256
from protocol.identifiers import StudyId, instant
from protocol.ledger import LedgerEvent, LedgerRecord
from protocol.signing import SigningKey
from protocol.steward import TermsAcceptance, seal_acceptance
from shared.errors import InputError, RefusedError
from site_agent.home import Home
from site_agent.release.decisions import NEXT_STATE, EventKind, Held, State
from site_agent.release.verdicts import Outcome, warnings_sha256
from site_agent.release.withheld_clusters import withhold_clusters
from site_agent.review.model import ReviewItem, rules_for, verdicts_of


def approve(home: Home, item: ReviewItem, *, by: str, at: datetime, key: SigningKey, reason: str = "") -> None:
    """Approve a report by the steward's key.

    Parameters
    ----------
    home, item
        Where, and what.
    by, at, key, reason
        Who, when, the steward's key, and why: needed where a rule warns.

    Raises
    ------
    RefusedError
        If it does not wait any more, or a rule fails.
    InputError
        If a rule warns and there is no reason, or no name is given.
    """
    held = home.airlock().find(item.held.payload_sha256)
    _require(held, EventKind.APPROVED)
    verdicts = verdicts_of(home, held, held.report, rules_for(home, held))
    failures = [verdict.reason for verdict in verdicts if verdict.outcome is Outcome.FAIL]
    if failures:
        raise RefusedError(
            f"a rule fails, and no approval opens the gate against it: {' '.join(failures)}",
            hint="withhold clusters, or refuse the release",
        )
    warnings = [verdict.reason for verdict in verdicts if verdict.outcome is Outcome.REVIEW]
    if warnings and not reason.strip():
        raise InputError(f"a rule asks for a reason: {' '.join(warnings)}", hint="give --reason TEXT")
    _require_steward(home, key)
    _require_name(by)
    _write(home, held, LedgerEvent.APPROVED, at)
    home.airlock().approve(
        held.payload_sha256,
        by=by,
        at=at,
        key=key,
        reason=reason.strip() or None,
        warnings_sha256=warnings_sha256(verdicts),
    )


def refuse(home: Home, item: ReviewItem, *, by: str, at: datetime, key: SigningKey, reason: str) -> None:
    """Refuse a report by the steward's key; a lot that was refused needs a new version to be offered again.

    Raises
    ------
    RefusedError
        If it does not wait any more.
    InputError
        If no reason or no name is given.
    """
    held = home.airlock().find(item.held.payload_sha256)
    _require(held, EventKind.REFUSED)
    if not reason.strip():
        raise InputError("a refusal: expected a reason, found none", hint="give --reason TEXT")
    _require_steward(home, key)
    _require_name(by)
    _write(home, held, LedgerEvent.REFUSED, at)
    home.airlock().refuse(held.payload_sha256, by=by, at=at, key=key, reason=reason)


def offer_again(home: Home, item: ReviewItem, *, by: str, at: datetime, key: SigningKey, reason: str) -> None:
    """Let a lot whose report was refused be offered again, by the steward's key: it waits once it is asked for.

    Raises
    ------
    RefusedError
        If the report was not refused.
    InputError
        If no reason or no name is given.
    """
    if not reason.strip():
        raise InputError("to offer again: expected a reason, found none", hint="give --reason TEXT")
    held = home.airlock().find(item.held.payload_sha256)
    if held.state is not State.REFUSED:
        raise RefusedError(f"expected a report that was refused, found one that is {held.state.value}")
    _require_steward(home, key)
    name = _require_name(by)
    _write(home, held, LedgerEvent.OFFERED_AGAIN, at)
    home.airlock().offer_again(held.payload_sha256, by=name, at=at, key=key, reason=reason.strip())


def withhold(
    home: Home,
    item: ReviewItem,
    clusters: Collection[str],
    *,
    by: str,
    at: datetime,
    key: SigningKey,
    reason: str = "",
) -> Held:
    """Withhold more clusters of a lot, by the steward's key; the bytes that waited are voided.

    The rules run on what waits instead.

    Raises
    ------
    InputError
        If the atlas has no such cluster, or none or no name is given.
    RefusedError
        If the report neither waits nor is approved, or nothing would change.
    """
    airlock = home.airlock()
    held = airlock.find(item.held.payload_sha256)
    _require(held, EventKind.VOIDED)
    name = _require_name(by)
    rules = rules_for(home, held)
    names = rules.plan.atlas.clusters
    unknown = sorted(set(clusters) - set(names))
    if unknown or not clusters:
        raise InputError(
            f"withhold: expected clusters of the atlas, found {', '.join(unknown) or 'none'}",
            hint=f"they are: {', '.join(names)}",
        )
    chosen = frozenset(names.index(name) for name in clusters) | airlock.withheld_clusters(held.study, held.lot)
    report = withhold_clusters(held.report, chosen, rules)
    if report == held.report:
        raise RefusedError("nothing would change: these counts leave no finer than that already")
    _require_steward(home, key)
    _write(home, held, LedgerEvent.WITHHELD, at)
    new = airlock.withhold(held.payload_sha256, report, chosen, by=name, at=at, key=key, reason=reason.strip() or None)
    _write(home, new, LedgerEvent.SUBMITTED, at)
    return new


def accept_terms(home: Home, study: StudyId, terms: bytes, *, by: str, at: datetime, key: SigningKey) -> None:
    """Accept a study's terms, for its plan as it is now, by the steward's key.

    Raises
    ------
    InputError
        If the study has no terms, or no name is given.
    RefusedError
        If the document is not the one that the plan names.
    """
    plan = home.plan(study)
    if plan.message.terms_sha256 is None:
        raise InputError(f"study {study}: its plan names no terms", hint="nothing is to be accepted")
    if sha256(terms) != plan.message.terms_sha256:
        raise RefusedError(
            f"study {study}: expected the terms with SHA-256 {plan.message.terms_sha256}, found {sha256(terms)}",
            hint="ask the coordinator for the document that the plan names",
        )
    _require_steward(home, key)
    acceptance = TermsAcceptance(
        study=study,
        site=home.site,
        plan_sha256=plan.payload_sha256,
        terms_sha256=plan.message.terms_sha256,
        by=_require_name(by),
        at=instant(at),
    )
    envelope = seal_acceptance(acceptance, key)
    home.ledger().append(
        LedgerRecord(
            event=LedgerEvent.TERMS_ACCEPTED,
            at=instant(at),
            study=study,
            subject_sha256=plan.message.terms_sha256,
            envelope_sha256=sha256(envelope),
        )
    )
    home.records.keep_acceptance(study, envelope)


def _require(held: Held, event: EventKind) -> None:
    if (held.state, event) not in NEXT_STATE:
        raise RefusedError(
            f"expected a report that waits, found one that is {held.state.value}",
            hint="look again: it was decided, or a newer report of the lot took its place",
        )


def _require_steward(home: Home, key: SigningKey) -> None:
    if key.verifying_key != home.steward():
        raise RefusedError("expected the key of this site's steward, found another")


def _require_name(by: str) -> str:
    if not by.strip():
        raise InputError("expected the name of the person who decides, found none", hint="give --by NAME")
    return by.strip()


def _write(home: Home, held: Held, event: LedgerEvent, at: datetime) -> None:
    record = LedgerRecord(
        event=event,
        at=instant(at),
        study=held.study,
        lot=held.lot,
        subject_sha256=held.payload_sha256,
        cells_sha256=None if held.provenance is None else held.provenance.cells_sha256,
        automatic=False if event is LedgerEvent.APPROVED else None,
    )
    home.ledger().append(record)
