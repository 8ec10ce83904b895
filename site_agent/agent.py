"""The site's agent: an envelope and the time in, an envelope out. It opens no file and no socket.

In this order, and nothing is computed before the query and the plan are believed (SPEC 3.4 to 3.6, 5):

1. The coordinator signed the query; it is for this site, of this time, and was not taken before.
2. The coordinator signed the plan that the query names; the site's own policy allows both, and the steward has
   accepted the study's terms where it has any.
3. The lots are mapped and summarised by the source of reports; what fails a disclosure rule is held back.
4. Clusters that the steward withholds are widened. The rest waits in the airlock until a person, or the policy on that
   person's behalf, has decided on every lot.
   Until then the answer is "waiting": a person's delay blocks nothing. Where a rule asks for review, only a person
   can decide (SPEC 5.8).
5. What was approved passes the gate, is sealed, and is named by a signed answer. Where its counts bear noise, the lot's
   budget has paid for it before.

Whatever fails is answered with a catalogued code; its text goes to the site's own log. What was asked, released and
answered stands in the ledger before it leaves (SPEC 6.1).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, seal
from protocol.errors import ErrorCode, ProtocolError
from protocol.exchange import TERMS_LIMIT, Ask, BareCode, Reply
from protocol.identifiers import Pseudonym, Sha256, SiteId, StudyId, instant
from protocol.ledger import LedgerEvent, LedgerRecord
from protocol.plan import StudyPlan
from protocol.policy import EffectiveRules, check_coordinator, effective, policy_or_refuse
from protocol.queries import (
    Answer,
    AnswerStatus,
    Query,
    answer_with_code,
    answer_with_reports,
    check_asks_for,
    check_query,
)
from protocol.report import LotReport
from protocol.roster import Believed, open_plan, open_query
from protocol.signing import SigningKey, VerifyingKey
from protocol.steward import open_acceptance
from shared.errors import CrosslotError, NoRoomError
from site_agent.release.airlock import Airlock
from site_agent.release.decisions import Held, Provenance, State
from site_agent.release.gate import release
from site_agent.release.ledger import Ledger
from site_agent.release.lots_together import JudgedLot, held_back_of, judge_together
from site_agent.release.marker_rules import without_repeated
from site_agent.release.noise_book import NoiseBook, NoiseStanding, pay_for_noise
from site_agent.release.offers import NotOffered, Offer
from site_agent.release.site_records import SiteRecords
from site_agent.release.summaries import pad
from site_agent.release.verdicts import warnings_sha256
from site_agent.release.withheld_clusters import withhold_clusters

# A source of reports that needs time, or that failed, has refused nothing: it is asked again.
_STATUS_OF = {
    ErrorCode.MAPPING_UNDER_WAY: AnswerStatus.WAITING,
    ErrorCode.ATLAS_MISMATCH: AnswerStatus.FAILED,
    ErrorCode.ATLAS_MISSING: AnswerStatus.FAILED,
    ErrorCode.DISK_FULL: AnswerStatus.FAILED,
    ErrorCode.LOTS_UNREADABLE: AnswerStatus.FAILED,
    ErrorCode.TIMED_OUT: AnswerStatus.FAILED,
    ErrorCode.INTERNAL: AnswerStatus.FAILED,
}


class _SourceFailed(Exception):  # noqa: N818 - not an error of its own: it carries a logged one to its answer
    """The source of reports failed or needs time, and the site's log has its words."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


def _fault_of(error: Exception) -> ErrorCode:
    """Return the code of a fault of this machine's."""
    return ErrorCode.DISK_FULL if isinstance(error, NoRoomError) else ErrorCode.INTERNAL


class ReportSource(Protocol):
    """Where an agent gets the reports of its lots; behind it are the cells."""

    def __call__(self, rules: EffectiveRules) -> Sequence[Offer | NotOffered]:
        """Return a report of every lot that the study asks for, and what it was made of; or why a lot has none.

        Raises
        ------
        CrosslotError
            The lots cannot be read or do not fit the study.
        """


@dataclass(frozen=True, kw_only=True)
class SiteIdentity:
    """Who this site is, and whom it believes; without a steward's key only the policy can approve."""

    site: SiteId
    key: SigningKey
    coordinator: VerifyingKey
    steward: VerifyingKey | None = None


