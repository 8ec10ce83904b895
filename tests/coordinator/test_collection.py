"""Collecting: who has answered what, as values."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.collection import (
    ASK_AGAIN,
    CollectionEvent,
    Received,
    SiteState,
    compose_query,
    no_answer,
    receive,
    site_states,
    sites_to_ask,
)
from coordinator.store import MemoryStore
from protocol.codec import sha256
from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode
from protocol.identifiers import SiteId
from protocol.queries import AnswerStatus, answer_with_code, answer_with_reports
from protocol.roster import open_query
from protocol.signing import SigningKey
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    LEIDEN,
    NOW,
    STRANGER,
    believed,
    key_of,
    make_plan,
    make_report,
    make_roster,
    outgoing,
    rules_of,
    signed,
)

PLAN = make_plan()


def sealed_reports(
    site: SiteId = KYOTO, lots: Sequence[str] = ("L1", "L2"), *, key: SigningKey | None = None
) -> list[bytes]:
    rules = rules_of(PLAN, site)
    return [signed(make_report(rules, lot, (60, 30, 10)), PayloadType.LOT_REPORT, key or key_of(site)) for lot in lots]


def delivered(
    reports: Sequence[bytes], *, key: SigningKey | None = None, sent: Sequence[bytes] | None = None
) -> Received:
    """Return what comes of Kyoto's answer that names ``reports`` and brings ``sent``."""
    asked = outgoing(PLAN)
    answer = answer_with_reports(asked.query, asked.payload, reports)
    return receive(
        believed(PLAN),
        make_roster(PLAN),
        asked,
        answer=signed(answer, PayloadType.ANSWER, key or key_of(KYOTO)),
        report_envelopes=reports if sent is None else sent,
        now=NOW,
    )


def rejected_with(received: Received) -> ErrorCode | None:
    assert received.event.state is SiteState.ANSWER_REJECTED
    assert received.reports == ()
    assert received.event.lots == 0
    return received.event.code


_EVENTS = st.builds(
    CollectionEvent,
    at=st.just("2026-11-20T08:30:00Z"),
    site=st.sampled_from([KYOTO, LEIDEN]),
    state=st.sampled_from(SiteState),
    round=st.integers(1, 1_000_000),
    code=st.none() | st.sampled_from(ErrorCode),
    lots=st.integers(0, 5_000),
)


@given(_EVENTS)
def test_an_event_reads_back_from_its_line(event: CollectionEvent) -> None:
    assert CollectionEvent.from_line(event.to_line()) == event
    assert "\n" not in event.to_line()


@given(st.lists(_EVENTS, max_size=8))
def test_a_sites_state_is_its_last_event_and_nothing_else(events: list[CollectionEvent]) -> None:
    states = site_states(PLAN.sites, events)
    for site in PLAN.sites:
        own = [event for event in events if event.site == site]
        assert states[site] == (own[-1] if own else None)
        assert (site in sites_to_ask(PLAN.sites, events)) == (not own or own[-1].state in ASK_AGAIN)


def test_what_is_delivered_or_refused_by_a_person_is_not_asked_for_again() -> None:
    assert set(SiteState) - ASK_AGAIN == {SiteState.DELIVERED, SiteState.REFUSED}


def test_every_state_says_whose_turn_it_is() -> None:
    assert {state: state.whose_turn for state in SiteState} == {
        SiteState.NOT_ASKED: "coordinator",
        SiteState.ASKED: "site agent",
        SiteState.AWAITING_STEWARD: "site steward",
        SiteState.DELIVERED: "nobody",
        SiteState.REFUSED: "site steward and coordinator",
        SiteState.FAILED: "site",
        SiteState.ANSWER_REJECTED: "site and coordinator",
    }


def test_an_event_of_a_site_that_the_plan_does_not_name_changes_nothing() -> None:
    stray = no_answer(replace(outgoing(PLAN), query=outgoing(PLAN).query.model_copy(update={"site": "oslo"})), NOW)
    assert site_states(PLAN.sites, [stray]) == {KYOTO: None, LEIDEN: None}


def test_a_query_is_signed_names_plan_site_and_round_and_lives_an_hour() -> None:
    asked = compose_query(
        believed(PLAN), COORDINATOR, site=KYOTO, round_number=7, now=NOW, nonce=lambda: "0123456789abcdef" * 2
    )
    query = open_query(asked.envelope, COORDINATOR.verifying_key)
    assert query.message == asked.query
    assert query.payload == asked.payload
    assert (asked.query.site, asked.query.round, asked.query.nonce) == (KYOTO, 7, "0123456789abcdef" * 2)
    assert asked.query.plan_sha256 == believed(PLAN).payload_sha256
    assert (asked.query.issued, asked.query.expires) == ("2026-11-20T08:30:00Z", "2026-11-20T09:30:00Z")


