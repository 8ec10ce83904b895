"""The agent: bytes and the time in, bytes out, by its rules in their order."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode, ProtocolError
from protocol.exchange import Ask, BareCode, Reply
from protocol.identifiers import Sha256, StudyId
from protocol.plan import Profile
from protocol.policy import write_policy
from protocol.queries import Answer, AnswerStatus, check_answer
from protocol.report import LotReport
from protocol.roster import open_answer, open_report
from shared.errors import InputError, NoRoomError
from site_agent.agent import ReportSource
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import MemoryLog
from site_agent.release.decisions import Held, State
from site_agent.release.offers import Offer
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    LEIDEN,
    NOW,
    STRANGER,
    THREE_LOTS,
    Lots,
    Site,
    make_ask,
    make_plan,
    make_policy,
    make_query,
    make_roster,
    signed,
)

PLAN = make_plan()
OTHER_STUDY = make_plan(study=StudyId("another-study"))
OTHER_PLAN = make_plan(seed=12)
EARLY, LATE = NOW - timedelta(hours=3), NOW + timedelta(minutes=6)


def said(reply: Reply | BareCode) -> Answer:
    assert isinstance(reply, Reply)
    return open_answer(reply.answer, make_roster(PLAN), KYOTO).message


def reports_in(reply: Reply | BareCode) -> list[LotReport]:
    assert isinstance(reply, Reply)
    return [open_report(envelope, make_roster(PLAN), KYOTO).message for envelope in reply.reports]


def everything_that_left(reply: Reply | BareCode) -> bytes:
    """Return all bytes of a reply, the signed payloads decoded besides."""
    if isinstance(reply, BareCode):
        return reply.code.encode()
    envelopes = (reply.answer, *reply.reports)
    return b"".join(each + base64.b64decode(json.loads(each)["payload"]) for each in envelopes)


@dataclass(frozen=True)
class Attempt:
    """What reaches an agent, and its policy: sound unless a fault is put in."""

    query: dict[str, Any] = field(default_factory=dict)
    issued_early: bool = False
    query_signed_by_stranger: bool = False
    plan_signed_by_stranger: bool = False
    policy: bytes | None = field(default_factory=lambda: write_policy(make_policy()))

    def ask(self) -> Ask:
        query = make_query(PLAN, issued=EARLY if self.issued_early else NOW, **self.query)
        return Ask(
            query=signed(query, PayloadType.QUERY, STRANGER if self.query_signed_by_stranger else COORDINATOR),
            plan=signed(PLAN, PayloadType.STUDY_PLAN, STRANGER if self.plan_signed_by_stranger else COORDINATOR),
        )


def _query(**fields: object) -> Callable[[Attempt], Attempt]:
    return lambda attempt: replace(attempt, query={**attempt.query, **fields})


def _policy(**fields: object) -> Callable[[Attempt], Attempt]:
    def change(attempt: Attempt) -> Attempt:
        if attempt.policy is None:
            return attempt
        return replace(attempt, policy=write_policy(make_policy(auto=False).model_copy(update=fields)))

    return change


# In the order in which the agent looks for them.
FAULTS: tuple[tuple[ErrorCode, Callable[[Attempt], Attempt]], ...] = (
    (ErrorCode.UNKNOWN_SIGNER, lambda attempt: replace(attempt, query_signed_by_stranger=True)),
    (ErrorCode.WRONG_SITE, _query(site=LEIDEN)),
    (ErrorCode.EXPIRED, lambda attempt: replace(attempt, issued_early=True)),
    (ErrorCode.UNKNOWN_SIGNER, lambda attempt: replace(attempt, plan_signed_by_stranger=True)),
    (ErrorCode.WRONG_STUDY, _query(study="another-study")),
    (ErrorCode.PLAN_MISMATCH, _query(plan_sha256=Sha256("b" * 64))),
    (ErrorCode.ATLAS_MISMATCH, _query(atlas_sha256=Sha256("c" * 64))),
    (ErrorCode.POLICY_MISSING, lambda attempt: replace(attempt, policy=None)),
    (ErrorCode.COORDINATOR_NOT_ALLOWED, _policy(allowed_coordinators=(), allowed_studies=())),
    (ErrorCode.STUDY_NOT_ALLOWED, _policy(allowed_studies=())),
)
BEFORE_THE_QUERY_IS_BELIEVED = 3


@given(st.sets(st.integers(0, len(FAULTS) - 1), min_size=1))
def test_the_first_fault_in_the_fixed_order_is_answered_and_no_lot_is_looked_at(chosen: set[int]) -> None:
    attempt = Attempt()
    for position in sorted(chosen, reverse=True):
        attempt = FAULTS[position][1](attempt)
    source = Lots(THREE_LOTS)
    reply = Site(source, attempt.policy).agent.answer(attempt.ask(), NOW)
    first = min(chosen)
    if first < BEFORE_THE_QUERY_IS_BELIEVED:
        assert reply == BareCode(code=FAULTS[first][0])
    else:
        assert (said(reply).status, said(reply).code) == (AnswerStatus.REFUSED, FAULTS[first][0])
        assert reports_in(reply) == []
    assert source.calls == 0


def test_a_sound_ask_meets_none_of_these_faults() -> None:
    assert said(Site().agent.answer(Attempt().ask(), NOW)).status is AnswerStatus.REPORTS


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (b"", ErrorCode.NOT_JSON),
        (b"\xff\xfe", ErrorCode.NOT_UTF8),
        (b"x" * 100_000, ErrorCode.OVERSIZE),
        (signed(make_plan(), PayloadType.STUDY_PLAN)[:200], ErrorCode.NOT_JSON),
        (signed(make_query(PLAN), PayloadType.ANSWER), ErrorCode.WRONG_PAYLOAD_TYPE),
        (signed(make_query(PLAN, issued=LATE), PayloadType.QUERY), ErrorCode.NOT_YET_VALID),
        (
            signed(make_query(PLAN, expires="2026-11-22T08:30:00Z"), PayloadType.QUERY),
            ErrorCode.VALID_TOO_LONG,
        ),
    ],
)
def test_a_query_that_is_not_believed_gets_a_bare_code(envelope: bytes, code: ErrorCode) -> None:
    source = Lots(THREE_LOTS)
    ask = Ask(query=envelope, plan=signed(PLAN, PayloadType.STUDY_PLAN))
    assert Site(source).agent.answer(ask, NOW) == BareCode(code=code)
    assert source.calls == 0


def test_a_query_whose_signature_is_changed_in_one_character_is_refused() -> None:
    document = json.loads(make_ask(PLAN).query)
    signature = document["signatures"][0]["sig"]
    document["signatures"][0]["sig"] = ("B" if signature[0] == "A" else "A") + signature[1:]
    changed = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    ask = Ask(query=changed, plan=signed(PLAN, PayloadType.STUDY_PLAN))
    assert Site().agent.answer(ask, NOW) == BareCode(code=ErrorCode.BAD_SIGNATURE)


def test_a_replayed_query_is_refused_and_computes_nothing_again() -> None:
    source = Lots(THREE_LOTS)
    site, ask = Site(source), make_ask(PLAN)
    assert said(site.agent.answer(ask, NOW)).status is AnswerStatus.REPORTS
    assert site.agent.answer(ask, NOW) == BareCode(code=ErrorCode.REPLAYED)
    assert source.calls == 1


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (b"{}", ErrorCode.MISSING_FIELD),
        (signed(OTHER_STUDY, PayloadType.STUDY_PLAN), ErrorCode.WRONG_STUDY),
        (signed(OTHER_PLAN, PayloadType.STUDY_PLAN), ErrorCode.PLAN_MISMATCH),
        (signed(PLAN, PayloadType.ROSTER), ErrorCode.WRONG_PAYLOAD_TYPE),
    ],
)
def test_a_plan_that_the_query_does_not_name_is_refused(plan: bytes, code: ErrorCode) -> None:
    source = Lots(THREE_LOTS)
    answer = said(Site(source).agent.answer(replace(make_ask(PLAN), plan=plan), NOW))
    assert (answer.status, answer.code) == (AnswerStatus.REFUSED, code)
    assert source.calls == 0


@pytest.mark.parametrize("policy", [b"version = ", b"\xff", b"version = 1\n", write_policy(make_policy(LEIDEN))])
def test_with_a_damaged_policy_or_that_of_another_site_nothing_leaves(policy: bytes) -> None:
    source = Lots(THREE_LOTS)
    answer = said(Site(source, policy).agent.answer(make_ask(PLAN), NOW))
    assert (answer.status, answer.code) == (AnswerStatus.REFUSED, ErrorCode.POLICY_DAMAGED)
    assert source.calls == 0


PATH, VALUE = "/data/secret/lot-7.h5ad", "12.34567"


def _raising(error: Exception) -> ReportSource:
    def source(rules: object) -> list[Offer]:
        raise error

    return source


@pytest.mark.disclosure
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InputError(f"{PATH}: found {VALUE}", hint=PATH), AnswerStatus.FAILED, ErrorCode.LOTS_UNREADABLE),
        (
            ProtocolError(ErrorCode.ATLAS_MISMATCH, f"{PATH} {VALUE}", hint=PATH),
            AnswerStatus.FAILED,
            ErrorCode.ATLAS_MISMATCH,
        ),
        (
            ProtocolError(ErrorCode.MAPPING_UNDER_WAY, f"{PATH} {VALUE}"),
            AnswerStatus.WAITING,
            ErrorCode.MAPPING_UNDER_WAY,
        ),
        (
            ProtocolError(ErrorCode.LOTS_UNSUITABLE, f"{PATH} {VALUE}"),
            AnswerStatus.REFUSED,
            ErrorCode.LOTS_UNSUITABLE,
        ),
        (NoRoomError(f"{PATH}: found {VALUE}", hint=PATH), AnswerStatus.FAILED, ErrorCode.DISK_FULL),
        (OSError(5, VALUE, PATH), AnswerStatus.FAILED, ErrorCode.INTERNAL),
        (MemoryError(f"{PATH} {VALUE}"), AnswerStatus.FAILED, ErrorCode.INTERNAL),
    ],
)
def test_what_an_exception_says_stays_at_the_site(error: Exception, status: AnswerStatus, code: ErrorCode) -> None:
    site = Site(_raising(error))
    reply = site.agent.answer(make_ask(PLAN), NOW)
    assert (said(reply).status, said(reply).code) == (status, code)
    for planted in (PATH, VALUE, "secret", "Error"):
        assert planted.encode() not in everything_that_left(reply)
    assert PATH in "".join(site.log)


@pytest.mark.disclosure
def test_no_name_of_the_sites_own_is_in_a_reply() -> None:
    reply = Site().agent.answer(make_ask(PLAN), NOW)
    assert said(reply).status is AnswerStatus.REPORTS
    for name in (*THREE_LOTS, "donor", "2026-03-14"):
        assert name.encode() not in everything_that_left(reply).replace(b'"donor":', b"")


@pytest.mark.disclosure
def test_an_airlock_that_cannot_be_read_stops_everything_and_is_not_described() -> None:
    log = MemoryLog()
    log.append(b"/data/secret", position=0)
    site = Site(airlock=Airlock(log))
    reply = site.agent.answer(make_ask(PLAN), NOW)
    assert (said(reply).status, said(reply).code) == (AnswerStatus.FAILED, ErrorCode.INTERNAL)
    assert b"secret" not in everything_that_left(reply)
    assert "airlock" in "".join(site.log)


def test_a_site_without_lots_for_the_study_says_so() -> None:
    answer = said(Site(Lots({})).agent.answer(make_ask(PLAN), NOW))
    assert (answer.status, answer.code) == (AnswerStatus.FAILED, ErrorCode.NO_LOTS)


def test_auto_approval_by_the_policy_lets_reports_leave_at_once_and_is_recorded_as_such() -> None:
    site = Site()
    reply = site.agent.answer(make_ask(PLAN), NOW)
    assert len(reports_in(reply)) == len(THREE_LOTS)
    held = list(site.airlock.held().values())
    assert {each.state for each in held} == {State.SENT}
    assert all(each.approval is not None and each.approval.automatic for each in held)


def test_the_answer_names_its_query_and_exactly_the_reports_beside_it() -> None:
    ask = make_ask(PLAN)
    reply = Site().agent.answer(ask, NOW)
    assert isinstance(reply, Reply)
    payload = base64.b64decode(json.loads(ask.query)["payload"])
    query = make_query(PLAN).model_validate_json(payload)
    check_answer(said(reply), query=query, query_payload=payload, report_envelopes=list(reply.reports))


def _waiting(source: ReportSource | None = None) -> tuple[Site, list[Held]]:
    site = Site(source or Lots(THREE_LOTS), write_policy(make_policy(auto=False)))
    answer = said(site.agent.answer(make_ask(PLAN), NOW))
    assert (answer.status, answer.code) == (AnswerStatus.WAITING, ErrorCode.AWAITING_STEWARD)
    return site, list(site.airlock.held().values())


def test_without_auto_approval_reports_wait_until_every_lot_is_decided() -> None:
    site, held = _waiting()
    for each in held[:-1]:
        site.approve(each)
        assert said(site.agent.answer(make_ask(PLAN), NOW)).code is ErrorCode.AWAITING_STEWARD
    site.approve(held[-1])
    assert len(reports_in(site.agent.answer(make_ask(PLAN), NOW))) == len(held)


def test_what_a_steward_refuses_stays_and_the_others_leave() -> None:
    site, held = _waiting()
    site.refuse(held[0])
    for each in held[1:]:
        site.approve(each)
    left = {report.lot for report in reports_in(site.agent.answer(make_ask(PLAN), NOW))}
    assert left == {each.lot for each in held[1:]}


def test_where_a_steward_refuses_all_the_answer_says_so() -> None:
    site, held = _waiting()
    for each in held:
        site.refuse(each)
    answer = said(site.agent.answer(make_ask(PLAN), NOW))
    assert (answer.status, answer.code) == (AnswerStatus.REFUSED, ErrorCode.STEWARD_REFUSED)


def test_asking_again_gives_the_same_report_bytes() -> None:
    site = Site()
    first, second = (site.agent.answer(make_ask(PLAN), NOW + timedelta(minutes=m)) for m in (0, 1))
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert first.reports == second.reports
    assert len(site.airlock.held()) == len(THREE_LOTS)


def test_a_lot_that_fails_a_rule_is_held_back_and_the_others_leave() -> None:
    lots = {**THREE_LOTS, "tiny": (20, 5, 5)}
    site = Site(Lots(lots))
    assert len(reports_in(site.agent.answer(make_ask(PLAN), NOW))) == len(THREE_LOTS)
    assert sum("held back" in line for line in site.log) == 1


def test_a_lot_that_is_held_back_does_not_count_towards_the_number_of_lots() -> None:
    # The profile standard asks for 500 cells a lot and two lots a site.
    policy = write_policy(make_policy(profile=Profile.STANDARD))
    source = Lots({"large": (600, 300, 100), "small": (200, 100, 100)})
    answer = said(Site(source, policy).agent.answer(make_ask(PLAN), NOW))
    assert (answer.status, answer.code) == (AnswerStatus.REFUSED, ErrorCode.DISCLOSURE_REFUSED)


def test_a_lot_that_changed_after_it_was_sent_waits_for_a_person_and_takes_the_next_version() -> None:
    source = Lots(THREE_LOTS)
    site = Site(source)
    assert {report.version for report in reports_in(site.agent.answer(make_ask(PLAN), NOW))} == {1}
    source.counts = {**THREE_LOTS, "BM-01": (650, 350, 150)}
    for _ in range(2):
        assert said(site.agent.answer(make_ask(PLAN), NOW)).code is ErrorCode.AWAITING_STEWARD
    (pending,) = (each for each in site.airlock.held().values() if each.state is State.PENDING)
    site.approve(pending, reason="two vials were added")
    versions = sorted(report.version for report in reports_in(site.agent.answer(make_ask(PLAN), NOW)))
    assert versions == [1, 1, 2]
    assert sorted(report.version for report in reports_in(site.agent.answer(make_ask(PLAN), NOW))) == versions