class Agent:
    """Answers the coordinator's queries on behalf of one site.

    Parameters
    ----------
    identity
        The site, its key, and the coordinator's public key.
    policy
        The bytes of the site's policy; None where it has none, and then nothing leaves.
    reports
        The source of lot reports.
    airlock
        Where reports wait for a decision.
    ledger
        Where all that is asked and released is written down.
    records
        What must be found again after a restart.
    log
        Takes lines for the site's own log; they may say what no answer may.
    noise
        The book of noise and its budgets; without one nothing leaves under a policy that asks for noise.
    """

    def __init__(
        self,
        identity: SiteIdentity,
        *,
        policy: bytes | None,
        reports: ReportSource,
        airlock: Airlock,
        ledger: Ledger,
        records: SiteRecords,
        log: Callable[[str], None],
        noise: NoiseBook | None = None,
    ) -> None:
        self._identity = identity
        self._policy = policy
        self._reports = reports
        self._airlock = airlock
        self._ledger = ledger
        self._records = records
        self._log = log
        self._noise = noise

    def answer(self, ask: Ask, now: datetime) -> Reply | BareCode:
        """Return the answer to what the coordinator sent, at the given time."""
        try:
            query = self._believed_query(ask.query, now)
        except ProtocolError as error:
            self._log(f"query refused: {error}")
            return BareCode(code=error.code)
        except CrosslotError as error:  # what was taken cannot be kept, or is damaged: nothing may leave
            self._log(f"query refused: {error}")
            return BareCode(code=_fault_of(error))
        try:
            return self._answered(query, ask, now)
        except CrosslotError as error:  # the ledger: what cannot be written down is not said
            self._log(f"study {query.message.study}: {error}")
            return BareCode(code=_fault_of(error))

    def _answered(self, query: Believed[Query], ask: Ask, now: datetime) -> Reply:
        try:
            return self._reply(query, ask, now)
        except ProtocolError as error:
            self._log(f"study {query.message.study}: {error}")
            return self._said(query, AnswerStatus.REFUSED, error.code, now)
        except _SourceFailed as failure:
            return self._said(query, _STATUS_OF[failure.code], failure.code, now)
        except Exception as error:  # noqa: BLE001 - whatever it is: its code leaves, signed, and its text stays here
            self._log(f"study {query.message.study}: {type(error).__name__}: {error}")
            return self._said(query, AnswerStatus.FAILED, _fault_of(error), now)

    def _believed_query(self, envelope: bytes, now: datetime) -> Believed[Query]:
        query = open_query(envelope, self._identity.coordinator)
        check_query(query.message, site=self._identity.site, now=now)
        self._records.keep_taken(self._records.taken().take(query.message, now=now))
        self._write(LedgerEvent.ASKED, query.message.study, now, subject_sha256=query.payload_sha256)
        return query

    def _reply(self, query: Believed[Query], ask: Ask, now: datetime) -> Reply:
        plan = open_plan(ask.plan, self._identity.coordinator)
        check_asks_for(
            query.message,
            study=plan.message.study,
            plan_sha256=plan.payload_sha256,
            atlas_sha256=plan.message.atlas.sha256,
        )
        rules = self._rules(plan.message)
        if self._ledger.last_subject(LedgerEvent.POLICY_CHANGED) != rules.policy_sha256:
            self._write(LedgerEvent.POLICY_CHANGED, plan.message.study, now, subject_sha256=rules.policy_sha256)
        self._records.keep_plan(plan)
        if ask.terms is not None and len(ask.terms) <= TERMS_LIMIT and sha256(ask.terms) == plan.message.terms_sha256:
            self._records.keep_terms(plan.message.study, ask.terms)
        if not self._accepted(rules):
            return self._said(query, AnswerStatus.WAITING, ErrorCode.TERMS_NOT_ACCEPTED, now)
        lots = self._offered(rules)
        offered = [lot for lot in lots if isinstance(lot, Offer)]
        provenance = {offer.report.lot: offer.provenance for offer in offered}
        judged = self._judged(offered, provenance, rules)
        poor = [lot for lot in lots if isinstance(lot, NotOffered)]
        self._records.keep_held_back(held_back_of(judged, poor, study=rules.plan.study, at=instant(now)))
        for lot in judged:
            if lot.failures:
                self._log(f"lot {lot.report.lot} is held back: {'; '.join(lot.failures)}")
        if not offered:
            return self._said(query, AnswerStatus.FAILED, ErrorCode.NO_LOTS, now)
        passing = [lot for lot in judged if not lot.failures]
        if not passing:
            spent = all(lot.lacks_budget_alone for lot in judged)
            code = ErrorCode.NOISE_BUDGET_SPENT if spent else ErrorCode.DISCLOSURE_REFUSED
            return self._said(query, AnswerStatus.REFUSED, code, now)
        held = [self._decided(lot, provenance[lot.report.lot], rules, now) for lot in passing]
        if any(each.state is State.PENDING for each in held):
            return self._said(query, AnswerStatus.WAITING, ErrorCode.AWAITING_STEWARD, now)
        approved = [each for each in held if each.approval is not None]
        if not approved:
            return self._said(query, AnswerStatus.REFUSED, ErrorCode.STEWARD_REFUSED, now)
        return self._released(query, approved, rules, now)

    def _rules(self, plan: StudyPlan) -> EffectiveRules:
        policy = policy_or_refuse(self._policy)
        check_coordinator(policy, self._identity.coordinator.fingerprint)
        if policy.site != self._identity.site:
            raise ProtocolError(ErrorCode.POLICY_DAMAGED, f"The policy is that of {policy.site}.")
        return effective(policy, plan)

    def _accepted(self, rules: EffectiveRules) -> bool:
        """Return whether the study has no terms, or the steward accepted them for this plan (SPEC 5.11)."""
        terms = rules.plan.terms_sha256
        if terms is None:
            return True
        envelope, steward = self._records.acceptance(rules.plan.study), self._identity.steward
        if envelope is None or steward is None:
            return False
        accepted = open_acceptance(envelope, steward)
        named = (accepted.study, accepted.site, accepted.plan_sha256, accepted.terms_sha256)
        return named == (rules.plan.study, rules.site, rules.plan_sha256, terms)

    def _offered(self, rules: EffectiveRules) -> Sequence[Offer | NotOffered]:
        try:
            return self._reports(rules)
        except CrosslotError as error:
            code = error.code if isinstance(error, ProtocolError) else ErrorCode.LOTS_UNREADABLE
            if isinstance(error, NoRoomError):
                code = ErrorCode.DISK_FULL
            if code not in _STATUS_OF:
                raise
            self._log(f"study {rules.plan.study}: {error}" + (f" ({error.hint})" if error.hint else ""))
            raise _SourceFailed(code) from error

    def _judged(
        self, offered: Sequence[Offer], provenance: Mapping[Pseudonym, Provenance | None], rules: EffectiveRules
    ) -> tuple[JudgedLot, ...]:
        return judge_together(
            [self._versioned(self._narrowed(offer.report, provenance[offer.report.lot], rules)) for offer in offered],
            rules,
            earlier=lambda report: self._airlock.earlier(report, provenance[report.lot]),
            noise=lambda report: self._noise_standing(provenance[report.lot]),
        )

    def _noise_standing(self, made_of: Provenance | None) -> NoiseStanding | None:
        if self._noise is None or made_of is None or made_of.draw_sha256 is None:
            return None
        self._noise.check_holds(held.provenance for held in self._airlock.held().values() if held.state is State.SENT)
        return self._noise.standing(made_of)

    def _narrowed(self, report: LotReport, made_of: Provenance | None, rules: EffectiveRules) -> LotReport:
        """Return the report less what the steward withholds, and less moments that left before from other cells."""
        report = withhold_clusters(report, self._airlock.withheld_clusters(report.study, report.lot), rules)
        return pad(without_repeated(report, self._airlock.earlier(report, made_of)))

    def _versioned(self, report: LotReport) -> LotReport:
        """Return the report under the version that it leaves by: a lot that changed since it was sent takes the next.

        The coordinator never replaces a report by other bytes of the same version. A lot that was refused and is
        offered again passes over a version, since what was decided about its bytes is not decided again.
        """
        steward = self._identity.steward
        again = self._airlock.times_offered_again(report.study, report.lot, self._identity.site, steward)
        sent = [
            each.report
            for each in self._airlock.held().values()
            if each.state is State.SENT and (each.study, each.lot) == (report.study, report.lot)
        ]
        if not sent:
            return pad(report.model_copy(update={"version": report.version + again})) if again else report
        latest = max(sent, key=lambda old: old.version)
        if pad(latest.model_copy(update={"version": report.version})) == report:
            return latest
        return pad(report.model_copy(update={"version": latest.version + 1 + again}))

    def _decided(self, lot: JudgedLot, provenance: Provenance | None, rules: EffectiveRules, now: datetime) -> Held:
        known = self._airlock.held().get(sha256(encode(lot.report)))
        held = self._airlock.submit(lot.report, at=now, provenance=provenance)
        if known is None or known.state is State.VOIDED:
            self._write_about(held, LedgerEvent.SUBMITTED, now)
        if held.state is State.PENDING and rules.auto_approved and not lot.needs_review:
            self._write_about(held, LedgerEvent.APPROVED, now, automatic=True)
            self._airlock.approve_by_policy(held.payload_sha256, rules, at=now)
        held = self._airlock.find(held.payload_sha256)
        warned = warnings_sha256(lot.verdicts)
        if held.state is not State.APPROVED or held.approval is None or warned is None:
            return held
        if held.approval.automatic or held.approval.warnings_sha256 != warned:
            # What left meanwhile makes a rule warn of what the steward had not seen: the steward looks again.
            return self._airlock.reopen(held.payload_sha256, at=now)
        return held

    def _released(
        self, query: Believed[Query], approved: Sequence[Held], rules: EffectiveRules, now: datetime
    ) -> Reply:
        if rules.noise is not None and self._noise is not None:
            told = partial(self._write_about, event=LedgerEvent.NOISE_COMMITTED, now=now)
            pay_for_noise(self._noise, approved, rules.noise, before=told)
        envelopes = tuple(
            release(
                each.report,
                rules,
                each.approval,
                self._identity.key,
                lots_offered=len(approved),
                earlier=self._airlock.earlier(each.report, each.provenance),
                noise=self._noise_standing(each.provenance),
                steward=self._identity.steward,
            )
            for each in approved
        )
        for each, envelope in zip(approved, envelopes, strict=True):
            self._write_about(each, LedgerEvent.RELEASED, now, envelope_sha256=sha256(envelope))
            if each.state is State.APPROVED:
                self._airlock.mark_sent(each.payload_sha256, at=now)
        answer = answer_with_reports(query.message, query.payload, envelopes, ledger=self._ledger.head())
        return self._sealed(answer, envelopes, now)

    def _said(self, query: Believed[Query], status: AnswerStatus, code: ErrorCode, now: datetime) -> Reply:
        answer = answer_with_code(query.message, query.payload, status, code, ledger=self._ledger.head())
        return self._sealed(answer, (), now)

    def _sealed(self, answer: Answer, envelopes: tuple[bytes, ...], now: datetime) -> Reply:
        payload = encode(answer)
        envelope = seal(payload, PayloadType.ANSWER, self._identity.key)
        self._write(
            LedgerEvent.ANSWERED,
            answer.study,
            now,
            subject_sha256=sha256(payload),
            envelope_sha256=sha256(envelope),
            code=answer.code,
        )
        return Reply(answer=envelope, reports=envelopes)

    def _write_about(
        self,
        held: Held,
        event: LedgerEvent,
        now: datetime,
        *,
        envelope_sha256: Sha256 | None = None,
        automatic: bool | None = None,
    ) -> None:
        record = LedgerRecord(
            event=event,
            at=instant(now),
            study=held.study,
            lot=held.lot,
            subject_sha256=held.payload_sha256,
            envelope_sha256=envelope_sha256,
            cells_sha256=None if held.provenance is None else held.provenance.cells_sha256,
            automatic=automatic,
        )
        self._ledger.append(record)

    def _write(
        self,
        event: LedgerEvent,
        study: StudyId,
        now: datetime,
        *,
        subject_sha256: Sha256,
        envelope_sha256: Sha256 | None = None,
        code: ErrorCode | None = None,
    ) -> None:
        record = LedgerRecord(
            event=event,
            at=instant(now),
            study=study,
            subject_sha256=subject_sha256,
            envelope_sha256=envelope_sha256,
            code=code,
        )
        self._ledger.append(record)