def test_sound_reports_are_kept_byte_for_byte_under_their_hashes() -> None:
    envelopes = sealed_reports()
    received = delivered(envelopes)
    assert (received.event.state, received.event.code, received.event.lots) == (SiteState.DELIVERED, None, 2)
    assert [report.envelope for report in received.reports] == envelopes
    assert [report.digest for report in received.reports] == [sha256(envelope) for envelope in envelopes]


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        (AnswerStatus.WAITING, ErrorCode.AWAITING_STEWARD, SiteState.AWAITING_STEWARD),
        (AnswerStatus.WAITING, ErrorCode.MAPPING_UNDER_WAY, SiteState.ASKED),
        (AnswerStatus.REFUSED, ErrorCode.STEWARD_REFUSED, SiteState.REFUSED),
        (AnswerStatus.FAILED, ErrorCode.LOTS_UNREADABLE, SiteState.FAILED),
    ],
)
def test_an_answer_without_reports_becomes_a_state_with_its_code(
    status: AnswerStatus, code: ErrorCode, state: SiteState
) -> None:
    asked = outgoing(PLAN)
    answer = signed(answer_with_code(asked.query, asked.payload, status, code), PayloadType.ANSWER, key_of(KYOTO))
    received = receive(believed(PLAN), make_roster(PLAN), asked, answer=answer, report_envelopes=(), now=NOW)
    assert (received.event.state, received.event.code, received.reports) == (state, code, ())


def _flipped(envelope: bytes) -> bytes:
    position = envelope.index(b'"payload":"') + 40
    return (
        envelope[:position] + (b"A" if envelope[position : position + 1] != b"A" else b"B") + envelope[position + 1 :]
    )


def _of_another_plan() -> bytes:
    return signed(make_report(rules_of(make_plan(seed=12)), "L3", (60, 30, 10)), PayloadType.LOT_REPORT, key_of(KYOTO))


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (_flipped(sealed_reports(lots=["L3"])[0]), ErrorCode.BAD_SIGNATURE),
        (sealed_reports(LEIDEN, ["L3"])[0], ErrorCode.UNKNOWN_SIGNER),
        (sealed_reports(LEIDEN, ["L3"], key=key_of(KYOTO))[0], ErrorCode.WRONG_SIGNER),
        (sealed_reports(lots=["L3"], key=STRANGER)[0], ErrorCode.UNKNOWN_SIGNER),
        (_of_another_plan(), ErrorCode.PLAN_MISMATCH),
        (b"not an envelope", ErrorCode.NOT_JSON),
        (b"", ErrorCode.NOT_JSON),
        (
            signed(make_report(rules_of(PLAN), "L1", (61, 30, 10)), PayloadType.LOT_REPORT, key_of(KYOTO)),
            ErrorCode.REPORTS_MISMATCH,
        ),
    ],
    ids=["flipped", "another site's", "in another's name", "a stranger's", "another plan", "text", "empty", "twice"],
)
def test_one_bad_report_among_good_ones_refuses_the_answer_and_nothing_is_kept(bad: bytes, code: ErrorCode) -> None:
    assert rejected_with(delivered([*sealed_reports(), bad])) is code


@pytest.mark.parametrize("sent", [[], sealed_reports()[:1], [*sealed_reports(), *sealed_reports(lots=["L3"])]])
def test_reports_that_the_answer_does_not_name_are_refused(sent: list[bytes]) -> None:
    assert rejected_with(delivered(sealed_reports(), sent=sent)) is ErrorCode.REPORTS_MISMATCH


def test_an_answer_by_another_sites_key_is_refused() -> None:
    assert rejected_with(delivered(sealed_reports(), key=key_of(LEIDEN))) is ErrorCode.UNKNOWN_SIGNER


def test_an_answer_to_an_earlier_query_is_refused() -> None:
    earlier, asked = outgoing(PLAN), outgoing(PLAN)
    answer = signed(
        answer_with_reports(earlier.query, earlier.payload, sealed_reports()), PayloadType.ANSWER, key_of(KYOTO)
    )
    received = receive(
        believed(PLAN), make_roster(PLAN), asked, answer=answer, report_envelopes=sealed_reports(), now=NOW
    )
    assert rejected_with(received) is ErrorCode.WRONG_QUERY


def test_a_report_that_contradicts_a_kept_one_is_refused_and_the_same_one_is_not() -> None:
    asked = outgoing(PLAN)
    kept = delivered(sealed_reports()).reports
    other = signed(make_report(rules_of(PLAN), "L1", (61, 30, 10)), PayloadType.LOT_REPORT, key_of(KYOTO))

    def came(reports: Sequence[bytes]) -> Received:
        answer = signed(answer_with_reports(asked.query, asked.payload, reports), PayloadType.ANSWER, key_of(KYOTO))
        return receive(
            believed(PLAN), make_roster(PLAN), asked, answer=answer, report_envelopes=reports, now=NOW, kept=kept
        )

    assert rejected_with(came([other, *sealed_reports(lots=["L3"])])) is ErrorCode.REPORTS_MISMATCH
    assert came(sealed_reports()).event.state is SiteState.DELIVERED


@given(st.permutations(["L1", "L2", "L3", "L4"]), st.integers(0, 4))
def test_the_store_holds_the_same_whatever_the_order_of_arrival(order: list[str], cut: int) -> None:
    stores = []
    for parts in ([["L1", "L2", "L3", "L4"]], [order[:cut], order[cut:]]):
        store = MemoryStore()
        for part in filter(None, parts):
            for report in delivered(sealed_reports(lots=part)).reports:
                store.add(PLAN.study, report)
        stores.append(store.reports(PLAN.study))
    assert stores[0] == stores[1]
