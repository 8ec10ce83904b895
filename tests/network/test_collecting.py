"""Who is asked next: in turn, so that no site waits behind one that never answers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.collection import CollectionEvent, SiteState
from coordinator.network.collecting import _next_in_turn
from protocol.identifiers import SiteId

SITES = tuple(SiteId(f"site-{number}") for number in range(12))


@given(st.integers(1, 12), st.sets(st.sampled_from(SITES), min_size=1))
@settings(max_examples=40)
def test_every_site_is_asked_within_as_many_rounds_as_it_takes(number: int, online: set[SiteId]) -> None:
    nodes = {site: place for place, site in enumerate(sorted(online))}
    events: list[CollectionEvent] = []
    asked: set[SiteId] = set()
    for round_number in range(1, -(-len(online) // number) + 1):
        chosen = _next_in_turn(SITES, nodes, events, number)
        assert 0 < len(chosen) <= number
        asked |= set(chosen)
        events += [
            CollectionEvent(at="2026-11-20T09:00:00Z", site=site, state=SiteState.ASKED, round=round_number)
            for site in chosen
        ]
    assert asked == online


def test_where_no_site_is_online_nobody_is_asked() -> None:
    assert _next_in_turn(SITES, {}, [], 5) == {}
