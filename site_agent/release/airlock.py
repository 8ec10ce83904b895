"""The airlock: a report waits here until a person has decided, and only then may it be sent.

A changed report of the same lot voids what waited for it, approved or not (``decisions`` has the states). The airlock
is a log of events, and its state is what the events say: ``append_log`` keeps them in a folder or in memory. Time is an
argument. A damaged log stops everything: nothing may leave that cannot be shown to be approved.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from protocol.codec import decode, encode, sha256
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Pseudonym, Sha256, SiteId, StudyId, instant
from protocol.policy import EffectiveRules
from protocol.report import LotReport
from protocol.signing import SigningKey, VerifyingKey
from protocol.steward import Meaning
from shared.errors import InputError, RefusedError
from site_agent.release.airlock_events import event_about, signed
from site_agent.release.append_log import AppendLog
from site_agent.release.decisions import (
    EVENT_LIMIT,
    NEXT_STATE,
    AirlockEvent,
    Approval,
    EventKind,
    Held,
    Provenance,
    State,
    after,
    apply,
    found,
)
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.standing_decisions import StandingDecisions

AUTOMATIC: Final = "policy"
"""Who approved where the policy's ``auto_approve`` did."""


class Airlock:
    """Reports that wait, and the decisions about them.

    Parameters
    ----------
    log
        Where the events are kept: in a folder of the site or, for simulations, in memory.
    """

    def __init__(self, log: AppendLog) -> None:
        self._log = log
        self._held: dict[Sha256, Held] = {}
        self._standing = StandingDecisions()
        self._known = 0

    def held(self) -> Mapping[Sha256, Held]:
        """Return every report that was ever submitted, by the hash of its payload, oldest first.

        Raises
        ------
        InputError
            If the log was damaged: then nothing may leave.
        """
        return MappingProxyType(self._read()[0])

    def find(self, payload_sha256: Sha256) -> Held:
        """Return one report.

        Raises
        ------
        InputError
            If the airlock has no such report.
        """
        return found(self.held(), payload_sha256)

    def submit(self, report: LotReport, *, at: datetime, provenance: Provenance | None = None) -> Held:
        """Return the report's place in the airlock; what else waits of the same lot is voided.

        To submit the same bytes again changes nothing, whatever was decided about them. Voided bytes were not decided
        about: they wait again.

        Parameters
        ----------
        report
            What would leave.
        at
            The time.
        provenance
            What it was made of (``summaries.provenance_of``): by it later releases know the lot and its cells again.
        """
        held, position = self._read()
        payload = encode(report)
        digest = sha256(payload)
        if digest in held and held[digest].state is not State.VOIDED:
            return held[digest]
        for other in list(held.values()):
            superseded = (other.study, other.lot) == (report.study, report.lot)
            if superseded and (other.state, EventKind.VOIDED) in NEXT_STATE:
                self._append(event_about(other, EventKind.VOIDED, at), position)
                position += 1
        event = AirlockEvent(
            kind=EventKind.SUBMITTED,
            at=instant(at),
            payload_sha256=digest,
            study=report.study,
            lot=report.lot,
            payload=payload.decode("utf-8"),
            lot_sha256=provenance.lot_sha256 if provenance else None,
            cells_sha256=provenance.cells_sha256 if provenance else None,
            draw_sha256=provenance.draw_sha256 if provenance else None,
        )
        self._append(event, position)
        return self.find(digest)

    def earlier(self, report: LotReport, provenance: Provenance | None) -> tuple[EarlierRelease, ...]:
        """Return everything that was sent of a report's lot before: what the disclosure rules are closed over.

        What was sent already tells nothing new by being sent again: nothing is earlier than it. Where a provenance is
        unknown, a lot is known
        again within its study only, and its cells are taken for others.

        Parameters
        ----------
        report
            What would leave.
        provenance
            What it was made of.
        """
        known = self.held().get(sha256(encode(report)))
        if known is not None and known.state is State.SENT:
            return ()
        return tuple(
            EarlierRelease(
                report=held.report,
                same_cells=_same_cells(held.provenance, provenance),
                same_draw=_draw(held.provenance) == _draw(provenance),
            )
            for held in self.held().values()
            if held.state is State.SENT
            and ((held.study, held.lot) == (report.study, report.lot) or _same_lot(held.provenance, provenance))
        )

    def withheld_clusters(self, study: StudyId, lot: Pseudonym) -> frozenset[int]:
        """Return the positions of the clusters that the steward withholds of a lot, in every report of it."""
        self._read()
        return self._standing.withheld(study, lot)

    def times_offered_again(self, study: StudyId, lot: Pseudonym, site: SiteId, steward: VerifyingKey | None) -> int:
        """Return how often a steward let a refused lot be offered again: so many versions are passed over."""
        self._read()
        return self._standing.times_offered_again(study, lot, site, steward)

    def persons_decisions(self) -> tuple[AirlockEvent, ...]:
        """Return every decision of a person, oldest first; ``verify_decisions`` looks at their signatures."""
        self._read()
        return tuple(self._standing.events)

    def offer_again(self, payload_sha256: Sha256, *, by: str, at: datetime, key: SigningKey, reason: str) -> None:
        """Let a lot whose report was refused be offered again, as another version; the refusal stands as it was.

        Raises
        ------
        InputError
            If the airlock has no such report.
        RefusedError
            If it was not refused.
        """
        held, position = self._read()
        old = found(held, payload_sha256)
        if old.state is not State.REFUSED:
            raise RefusedError(f"expected a report that was refused, found one that is {old.state.value}")
        event = event_about(old, EventKind.OFFERED_AGAIN, at, by=by.strip(), reason=reason)
        self._append(signed(event, old.report.site, key), position)

    def withhold(
        self,
        payload_sha256: Sha256,
        report: LotReport,
        clusters: frozenset[int],
        *,
        by: str,
        at: datetime,
        key: SigningKey,
        reason: str | None = None,
    ) -> Held:
        """Return the place of a report that shows less of a lot, in place of one that waits; the old one is voided.

        Parameters
        ----------
        payload_sha256
            The report that waits.
        report
            What would leave instead.
        clusters
            All positions that are withheld of the lot from now on.
        by, at, key, reason
            Who decides, when, the steward's key, and why.

        Raises
        ------
        InputError
            If the airlock has no such report, or no name is given.
        RefusedError
            If it is neither pending nor approved.
        """
        held, position = self._read()
        old = found(held, payload_sha256)
        if (old.state, EventKind.VOIDED) not in NEXT_STATE:
            raise RefusedError(
                f"expected a report that still waits, found one that is {old.state.value}",
                hint="what has left cannot be withheld",
            )
        event = event_about(old, EventKind.WITHHELD, at, by=by.strip(), reason=reason or None)
        event = event.model_copy(update={"clusters": tuple(sorted(clusters))})
        self._append(signed(event, old.report.site, key), position)
        return self.submit(report, at=at, provenance=old.provenance)

    def approve(
        self,
        payload_sha256: Sha256,
        *,
        by: str,
        at: datetime,
        key: SigningKey,
        reason: str | None = None,
        warnings_sha256: Sha256 | None = None,
    ) -> Approval:
        """Return a person's approval of one waiting report, signed by the steward's key and recorded.

        ``warnings_sha256`` is of what the rules warn of (``verdicts.warnings_sha256``): the approval holds against no
        other warning.

        Raises
        ------
        InputError
            If the airlock has no such report, or ``by`` does not name a person.
        RefusedError
            If it is not pending.
        """
        name = by.strip()
        if not name or name == AUTOMATIC:
            raise InputError("an approval: expected the name of the person who approves", hint="give --by NAME")
        return self._approve(
            payload_sha256,
            by=name,
            at=at,
            meaning=Meaning.APPROVED_FOR_RELEASE,
            reason=reason or None,
            key=key,
            warnings_sha256=warnings_sha256,
        )

    def approve_by_policy(self, payload_sha256: Sha256, rules: EffectiveRules, *, at: datetime) -> Approval:
        """Return the policy's approval of one waiting report, recorded as such.

        Raises
        ------
        ProtocolError
            If the policy does not approve this study's releases unseen.
        InputError
            If the airlock has no such report.
        RefusedError
            If it is not pending.
        """
        if not rules.auto_approved or self.find(payload_sha256).study != rules.plan.study:
            raise ProtocolError(ErrorCode.NOT_APPROVED, "The policy's auto_approve does not name this study.")
        return self._approve(
            payload_sha256,
            by=AUTOMATIC,
            at=at,
            meaning=Meaning.RELEASED_BY_POLICY,
            reason=f"auto_approve of policy version {rules.policy_version}",
        )

    def refuse(self, payload_sha256: Sha256, *, by: str, at: datetime, key: SigningKey, reason: str) -> None:
        """Record that a person refuses one waiting report, and why, signed by the steward's key.

        Raises
        ------
        InputError
            If the airlock has no such report, or no reason is given.
        RefusedError
            If it is not pending.
        """
        if not reason.strip() or not by.strip():
            raise InputError("a refusal: expected who refuses and why", hint="give --by NAME and --reason TEXT")
        self._decide(
            payload_sha256,
            EventKind.REFUSED,
            at,
            by=by.strip(),
            meaning=Meaning.REFUSED_FOR_RELEASE,
            reason=reason.strip(),
            key=key,
        )

    def reopen(self, payload_sha256: Sha256, *, at: datetime) -> Held:
        """Return an approved report that waits again: a rule warns of what was not seen when it was approved.

        Raises
        ------
        InputError
            If the airlock has no such report.
        RefusedError
            If it is not approved.
        """
        return self._decide(payload_sha256, EventKind.REOPENED, at)

    def mark_sent(self, payload_sha256: Sha256, *, at: datetime) -> None:
        """Record that an approved report was handed to the network.

        Raises
        ------
        InputError
            If the airlock has no such report.
        RefusedError
            If it is not approved.
        """
        self._decide(payload_sha256, EventKind.SENT, at)

    def _approve(
        self,
        payload_sha256: Sha256,
        *,
        by: str,
        at: datetime,
        meaning: Meaning,
        reason: str | None,
        key: SigningKey | None = None,
        warnings_sha256: Sha256 | None = None,
    ) -> Approval:
        decided = self._decide(
            payload_sha256,
            EventKind.APPROVED,
            at,
            by=by,
            meaning=meaning,
            reason=reason,
            key=key,
            warnings_sha256=warnings_sha256,
        )
        approval = decided.approval
        assert approval is not None  # noqa: S101 - an approved report has its approval
        return approval

    def _decide(
        self,
        payload_sha256: Sha256,
        kind: EventKind,
        at: datetime,
        *,
        by: str | None = None,
        meaning: Meaning | None = None,
        reason: str | None = None,
        key: SigningKey | None = None,
        warnings_sha256: Sha256 | None = None,
    ) -> Held:
        held, position = self._read()
        event = event_about(found(held, payload_sha256), kind, at, by=by, meaning=meaning, reason=reason)
        event = event.model_copy(update={"warnings_sha256": warnings_sha256})
        decided = after(held[payload_sha256], event)
        if key is not None:
            event = signed(event, decided.report.site, key)
            decided = after(held[payload_sha256], event)
        self._append(event, position)
        return decided

    def _append(self, event: AirlockEvent, position: int) -> None:
        self._log.append(encode(event), position=position)

    def _read(self) -> tuple[dict[Sha256, Held], int]:
        # Only what is new is read: events are never changed.
        for record in self._log.read(self._known):
            try:
                event = decode(AirlockEvent, record, limit=EVENT_LIMIT)
                if event.kind not in {EventKind.WITHHELD, EventKind.OFFERED_AGAIN}:  # of a lot, not of a report
                    apply(self._held, event)
                self._standing.enter(event)
            except (ProtocolError, RefusedError, InputError) as error:
                raise InputError(
                    f"airlock: record {self._known} is damaged: {error}",
                    hint="restore the airlock from a backup; nothing is released meanwhile",
                ) from None
            self._known += 1
        return self._held, self._known


def _same_lot(one: Provenance | None, other: Provenance | None) -> bool:
    return one is not None and other is not None and one.lot_sha256 == other.lot_sha256


def _same_cells(one: Provenance | None, other: Provenance | None) -> bool:
    return _same_lot(one, other) and one is not None and other is not None and one.cells_sha256 == other.cells_sha256


def _draw(provenance: Provenance | None) -> Sha256 | None:
    return None if provenance is None else provenance.draw_sha256
