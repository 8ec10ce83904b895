"""Who is asked next: in turn, so that no site waits behind one that never answers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.collection import CollectionEvent, SiteState
from coordinator.network.collecting import _in_turn
from protocol.identifiers import SiteId

SITES = tuple(SiteId(f"site-{number}") for number in range(12))


@given(st.integers(1, 12), st.sets(st.sampled_from(SITES), min_size=1))
@settings(max_examples=40)
def test_rounds_that_are_broken_off_still_come_to_every_site(number: int, online: set[SiteId]) -> None:
    nodes = {site: place for place, site in enumerate(sorted(online))}
    events: list[CollectionEvent] = []
    asked: set[SiteId] = set()
    for round_number in range(1, -(-len(online) // number) + 1):
        turn = _in_turn(SITES, nodes, events)
        assert set(turn) == online
        reached = list(turn)[:number]
        asked |= set(reached)
        events += [
            CollectionEvent(at="2026-11-20T09:00:00Z", site=site, state=SiteState.ASKED, round=round_number)
            for site in reached
        ]
    assert asked == online


def test_where_no_site_is_online_nobody_is_asked() -> None:
    assert _in_turn(SITES, {}, []) == {}
