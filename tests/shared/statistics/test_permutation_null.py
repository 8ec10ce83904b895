"""The null distribution: exact by two roads, drawn reproducibly, and the same as scipy's for the same draws."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test as scipy_permutation_test
from scipy.stats import spearmanr

from shared.statistics.arrays import FloatArray, Tail
from shared.statistics.exact import can_be_exact, exact_p
from shared.statistics.permutation import (
    drawn_orders,
    every_order,
    permutation_test,
    smallest_reachable_p,
    tally_permutations,
)
from shared.statistics.ranks import RankedDesign, rank_design

_TAILS: tuple[Tail, ...] = ("two-sided", "greater", "less")


@settings(max_examples=80)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 12),
    st.integers(2, 12),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
)
def test_counting_equals_visiting_every_order(seed: int, values_x: int, values_y: int, sizes: list[int]) -> None:
    generator = np.random.default_rng(seed)
    strata = np.repeat(np.arange(len(sizes)), sizes)
    design = rank_design(
        generator.integers(0, values_x, (len(strata), 2)), generator.integers(0, values_y, len(strata)), strata
    )
    for tail in _TAILS:
        visited = tally_permutations(design, tail, every_order(design))
        varies = np.array([square != 0 and design.square_y != 0 for square in design.square_x])
        expected = np.where(varies, visited.column / visited.orders, 1.0)
        assert exact_p(design, *design.thresholds(tail)) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 7, 8])
def test_one_stratum_counts_as_visited_whatever_its_size(n: int) -> None:
    generator = np.random.default_rng(n)
    design = rank_design(generator.integers(0, 5, (n, 3)), generator.integers(0, 5, n), np.zeros(n))
    for tail in _TAILS:
        visited = tally_permutations(design, tail, every_order(design))
        varies = np.array([square != 0 and design.square_y != 0 for square in design.square_x])
        expected = np.where(varies, visited.column / visited.orders, 1.0)
        np.testing.assert_array_equal(exact_p(design, *design.thresholds(tail)), expected)


def test_exact_spearman_p_from_r() -> None:
    # R 4.2.2: cor.test(1:9, c(4,7,1,6,9,2,8,3,5), method = "spearman", exact = TRUE)$p.value; with alternative "less".
    design = rank_design(np.array([4, 7, 1, 6, 9, 2, 8, 3, 5])[:, None], np.arange(9), np.zeros(9))
    assert exact_p(design, *design.thresholds("two-sided"))[0] == pytest.approx(0.948390652557319, abs=1e-14)
    assert exact_p(design, *design.thresholds("less"))[0] == pytest.approx(0.544190917107584, abs=1e-14)


@pytest.mark.parametrize("ties", [False, True])
def test_fourteen_units_are_counted_in_full(ties: bool) -> None:  # noqa: FBT001 - a parameter of the test
    # Independent of the counting: 200,000 draws bound the exact p within four standard errors.
    generator = np.random.default_rng(14)
    values = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11] if ties else range(14), dtype=np.float64)
    design = rank_design(generator.permutation(values)[:, None], generator.permutation(values), np.zeros(14))
    exact = exact_p(design, *design.thresholds("two-sided"))[0]
    drawn = tally_permutations(design, "two-sided", drawn_orders(design, 200_000, (5,)))
    share = drawn.column[0] / drawn.orders
    assert abs(exact - share) < 4 * (share * (1 - share) / drawn.orders) ** 0.5
    assert (exact * 87_178_291_200) == pytest.approx(round(exact * 87_178_291_200), abs=1e-4)  # a whole number of 14!


@pytest.mark.parametrize(("n", "expected"), [(14, True), (15, False)])
def test_one_stratum_is_exact_up_to_fourteen(n: int, expected: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert can_be_exact(rank_design(np.arange(n)[:, None], np.arange(n), np.zeros(n))) is expected


def _large(sites: int = 3) -> RankedDesign:
    generator = np.random.default_rng(1)
    n = 300
    return rank_design(generator.integers(0, 40, (n, 5)), generator.integers(0, 40, n), generator.integers(0, sites, n))


def test_the_number_of_threads_and_the_size_of_blocks_do_not_show() -> None:
    design = _large()
    one = permutation_test(design, "two-sided", draws=2_000, entropy=(1, 2), threads=1)
    many = permutation_test(design, "two-sided", draws=2_000, entropy=(1, 2), threads=4)
    np.testing.assert_array_equal(one.p, many.p)
    np.testing.assert_array_equal(one.p_adjusted, many.p_adjusted)
    # The same orders in other blocks give the same counts: sums are whole numbers.
    orders = np.concatenate([block() for block in drawn_orders(design, 2_000, (1, 2))])
    counts = [
        tally_permutations(design, "two-sided", (partial(np.copy, part) for part in np.array_split(orders, parts)))
        for parts in (1, 7)
    ]
    np.testing.assert_array_equal(counts[0].column, counts[1].column)
    np.testing.assert_array_equal(counts[0].family, counts[1].family)


def test_another_stream_gives_other_draws() -> None:
    design = _large()
    one, other = (permutation_test(design, "two-sided", draws=500, entropy=(seed,)) for seed in (1, 2))
    assert (one.p != other.p).any()


def test_draws_stay_within_their_stratum() -> None:
    design = _large(sites=7)
    for block in drawn_orders(design, 20, (0,)):
        for units in design.strata.members:
            np.testing.assert_array_equal(
                np.sort(block()[:, units], axis=1), np.broadcast_to(np.sort(design.y[units]), (20, len(units)))
            )


def test_drawn_p_agrees_with_exact_p() -> None:
    generator = np.random.default_rng(8)
    design = rank_design(generator.integers(0, 9, (13, 4)), generator.integers(0, 9, 13), np.zeros(13))
    exact = exact_p(design, *design.thresholds("two-sided"))
    drawn = tally_permutations(design, "two-sided", drawn_orders(design, 50_000, (3,)))
    error = np.sqrt(exact * (1 - exact) / drawn.orders)
    assert (np.abs(drawn.column / drawn.orders - exact) <= 4 * error + 1e-12).all()


def test_scipy_gives_the_same_p_for_the_same_draws() -> None:
    generator = np.random.default_rng(11)
    x, y = generator.integers(0, 8, 11).astype(np.float64), generator.integers(0, 8, 11).astype(np.float64)
    orders: list[FloatArray] = []

    def statistic(permuted: FloatArray) -> float:
        orders.append(permuted.copy())
        return float(spearmanr(permuted, y).statistic)

    theirs = scipy_permutation_test(
        (x,), statistic, permutation_type="pairings", n_resamples=500, alternative="greater", rng=generator
    )
    design = rank_design(y[:, None], x, np.zeros(11))
    of_value = dict(zip(x.tolist(), design.y.tolist(), strict=True))
    drawn = np.array([[of_value[value] for value in order] for order in orders[-500:]], dtype=np.float64)
    ours = tally_permutations(design, "greater", iter([lambda: drawn]))
    assert (ours.column[0] + 1) / (ours.orders + 1) == theirs.pvalue


def test_a_single_column_needs_no_draws_for_its_adjusted_p() -> None:
    generator = np.random.default_rng(2)
    design = rank_design(generator.random((12, 1)), generator.random(12), np.zeros(12))
    test = permutation_test(design, "two-sided", draws=99, entropy=(0,))
    assert (test.method_adjusted, test.draws) == ("exact", 0)
    np.testing.assert_array_equal(test.p_adjusted, test.p)


@pytest.mark.parametrize(
    ("y", "strata", "tail", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 0, 0], "two-sided", 2 / 24),
        ([1, 2, 3, 4], [0, 0, 0, 0], "greater", 1 / 24),
        ([1, 2, 2, 3], [0, 0, 0, 0], "two-sided", 2 / 12),
        ([1, 1, 2, 3], [0, 0, 0, 0], "two-sided", 1 / 12),
        ([1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 1, 1, 2, 2, 3, 3], "two-sided", 0.125),
        ([1, 1], [0, 0], "two-sided", 1.0),
    ],
)
def test_smallest_reachable_p(y: list[int], strata: list[int], tail: Tail, expected: float) -> None:
    design = rank_design(np.arange(len(y))[:, None], y, strata)
    assert smallest_reachable_p(design, tail) == expected


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.sampled_from(_TAILS))
def test_no_shares_bring_a_p_below_the_smallest_reachable_one(seed: int, sizes: list[int], tail: Tail) -> None:
    generator = np.random.default_rng(seed)
    strata = np.repeat(np.arange(len(sizes)), sizes)
    design = rank_design(generator.integers(0, 5, (len(strata), 6)), generator.integers(0, 5, len(strata)), strata)
    assert (exact_p(design, *design.thresholds(tail)) >= smallest_reachable_p(design, tail) - 1e-12).all()


def test_a_thousand_strata_do_not_overflow() -> None:
    generator = np.random.default_rng(4)
    n = 3_000
    design = rank_design(generator.random((n, 2)), generator.random(n), np.repeat(np.arange(1_000), 3))
    assert smallest_reachable_p(design, "two-sided") == 0.0  # 1 / 6^1000 is below the smallest float
    test = permutation_test(design, "two-sided", draws=99, entropy=(0,))
    assert ((test.p > 0) & (test.p <= 1)).all()
