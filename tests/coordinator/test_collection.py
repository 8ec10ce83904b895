"""Collecting: who has answered what, as values; and the same through Flower's adapters in one process."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
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
from coordinator.network.flower_app import CollectionRun, collect_round, make_server_app
from coordinator.store import MemoryStore
from protocol.codec import sha256
from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode
from protocol.exchange import ANSWER, CODE, RECORD, REPORTS, Ask, BareCode, Reply
from protocol.identifiers import Instant, SiteId
from protocol.policy import write_policy
from protocol.queries import AnswerStatus, answer_with_code, answer_with_reports
from protocol.roster import open_query
from protocol.signing import SigningKey
from simulations.grid import InProcessGrid
from site_agent.network.flower_app import Answering, make_client_app
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    LEIDEN,
    NOW,
    STRANGER,
    THREE_LOTS,
    Lots,
    Site,
    believed,
    fresh_nonce,
    key_of,
    make_plan,
    make_policy,
    make_report,
    make_roster,
    outgoing,
    rules_of,
    signed,
)

PLAN = make_plan()
SITES = tuple(SiteId(f"site-{number:02d}") for number in range(1, 21))


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


# ---- through Flower's adapters


def _run(nodes: Mapping[SiteId, int], *, sites: Sequence[SiteId] = SITES, rounds: int = 1) -> CollectionRun:
    plan = make_plan(sites=sites)
    return CollectionRun(
        study=believed(plan),
        roster=make_roster(plan),
        key=COORDINATOR,
        store=MemoryStore(),
        nodes=nodes,
        clock=lambda: NOW,
        nonce=fresh_nonce,
        log=lambda _line: None,
        rounds=rounds,
        wait=lambda _seconds: None,
    )


def _states(run: CollectionRun) -> dict[SiteId, tuple[SiteState, ErrorCode | None, int]]:
    events = [CollectionEvent.from_line(line) for line in run.store.events(run.study.message.study)]
    return {
        site: (event.state, event.code, event.round)
        for site, event in site_states(run.study.message.sites, events).items()
        if event is not None
    }


def _app(site: SiteId, agent: Answering | None = None) -> ClientApp:
    sound = Site(Lots(THREE_LOTS), write_policy(make_policy(site)), site).agent
    return make_client_app(agent or sound, clock=lambda: NOW, log=lambda _line: None)


class Raising:
    def answer(self, ask: Ask, now: object) -> Reply | BareCode:
        raise RuntimeError("/data/secret/lot-7.h5ad holds 12 cells")


def _saying(make: Callable[[], RecordDict]) -> ClientApp:
    app = ClientApp()

    @app.query("collect")
    def collect(message: Message, context: Context) -> Message:
        return Message(make(), reply_to=message)

    return app


class Recording(InProcessGrid):
    """A grid that keeps whom it was to ask, in order, and lets some nodes stay silent."""

    def __init__(self, nodes: Mapping[int, ClientApp], silent: set[int] | None = None) -> None:
        super().__init__(nodes)
        self.silent = silent or set()
        self.asked: list[int] = []

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        self.asked += [message.metadata.dst_node_id for message in sent]
        heard = [message for message in sent if message.metadata.dst_node_id not in self.silent]
        return super().push_messages(heard) + [f"unheard {len(self.asked)}"] * (len(sent) - len(heard))


def _contents(fields: Mapping[str, object] | None) -> RecordDict:
    return RecordDict({} if fields is None else {RECORD: ConfigRecord(fields)})  # type: ignore[arg-type]  # garbage on purpose


GARBAGE: tuple[tuple[Mapping[str, object] | None, ErrorCode], ...] = (
    (None, ErrorCode.INVALID_FIELD),
    ({}, ErrorCode.INVALID_FIELD),
    ({ANSWER: "text", REPORTS: [b"x"]}, ErrorCode.INVALID_FIELD),
    ({ANSWER: b"x", REPORTS: ["text"]}, ErrorCode.INVALID_FIELD),
    ({ANSWER: b"x", REPORTS: 7}, ErrorCode.INVALID_FIELD),
    ({ANSWER: b"x", REPORTS: [b"y"]}, ErrorCode.NOT_JSON),
    ({CODE: "no such code"}, ErrorCode.INVALID_FIELD),
    ({CODE: "timed-out"}, ErrorCode.TIMED_OUT),
    ({CODE: [1, 2]}, ErrorCode.INVALID_FIELD),
)


def test_twenty_sites_answer_and_only_those_that_did_not_are_asked_again() -> None:
    nodes = {site: number for number, site in enumerate(SITES, start=1)}
    apps = {nodes[site]: _app(site) for site in SITES}
    silent, raising, garbling = SITES[3], SITES[7], SITES[11]
    apps[nodes[raising]] = _app(raising, Raising())
    apps[nodes[garbling]] = _saying(lambda: _contents({ANSWER: "text", REPORTS: [1.5]}))
    grid, run = Recording(apps, {nodes[silent]}), _run(nodes)

    assert collect_round(run, grid) == SITES
    states = _states(run)
    assert states[silent] == (SiteState.ASKED, None, 1)
    assert states[raising] == (SiteState.FAILED, ErrorCode.INTERNAL, 1)
    assert states[garbling] == (SiteState.FAILED, ErrorCode.INVALID_FIELD, 1)
    sound = [site for site in SITES if site not in {silent, raising, garbling}]
    assert all(states[site] == (SiteState.DELIVERED, None, 1) for site in sound)
    reports = run.store.reports(run.study.message.study)
    assert len(reports) == 17 * len(THREE_LOTS)
    assert not any(b"secret" in line.encode() for line in run.store.events(run.study.message.study))

    for site in (silent, raising, garbling):
        grid._nodes[nodes[site]] = _app(site)
    grid.silent.clear()
    assert set(collect_round(run, grid)) == {silent, raising, garbling}
    assert sorted(grid.asked[20:]) == sorted(nodes[site] for site in (silent, raising, garbling))
    assert {state for state, _, _ in _states(run).values()} == {SiteState.DELIVERED}
    assert len(run.store.reports(run.study.message.study)) == 20 * len(THREE_LOTS)
    assert collect_round(run, grid) == ()
    assert len(grid.asked) == 23


@pytest.mark.parametrize(("fields", "code"), GARBAGE)
def test_whatever_a_node_sends_becomes_an_event_and_no_other_site_suffers(
    fields: Mapping[str, object] | None, code: ErrorCode
) -> None:
    sites = SITES[:2]
    nodes = {sites[0]: 1, sites[1]: 2}
    run = _run(nodes, sites=sites)
    collect_round(run, Recording({1: _saying(lambda: _contents(fields)), 2: _app(sites[1])}))
    assert _states(run)[sites[0]][1] is code
    assert _states(run)[sites[0]][0] in {SiteState.FAILED, SiteState.ANSWER_REJECTED}
    assert _states(run)[sites[1]][0] is SiteState.DELIVERED


def test_a_node_that_flower_takes_for_another_site_is_not_believed() -> None:
    # Both nodes run the agent of the second site: Flower would deliver either, and only the signature tells.
    sites = SITES[:2]
    nodes = {sites[0]: 1, sites[1]: 2}
    run = _run(nodes, sites=sites)

    class Pretending:
        def __init__(self) -> None:
            self.agent = Site(Lots(THREE_LOTS), write_policy(make_policy(sites[1])), sites[1]).agent

        def answer(self, ask: Ask, now: object) -> Reply | BareCode:
            query = open_query(ask.query, COORDINATOR.verifying_key).message.model_copy(update={"site": sites[1]})
            return self.agent.answer(replace(ask, query=signed(query, PayloadType.QUERY)), NOW)

    collect_round(run, Recording({1: _app(sites[0], Pretending()), 2: _app(sites[1])}))
    assert _states(run)[sites[0]][:2] == (SiteState.ANSWER_REJECTED, ErrorCode.UNKNOWN_SIGNER)
    assert {report.site for report in run.store.reports(run.study.message.study)} == {sites[1]}


def test_a_site_whose_lots_changed_behind_a_kept_report_does_not_stop_the_round() -> None:
    # A crash between storing reports and noting the event: the site is asked again, and answers with other bytes.
    sites = SITES[:2]
    nodes = {sites[0]: 1, sites[1]: 2}
    run = _run(nodes, sites=sites)
    collect_round(run, Recording({1: _app(sites[0])}, {2}))
    kept = run.store.reports(run.study.message.study)
    before = replace(run, store=MemoryStore())
    for report in kept:
        before.store.add(run.study.message.study, report)
    changed = Site(Lots(THREE_LOTS, potency=99.0), write_policy(make_policy(sites[0])), sites[0]).agent
    collect_round(before, Recording({1: _app(sites[0], changed), 2: _app(sites[1])}))
    assert _states(before)[sites[0]][:2] == (SiteState.ANSWER_REJECTED, ErrorCode.REPORTS_MISMATCH)
    assert _states(before)[sites[1]][0] is SiteState.DELIVERED
    assert [report for report in before.store.reports(run.study.message.study) if report.site == sites[0]] == list(kept)


def test_the_order_in_which_sites_are_numbered_and_answer_leaves_the_store_the_same() -> None:
    contents = []
    for seed in (1, 2):
        numbers = list(range(1, 6))
        random.Random(seed).shuffle(numbers)  # noqa: S311 - an order, no secret
        nodes = dict(zip(SITES[:5], numbers, strict=True))
        run = _run(nodes, sites=SITES[:5])
        collect_round(run, Recording({node: _app(site) for site, node in nodes.items()}))
        contents.append(run.store.reports(run.study.message.study))
    assert contents[0] == contents[1]
    assert len(contents[0]) == 15


def test_the_server_app_runs_as_many_rounds_as_are_needed_and_no_more() -> None:
    sites = SITES[:2]
    nodes = {sites[0]: 1, sites[1]: 2}
    run = _run(nodes, sites=sites, rounds=5)
    waiting = Site(Lots(THREE_LOTS), write_policy(make_policy(sites[1], auto=False)), sites[1])
    grid = Recording({1: _app(sites[0]), 2: _app(sites[1], waiting.agent)})
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    make_server_app(run)(grid, context)
    assert grid.asked == [1, 2, 2, 2, 2, 2]
    for held in list(waiting.airlock.held().values()):
        waiting.approve(held)
    make_server_app(run)(grid, context)
    assert grid.asked[6:] == [2]
    assert _states(run)[sites[1]] == (SiteState.DELIVERED, None, 6)


def test_a_site_without_a_node_is_not_asked_and_stands_as_such() -> None:
    run = _run({SITES[0]: 1}, sites=SITES[:2])
    assert collect_round(run, Recording({1: _app(SITES[0])})) == SITES[:1]
    assert SITES[1] not in _states(run)


@pytest.mark.parametrize("fields", [{}, {"query": "text", "plan": b"x"}, {"query": b"x"}])
def test_a_message_that_is_no_query_is_answered_with_a_code(fields: dict[str, object]) -> None:
    grid = InProcessGrid({1: _app(SITES[0])})
    message = Message(
        RecordDict({RECORD: ConfigRecord(fields)}),  # type: ignore[arg-type]  # garbage on purpose
        dst_node_id=1,
        message_type="query.collect",
    )
    (reply,) = grid.send_and_receive([message])
    assert dict(reply.content[RECORD]) == {CODE: ErrorCode.MISSING_FIELD.value}


@pytest.mark.disclosure
def test_an_agent_that_raises_lets_nothing_of_the_exception_leave() -> None:
    lines: list[str] = []
    app = make_client_app(Raising(), clock=lambda: NOW + timedelta(0), log=lines.append)
    message = Message(
        RecordDict({RECORD: ConfigRecord({"query": b"q", "plan": b"p"})}), dst_node_id=1, message_type="query.collect"
    )
    (reply,) = InProcessGrid({1: app}).send_and_receive([message])
    assert dict(reply.content[RECORD]) == {CODE: ErrorCode.INTERNAL.value}
    assert not reply.has_error()
    assert "secret" in lines[0]


def test_rounds_are_numbered_on_from_the_log() -> None:
    run = _run({SITES[0]: 1}, sites=SITES[:1])
    old = CollectionEvent(at=Instant("2026-11-19T08:00:00Z"), site=SITES[0], state=SiteState.FAILED, round=41)
    run.store.append_event(run.study.message.study, old.to_line())
    collect_round(run, Recording({1: _app(SITES[0])}))
    assert _states(run)[SITES[0]] == (SiteState.DELIVERED, None, 42)
