"""The site's agent: an envelope and the time in, an envelope out. It opens no file and no socket.

In this order, and nothing is computed before the query and the plan are believed (SPEC 3.4 to 3.6, 5):

1. The coordinator signed the query; it is for this site, of this time, and was not taken before.
2. The coordinator signed the plan that the query names; the site's own policy allows both.
3. The lots are mapped and summarised by the source of reports; what fails a disclosure rule is held back.
4. The rest waits in the airlock until a person, or the policy on that person's behalf, has decided on every lot.
   Until then the answer is "waiting": a person's delay blocks nothing. Where a rule asks for review, only a person
   can decide (SPEC 5.8).
5. What was approved passes the gate, is sealed, and is named by a signed answer.

Whatever fails is answered with a catalogued code; its text goes to the site's own log.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.errors import ErrorCode, ProtocolError
from protocol.exchange import Ask, BareCode, Reply
from protocol.identifiers import SiteId
from protocol.plan import StudyPlan
from protocol.policy import EffectiveRules, check_coordinator, effective, policy_or_refuse
from protocol.queries import (
    Answer,
    AnswerStatus,
    Query,
    ReplayWindow,
    answer_with_code,
    answer_with_reports,
    check_asks_for,
    check_query,
)
from protocol.report import LotReport
from protocol.roster import Believed, open_plan, open_query
from protocol.signing import SigningKey, VerifyingKey
from shared.errors import CrosslotError
from site_agent.release.airlock import Airlock
from site_agent.release.decisions import Held, State
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.gate import release
from site_agent.release.lots_together import JudgedLot, judge_together
from site_agent.release.summaries import pad


class _LotsUnreadable(Exception):  # noqa: N818 - not an error of its own: it carries a logged one to its answer
    """The source of reports failed, and the site's log has its words."""


class ReportSource(Protocol):
    """Where an agent gets the reports of its lots; behind it are the cells."""

    def __call__(self, rules: EffectiveRules) -> Sequence[LotReport]:
        """Return a report of every lot that the study asks for.

        Raises
        ------
        CrosslotError
            The lots cannot be read or do not fit the study.
        """


