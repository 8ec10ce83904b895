"""An adversary with a solver against the tables that leave."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from protocol.identifiers import Sha256
from protocol.plan import Profile
from protocol.policy import EffectiveRules
from protocol.report import Count
from site_agent.release.suppression import (
    CountTable,
    hide_small_counts,
    implied_bounds,
    interval_of,
    named_parts,
)

pytestmark = pytest.mark.disclosure

MakeRules = Callable[..., EffectiveRules]
ATLAS_A, ATLAS_B = Sha256("a" * 64), Sha256("b" * 64)
PARTS = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 4_000)), min_size=2, max_size=8)


def solved(tables: Sequence[tuple[Sha256, CountTable]], target: int) -> list[tuple[int, int]] | None:
    """Return what a mixed-integer solver finds for each part of table ``target``; None where nothing agrees.

    One unknown for each part of each table and one for the total; tables of one atlas have equal parts.
    """
    sizes = [len(table.counts) + 1 for _, table in tables]
    starts = np.concatenate([[1], 1 + np.cumsum(sizes)])
    n = int(starts[-1])
    low, high = np.zeros(n), np.full(n, 1e9)
    low[0] = max(table.total.low for _, table in tables)
    high[0] = min(table.total.high for _, table in tables)
    rows: list[np.ndarray] = []
    first_of: dict[str, int] = {}
    for (atlas, table), start, size in zip(tables, starts, sizes, strict=False):
        for offset, (_, part) in enumerate(named_parts(table)):
            low[start + offset], high[start + offset] = part.low, part.high
        row = np.zeros(n)
        row[0], row[start : start + size] = -1, 1
        rows.append(row)
        first = first_of.setdefault(atlas, int(start))
        for offset in range(size if first != start else 0):
            row = np.zeros(n)
            row[first + offset], row[start + offset] = 1, -1
            rows.append(row)
    if low[0] > high[0]:
        return None
    answers = []
    for offset in range(sizes[target]):
        ends = []
        for sign in (1, -1):
            objective = np.zeros(n)
            objective[starts[target] + offset] = sign
            result = milp(
                objective,
                constraints=LinearConstraint(np.array(rows), 0, 0),
                integrality=np.ones(n, dtype=np.int64),
                bounds=Bounds(low, high),
            )
            if not result.success:
                return None
            ends.append(round(sign * result.fun))
        answers.append((ends[0], ends[1]))
    return answers


def _ends(table: CountTable) -> list[tuple[int, int]]:
    return [(part.low, part.high) for _, part in named_parts(table)]


@given(PARTS, st.sampled_from(Profile), st.integers(0, 15))
@settings(max_examples=40)
def test_no_solver_narrows_a_hidden_count(
    make_rules: MakeRules, parts: list[int], profile: Profile, threshold: int
) -> None:
    rules = make_rules(profile, threshold=threshold)
    table = hide_small_counts(parts[:-1], parts[-1], rules)
    assert solved([(ATLAS_A, table)], 0) == _ends(table)


@given(PARTS, st.sampled_from(Profile), st.integers(0, 15))
def test_what_leaves_is_true(make_rules: MakeRules, parts: list[int], profile: Profile, threshold: int) -> None:
    table = hide_small_counts(parts[:-1], parts[-1], make_rules(profile, threshold=threshold))
    assert all(low <= cells <= high for cells, (low, high) in zip(parts, _ends(table), strict=True))
    assert table.total.low <= sum(parts) <= table.total.high


@given(st.sampled_from(Profile), st.integers(0, 15), st.integers(0, 60))
def test_an_interval_tells_no_more_of_its_part_than_that_it_lies_within(
    make_rules: MakeRules, profile: Profile, threshold: int, cells: int
) -> None:
    # Every value of the interval would have left as the same interval: the choice of interval is no second message.
    rules = make_rules(profile, threshold=threshold)
    interval = interval_of(cells, rules)
    assert all(interval_of(other, rules) == interval for other in range(interval.low, interval.high + 1))


@given(st.integers(0, 15), st.integers(1, 60))
def test_a_small_count_is_never_exact(make_rules: MakeRules, threshold: int, cells: int) -> None:
    for profile in (Profile.STANDARD, Profile.STRICT):
        rules = make_rules(profile, threshold=threshold)
        assert interval_of(cells, rules).is_exact <= (cells >= threshold and profile is Profile.STANDARD)


@given(st.integers(0, 15))
def test_zero_is_shown_as_zero_only_where_the_profile_says_so(make_rules: MakeRules, threshold: int) -> None:
    assert not interval_of(0, make_rules(Profile.STRICT, threshold=threshold)).is_exact
    standard = make_rules(Profile.STANDARD, threshold=threshold)
    # A threshold of 2 would hide the count 1 alone, which hides nothing: zero joins it.
    assert interval_of(0, standard).is_exact == (threshold != 2)


def test_each_profile_on_one_table(make_rules: MakeRules) -> None:
    parts = (1200, 500, 290, 7, 3, 0)
    shown = {
        profile: [
            part.low if part.is_exact else (part.low, part.high)
            for _, part in named_parts(hide_small_counts(parts, 12, make_rules(profile)))
        ]
        for profile in Profile
    }
    assert shown[Profile.OPEN] == [1200, 500, 290, 7, 3, 0, 12]
    assert shown[Profile.STANDARD] == [1200, 500, 290, 7, (1, 4), 0, 12]
    assert shown[Profile.STRICT] == [(1200, 1204), (500, 504), (290, 294), (0, 9), (0, 9), (0, 9), (10, 14)]


def test_the_single_hidden_cell_is_not_given_back(make_rules: MakeRules) -> None:
    table = hide_small_counts((1200, 500, 290, 7, 3), 0, make_rules())
    assert table.counts[4] == Count(low=1, high=4)
    assert table.total == Count(low=1998, high=2001)
    exact_total = CountTable(counts=table.counts, unassigned=table.unassigned, total=Count.exactly(2000))
    bounds = implied_bounds(exact_total, (), ATLAS_A)
    assert bounds is not None
    assert bounds.counts[4] == Count.exactly(3)


TABLES = st.lists(
    st.tuples(
        st.sampled_from([ATLAS_A, ATLAS_B]),
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=3, max_size=3),
        st.tuples(st.integers(0, 18), st.integers(0, 6)),
    ),
    min_size=1,
    max_size=4,
)


def _table(parts: list[tuple[int, int]], total: tuple[int, int]) -> CountTable:
    counts = tuple(Count(low=low, high=low + width) for low, width in parts)
    return CountTable(counts=counts[:-1], unassigned=counts[-1], total=Count(low=total[0], high=sum(total)))


@given(TABLES)
@settings(max_examples=60)
def test_the_bounds_are_exactly_what_a_solver_finds(
    drawn: list[tuple[Sha256, list[tuple[int, int]], tuple[int, int]]],
) -> None:
    tables = [(atlas, _table(parts, total)) for atlas, parts, total in drawn]
    (atlas, current), *earlier = tables
    bounds = implied_bounds(current, earlier, atlas)
    assert (None if bounds is None else _ends(bounds)) == solved(tables, 0)


SLACK = st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(
    parts=st.tuples(*[st.lists(st.integers(0, 9), min_size=3, max_size=3)] * 2),
    releases=st.lists(
        st.tuples(st.sampled_from([0, 1]), st.lists(SLACK, min_size=3, max_size=3), SLACK), min_size=1, max_size=4
    ),
)
@settings(max_examples=50)
def test_the_bounds_are_exactly_what_a_solver_finds_in_true_tables(
    parts: tuple[list[int], list[int]], releases: list[tuple[int, list[tuple[int, int]], tuple[int, int]]]
) -> None:
    # Two tables of one total, each released one or more times in intervals that hold the truth.
    missing = sum(parts[0]) - sum(parts[1])
    parts[int(missing > 0)][0] += abs(missing)
    total = sum(parts[0])
    tables = [
        (
            (ATLAS_A, ATLAS_B)[which],
            _table(
                [_around(part, slack) for part, slack in zip(parts[which], slacks, strict=True)],
                _around(total, total_slack),
            ),
        )
        for which, slacks, total_slack in releases
    ]
    (atlas, current), *earlier = tables
    bounds = implied_bounds(current, earlier, atlas)
    assert bounds is not None
    assert _ends(bounds) == solved(tables, 0)


def _around(value: int, slack: tuple[int, int]) -> tuple[int, int]:
    """Return the low end and the width of an interval that holds ``value``."""
    low = max(0, value - slack[0])
    return low, value + slack[1] - low
