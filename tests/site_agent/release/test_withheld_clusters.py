"""Laws of what a steward withholds: orders of magnitude that tell nothing more, within the rules."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.identifiers import Sha256
from protocol.plan import Profile
from protocol.policy import EffectiveRules
from protocol.report import Count, LotReport
from shared.errors import InputError
from site_agent.release.disclosure import judge
from site_agent.release.suppression import implied_bounds, interval_of, named_parts, table_of
from site_agent.release.verdicts import Outcome
from site_agent.release.withheld_clusters import is_magnitude, magnitude_of, withhold_clusters

pytestmark = pytest.mark.disclosure

MakeRules = Callable[..., EffectiveRules]
MakeReport = Callable[..., LotReport]
CELLS = st.one_of(st.integers(0, 130), st.integers(0, 200_000))


@given(st.sampled_from(Profile), st.integers(0, 30), CELLS, st.integers(-3, 3))
def test_an_order_of_magnitude_tells_no_more_than_that_the_part_lies_within(
    make_rules: MakeRules, profile: Profile, threshold: int, cells: int, step: int
) -> None:
    rules = make_rules(profile, threshold=threshold)
    shown = magnitude_of(interval_of(cells, rules), rules)
    assert shown.low <= cells <= shown.high
    assert is_magnitude(shown, rules)
    # Every value within leaves as the same interval, and the next value outside as another.
    for other in (shown.low, shown.high, min(max(cells + step, shown.low), shown.high)):
        assert magnitude_of(interval_of(other, rules), rules) == shown
    assert magnitude_of(interval_of(shown.high + 1, rules), rules).low == shown.high + 1


@given(st.sampled_from(Profile), st.integers(0, 30), CELLS)
def test_withholding_never_shows_more(make_rules: MakeRules, profile: Profile, threshold: int, cells: int) -> None:
    rules = make_rules(profile, threshold=threshold)
    before = interval_of(cells, rules)
    after = magnitude_of(before, rules)
    assert after.low <= before.low <= before.high <= after.high
    assert magnitude_of(after, rules) == after


@given(
    counts=st.lists(CELLS, min_size=5, max_size=5),
    clusters=st.sets(st.integers(0, 4)),
    profile=st.sampled_from(Profile),
    threshold=st.integers(0, 15),
)
def test_a_report_with_withheld_clusters_passes_every_rule_but_the_minimum_of_cells_and_is_not_narrowed(
    make_rules: MakeRules,
    make_report: MakeReport,
    counts: list[int],
    clusters: set[int],
    profile: Profile,
    threshold: int,
) -> None:
    counts[0] += 1
    rules = make_rules(profile, threshold=threshold, minimum_cells=1)
    whole = make_report(rules, *counts)
    report = withhold_clusters(whole, clusters, rules)
    failed = {verdict.rule.value for verdict in judge(report, rules, lots_offered=2) if verdict.outcome is Outcome.FAIL}
    assert failed <= {"minimum-cells"}
    bounds = implied_bounds(table_of(report), (), Sha256("a" * 64))
    assert bounds is not None
    assert named_parts(bounds) == named_parts(table_of(report))
    assert len(encode(report)) == len(encode(whole))
    assert withhold_clusters(report, clusters, rules) == report


def test_examples_in_words(make_rules: MakeRules) -> None:
    rules = make_rules(Profile.STANDARD)
    shown = {cells: magnitude_of(interval_of(cells, rules), rules) for cells in (0, 3, 8, 12, 412, 20_000)}
    assert shown == {
        0: Count(low=0, high=9),
        3: Count(low=0, high=9),
        8: Count(low=0, high=9),
        12: Count(low=10, high=99),
        412: Count(low=100, high=999),
        20_000: Count(low=10_000, high=99_999),
    }


def test_a_cluster_that_the_atlas_does_not_have_is_named(make_rules: MakeRules, make_report: MakeReport) -> None:
    rules = make_rules()
    report = make_report(rules, 1200, 500, 290, 7, 3)
    assert withhold_clusters(report, (), rules) is report
    with pytest.raises(InputError, match="no number 5"):
        withhold_clusters(report, {5}, rules)