@dataclass(frozen=True, kw_only=True)
class SiteIdentity:
    """Who this site is, and whom it believes."""

    site: SiteId
    key: SigningKey
    coordinator: VerifyingKey


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
    log
        Takes lines for the site's own log; they may say what no answer may.
    """

    def __init__(
        self,
        identity: SiteIdentity,
        *,
        policy: bytes | None,
        reports: ReportSource,
        airlock: Airlock,
        log: Callable[[str], None],
    ) -> None:
        self._identity = identity
        self._policy = policy
        self._reports = reports
        self._airlock = airlock
        self._log = log
        self._window = ReplayWindow()

    def answer(self, ask: Ask, now: datetime) -> Reply | BareCode:
        """Return the answer to what the coordinator sent, at the given time."""
        try:
            query = self._believed_query(ask.query, now)
        except ProtocolError as error:
            self._log(f"query refused: {error}")
            return BareCode(code=error.code)
        try:
            return self._reply(query, ask.plan, now)
        except ProtocolError as error:
            self._log(f"study {query.message.study}: {error}")
            return self._said(query, AnswerStatus.REFUSED, error.code)
        except _LotsUnreadable:
            return self._said(query, AnswerStatus.FAILED, ErrorCode.LOTS_UNREADABLE)
        except Exception as error:  # noqa: BLE001 - whatever it is: its code leaves, signed, and its text stays here
            self._log(f"study {query.message.study}: {type(error).__name__}: {error}")
            return self._said(query, AnswerStatus.FAILED, ErrorCode.INTERNAL)

    def _believed_query(self, envelope: bytes, now: datetime) -> Believed[Query]:
        query = open_query(envelope, self._identity.coordinator)
        check_query(query.message, site=self._identity.site, now=now)
        self._window = self._window.take(query.message, now=now)
        return query

    def _reply(self, query: Believed[Query], plan_envelope: bytes, now: datetime) -> Reply:
        plan = open_plan(plan_envelope, self._identity.coordinator)
        check_asks_for(
            query.message,
            study=plan.message.study,
            plan_sha256=plan.payload_sha256,
            atlas_sha256=plan.message.atlas.sha256,
        )
        rules = self._rules(plan.message)
        offered = self._offered(rules)
        if not offered:
            return self._said(query, AnswerStatus.FAILED, ErrorCode.NO_LOTS)
        passing = self._passing(offered, rules)
        if not passing:
            return self._said(query, AnswerStatus.REFUSED, ErrorCode.DISCLOSURE_REFUSED)
        held = [self._decided(lot, rules, now) for lot in passing]
        if any(each.state is State.PENDING for each in held):
            return self._said(query, AnswerStatus.WAITING, ErrorCode.AWAITING_STEWARD)
        approved = [each for each in held if each.approval is not None]
        if not approved:
            return self._said(query, AnswerStatus.REFUSED, ErrorCode.STEWARD_REFUSED)
        return self._released(query, approved, rules, now)

    def _rules(self, plan: StudyPlan) -> EffectiveRules:
        policy = policy_or_refuse(self._policy)
        check_coordinator(policy, self._identity.coordinator.fingerprint)
        if policy.site != self._identity.site:
            raise ProtocolError(ErrorCode.POLICY_DAMAGED, f"The policy is that of {policy.site}.")
        return effective(policy, plan)

    def _offered(self, rules: EffectiveRules) -> Sequence[LotReport]:
        try:
            return self._reports(rules)
        except ProtocolError:
            raise
        except CrosslotError as error:
            self._log(f"study {rules.plan.study}: {error}" + (f" ({error.hint})" if error.hint else ""))
            raise _LotsUnreadable from error

    def _passing(self, offered: Sequence[LotReport], rules: EffectiveRules) -> list[JudgedLot]:
        """Return the reports that no rule fails; why the others are held back stays in the site's log."""
        judged = judge_together([self._versioned(report) for report in offered], rules, earlier=self._earlier)
        for lot in judged:
            if lot.failures:
                self._log(f"lot {lot.report.lot} is held back: {'; '.join(lot.failures)}")
        return [lot for lot in judged if not lot.failures]

    def _versioned(self, report: LotReport) -> LotReport:
        """Return the report under the version that it leaves by: a lot that changed since it was sent takes the next.

        The coordinator never replaces a report by other bytes of the same version.
        """
        sent = [
            each.report
            for each in self._airlock.held().values()
            if each.state is State.SENT and (each.study, each.lot) == (report.study, report.lot)
        ]
        if not sent:
            return report
        latest = max(sent, key=lambda old: old.version)
        if pad(latest.model_copy(update={"version": report.version})) == report:
            return latest
        return pad(report.model_copy(update={"version": latest.version + 1}))

    def _earlier(self, report: LotReport) -> tuple[EarlierRelease, ...]:
        # Whether the cells were the same is not recorded yet; taken as other cells, differences are judged.
        sent = [each for each in self._airlock.held().values() if each.state is State.SENT and each.lot == report.lot]
        return tuple(
            EarlierRelease(report=each.report, same_cells=False) for each in sent if each.payload != encode(report)
        )

    def _decided(self, lot: JudgedLot, rules: EffectiveRules, now: datetime) -> Held:
        held = self._airlock.submit(lot.report, at=now)
        if held.state is State.PENDING and rules.auto_approved and not lot.needs_review:
            self._airlock.approve_by_policy(held.payload_sha256, rules, at=now)
        return self._airlock.find(held.payload_sha256)

    def _released(
        self, query: Believed[Query], approved: Sequence[Held], rules: EffectiveRules, now: datetime
    ) -> Reply:
        envelopes = tuple(
            release(
                each.report,
                rules,
                each.approval,
                self._identity.key,
                lots_offered=len(approved),
                earlier=self._earlier(each.report),
            )
            for each in approved
        )
        for each in approved:
            if each.state is State.APPROVED:
                self._airlock.mark_sent(each.payload_sha256, at=now)
        return self._sealed(answer_with_reports(query.message, query.payload, envelopes), envelopes)

    def _said(self, query: Believed[Query], status: AnswerStatus, code: ErrorCode) -> Reply:
        return self._sealed(answer_with_code(query.message, query.payload, status, code), ())

    def _sealed(self, answer: Answer, envelopes: tuple[bytes, ...]) -> Reply:
        return Reply(answer=seal(encode(answer), PayloadType.ANSWER, self._identity.key), reports=envelopes)
