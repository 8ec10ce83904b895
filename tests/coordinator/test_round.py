"""A round over many sites: so many at a time, each once, and what came is kept whatever becomes of the round."""

from collections.abc import Iterable, Mapping

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.network.flower_app import CollectionRun, collect_round
from coordinator.store import MemoryStore
from protocol.errors import ErrorCode
from protocol.exchange import CODE, RECORD
from protocol.identifiers import SiteId
from simulations.grid import InProcessGrid
from tests.study_parts import COORDINATOR, NOW, believed, fresh_nonce, make_plan, make_roster

SITES = tuple(SiteId(f"site-{number}") for number in range(1, 13))
NODES = {site: number for number, site in enumerate(SITES, start=1)}
PLAN = make_plan(sites=SITES)


class CarrierBrokeError(Exception):
    """What a carrier raises in the middle of a round."""


class Slow(InProcessGrid):
    """A grid whose replies come a few at a time, in an order of their own, until it breaks."""

    def __init__(self, nodes: Mapping[int, ClientApp], pulls: Iterable[int], *, lost: bool = False) -> None:
        super().__init__(nodes)
        self._pulls = iter(pulls)
        self._lost = lost
        self.under_way: list[str] = []
        self.most = 0
        self.asked: list[int] = []

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        self.asked += [message.metadata.dst_node_id for message in sent]
        if self._lost:
            return []
        identifiers = super().push_messages(sent)
        self.under_way += identifiers
        self.most = max(self.most, len(self.under_way))
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        assert set(message_ids) == set(self.under_way)
        number = next(self._pulls, None)
        if number is None:
            raise CarrierBrokeError
        newest_first = self.under_way[::-1]
        come, self.under_way = newest_first[:number], newest_first[number:][::-1]
        return super().pull_messages(come)


def waiting_site() -> ClientApp:
    app = ClientApp()

    @app.query("collect")
    def collect(message: Message, context: Context) -> Message:
        return Message(RecordDict({RECORD: ConfigRecord({CODE: ErrorCode.TIMED_OUT.value})}), reply_to=message)

    return app


APPS = {node: waiting_site() for node in NODES.values()}


def make_run(at_once: int, *, asks: int = 1_000) -> CollectionRun:
    left = iter(range(asks))
    return CollectionRun(
        study=believed(PLAN),
        roster=make_roster(PLAN),
        key=COORDINATOR,
        store=MemoryStore(),
        nodes=NODES,
        clock=lambda: NOW,
        nonce=fresh_nonce,
        log=lambda _line: None,
        reply_seconds=5,
        sites_at_once=at_once,
        may_ask=lambda: next(left, None) is not None,
        wait=lambda _seconds: None,
    )


@given(st.integers(1, 15), st.lists(st.integers(0, 4), max_size=8))
@settings(max_examples=30)
def test_each_site_is_asked_once_and_never_more_at_a_time_than_allowed(at_once: int, pulls: list[int]) -> None:
    run, grid = make_run(at_once), Slow(APPS, [*pulls, *[12] * 12])
    assert collect_round(run, grid) == SITES
    assert grid.asked == list(NODES.values())
    assert grid.most <= at_once
    assert len(run.store.events(PLAN.study)) == len(SITES)


@given(st.integers(1, 15), st.lists(st.integers(0, 2), max_size=5))
@settings(max_examples=30)
def test_what_came_before_a_round_broke_is_kept(at_once: int, pulls: list[int]) -> None:
    run, grid = make_run(at_once), Slow(APPS, pulls)
    with pytest.raises(CarrierBrokeError):
        collect_round(run, grid)
    assert len(run.store.events(PLAN.study)) == len(grid.asked) - len(grid.under_way)


def test_after_the_deadline_nobody_is_asked_and_who_was_asked_is_waited_for() -> None:
    run, grid = make_run(2, asks=5), Slow(APPS, [0, 0, *[1] * 12])
    assert len(collect_round(run, grid)) < len(SITES)
    assert grid.under_way == []
    assert len(run.store.events(PLAN.study)) == len(grid.asked)


def test_a_query_that_the_carrier_does_not_take_counts_as_asked_in_vain() -> None:
    run, grid = make_run(3), Slow(APPS, [], lost=True)
    assert collect_round(run, grid) == SITES
    assert len(run.store.events(PLAN.study)) == len(SITES)


def test_a_carrier_that_stays_silent_for_ever_does_not_hold_the_round() -> None:
    run, grid = make_run(12), Slow(APPS, [0] * 1_000)
    assert collect_round(run, grid) == SITES
    assert len(run.store.events(PLAN.study)) == len(SITES)
