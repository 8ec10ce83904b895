"""Collecting through Flower's adapters in one process: who is asked, and what becomes of whatever comes back."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from coordinator.collection import CollectionEvent, SiteState, site_states
from coordinator.network.flower_app import CollectionRun, collect_round, make_server_app
from coordinator.store import MemoryStore
from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode
from protocol.exchange import ANSWER, CODE, RECORD, REPORTS, Ask, BareCode, Reply
from protocol.identifiers import Instant, SiteId
from protocol.policy import write_policy
from protocol.roster import open_query
from simulations.grid import InProcessGrid
from site_agent.network.flower_app import Answering, make_client_app
from tests.study_parts import (
    COORDINATOR,
    NOW,
    THREE_LOTS,
    Lots,
    Site,
    believed,
    fresh_nonce,
    make_plan,
    make_policy,
    make_roster,
    signed,
)

SITES = tuple(SiteId(f"site-{number:02d}") for number in range(1, 21))


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
