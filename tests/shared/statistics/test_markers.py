"""Moments merge exactly in any partition; the tests of markers agree with scipy, and hold their level."""

from math import sqrt

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.errors import InputError
from shared.statistics.enrichment import enrich
from shared.statistics.markers import (
    few_cells,
    log2_fold_change_of_means,
    lot_differences,
    paired_test,
    welch_t,
)
from shared.statistics.moments import Moments, stacked

Values = NDArray[np.float64]


def moments_of(groups: list[Values]) -> Moments:
    """Return the moments of groups of cells, each ``(n, G)`` of log1p values."""
    return Moments(
        cells=np.array([float(len(each)) for each in groups]),
        mean=np.array([each.mean(axis=0) for each in groups]),
        m2=np.array([((each - each.mean(axis=0)) ** 2).sum(axis=0) for each in groups]),
        sum_expm1=np.array([np.expm1(each).sum(axis=0) for each in groups]),
        nonzero=np.array([(each > 0).sum(axis=0).astype(float) for each in groups]),
    )


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    shift=st.sampled_from([0.0, 9.0, 1e4]),
)
def test_merging_equals_pooling_in_any_partition(seed: int, sizes: list[int], shift: float) -> None:
    rng = np.random.default_rng(seed)
    groups = [shift + rng.normal(0, 1, (size, 3)) for size in sizes]
    pooled = np.concatenate(groups)
    with np.errstate(over="ignore"):
        merged = stacked([moments_of([each]) for each in groups]).merged()
    assert merged.cells.tolist() == [float(sum(sizes))] * 3
    np.testing.assert_allclose(merged.mean, pooled.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(merged.m2, ((pooled - pooled.mean(axis=0)) ** 2).sum(axis=0), rtol=1e-9, atol=1e-9)


def test_a_group_that_does_not_know_a_gene_is_passed_over_for_that_gene_alone() -> None:
    known = moments_of([np.array([[1.0, 2.0], [3.0, 4.0]])])
    other = moments_of([np.array([[5.0, 6.0]])])
    blind = Moments(
        cells=other.cells,
        mean=np.array([[np.nan, 6.0]]),
        m2=other.m2,
        sum_expm1=other.sum_expm1,
        nonzero=other.nonzero,
    )
    merged = stacked([known, blind]).merged()
    assert merged.mean.tolist() == [2.0, 4.0]
    assert merged.cells.tolist() == [2.0, 3.0]


def test_parts_over_different_genes_are_refused() -> None:
    with pytest.raises(InputError, match="same genes"):
        stacked([moments_of([np.ones((2, 2))]), moments_of([np.ones((2, 3))])])


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 12))
def test_the_paired_test_is_scipys(seed: int, n: int) -> None:
    values = np.random.default_rng(seed).normal(0.3, 1.0, (n, 4))
    found, expected = paired_test(values), scipy.stats.ttest_1samp(values, 0.0)
    np.testing.assert_allclose(found.t, expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(found.p, expected.pvalue, rtol=1e-10)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose(found.low, interval.low, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.high, interval.high, rtol=1e-9, atol=1e-12)


def test_all_sign_flips_are_scipys_exact_permutation() -> None:
    values = np.random.default_rng(5).normal(0.5, 1.0, (9, 3))
    expected = [
        scipy.stats.permutation_test(
            (values[:, g],), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=2**9
        ).pvalue
        for g in range(3)
    ]
    np.testing.assert_allclose(paired_test(values).p_sign_flip, expected, rtol=1e-12)


def test_drawn_sign_flips_are_near_the_exact_ones_and_repeat() -> None:
    values = np.random.default_rng(6).normal(0.3, 1.0, (16, 2))
    found = paired_test(values, entropy=(3,))
    assert (found.p_sign_flip == paired_test(values, entropy=(3,)).p_sign_flip).all()
    np.testing.assert_allclose(found.p_sign_flip, found.p, atol=0.03)


def test_fewer_than_three_units_give_no_number_and_equal_lots_no_evidence() -> None:
    assert np.isnan(paired_test(np.array([[1.0], [2.0]])).p).all()
    still = paired_test(np.zeros((5, 1)))
    assert (still.t[0], still.p[0], still.p_sign_flip[0]) == (0.0, 1.0, 1.0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_a_shift_of_a_whole_lot_does_not_show_in_its_difference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [rng.normal(2, 1, (int(rng.integers(20, 60)), 2)) for _ in range(6)]
    lots, clusters = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2])
    plain = lot_differences(moments_of(groups), lots, clusters, 1)
    moved = lot_differences(moments_of([*groups[:3], *(each + 5.0 for each in groups[3:])]), lots, clusters, 1)
    np.testing.assert_allclose(plain, moved, atol=1e-9)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_welchs_t_from_moments_is_scipys_from_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (np.maximum(rng.normal(1, 1, (int(rng.integers(5, 80)), 3)), 0) for _ in range(2))
    found = welch_t(moments_of([one[:3], one[3:]]).merged(), moments_of([other]).merged())
    np.testing.assert_allclose(found, scipy.stats.ttest_ind(one, other, equal_var=False).statistic, rtol=1e-9)
    change = log2_fold_change_of_means(moments_of([one]).merged(), moments_of([other]).merged())
    np.testing.assert_allclose(change, np.log2((np.expm1(one).mean(0) + 1) / (np.expm1(other).mean(0) + 1)), rtol=1e-9)


def test_what_stands_for_few_cells_are_the_moments_of_such_cells() -> None:
    cells = np.zeros((50, 1))
    cells[:5] = np.log1p(1e4 / 2_000)
    expected = moments_of([cells])
    mean, m2, scaled = few_cells(np.array([50.0]), 10, 2_000.0)
    np.testing.assert_allclose([mean, m2, scaled], [expected.mean[0], expected.m2[0], expected.sum_expm1[0]])


def test_the_lot_paired_test_holds_its_level_where_the_cell_level_one_does_not() -> None:
    # 8 lots of 150 and 600 cells, no true marker; a lot moves a gene in a cluster by N(0, .1^2) beyond its own batch.
    rng = np.random.default_rng(20261120)
    n_studies, genes, lots = 60, 20, 8
    paired, cell_level = 0, 0
    for _ in range(n_studies):
        batch = rng.normal(1.0, 0.3, (lots, 1, genes)) + rng.normal(0, 0.1, (lots, 2, genes))
        sizes = np.array([150.0, 600.0])
        means = batch + rng.standard_normal(batch.shape) * 0.8 / np.sqrt(sizes)[None, :, None]
        m2 = 0.8**2 * rng.chisquare(sizes - 1, (lots, genes, 2)).swapaxes(1, 2)
        flat = (2 * lots, genes)
        blank = np.zeros(flat)
        moments = Moments(
            cells=np.tile(sizes, lots), mean=means.reshape(flat), m2=m2.reshape(flat), sum_expm1=blank, nonzero=blank
        )
        cluster = np.tile([0, 1], lots)
        differences = lot_differences(moments, np.repeat(np.arange(lots), 2), cluster, 0)
        paired += int((paired_test(differences).p <= 0.05).sum())
        t = welch_t(moments.of(cluster == 0).merged(), moments.of(cluster == 1).merged())
        cell_level += int((np.abs(t) > 1.96).sum())
    trials = n_studies * genes
    assert abs(paired / trials - 0.05) <= 3 * sqrt(0.05 * 0.95 / trials)
    assert cell_level / trials > 0.2


def test_enrichment_is_fishers_exact_test_over_the_background_alone() -> None:
    background = [f"g{number}" for number in range(40)]
    sets = {"hit": [*background[:6], "outside"], "miss": background[20:30], "single": ["g39"]}
    hit, miss = enrich(background[:8], background, sets)
    assert (hit.name, hit.overlap, hit.in_background, hit.markers, hit.background) == (
        "hit",
        tuple(background[:6]),
        6,
        8,
        40,
    )
    assert miss.p_value == 1.0
    expected = scipy.stats.fisher_exact(np.array([[6, 2], [0, 32]]), alternative="greater").pvalue
    assert hit.p_value == pytest.approx(expected, rel=1e-9)
    assert hit.q_value == pytest.approx(2 * expected, rel=1e-9)
