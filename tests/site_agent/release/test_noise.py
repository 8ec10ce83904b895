"""The noise itself: its exact distribution, what it costs, and what becomes of a lot's counts under it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shared.statistics.count_noise import L1_SENSITIVITY, noise_scale, noise_variance, share_noise_variance
from site_agent.release.noise import _measurement, discrete_laplace, noised_counts, noised_lot
from site_agent.release.summaries import MappedLot

EPSILONS = st.floats(0.001, 10)
N_DRAWS = 40_000


def _law(epsilon: float) -> Any:  # noqa: ANN401 - scipy's frozen distribution
    return stats.dlaplace(1 / noise_scale(epsilon))


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0])
def test_the_mechanism_draws_the_discrete_laplace_distribution(epsilon: float) -> None:
    # Chi-square over the values that are expected at least 20 times; a sound mechanism fails once in a million runs.
    drawn = np.array(discrete_laplace([700] * N_DRAWS, epsilon)) - 700
    reach = int(max(k for k in range(200) if N_DRAWS * _law(epsilon).pmf(k) >= 20))
    values = np.arange(-reach, reach + 1)
    expected = N_DRAWS * _law(epsilon).pmf(values)
    seen = np.array([np.count_nonzero(drawn == value) for value in values])
    rest_seen, rest_expected = N_DRAWS - seen.sum(), N_DRAWS - expected.sum()
    statistic = ((seen - expected) ** 2 / expected).sum() + (rest_seen - rest_expected) ** 2 / rest_expected
    assert stats.chi2.sf(statistic, df=len(values)) > 1e-6


def test_each_count_bears_noise_of_its_own() -> None:
    drawn = np.array([discrete_laplace([0] * 4, 1.0) for _ in range(4_000)])
    correlation = np.corrcoef(drawn.T) - np.eye(4)
    assert np.abs(correlation).max() < 6 / np.sqrt(4_000)  # six standard errors


@given(EPSILONS)
def test_the_mechanism_vouches_for_no_more_than_epsilon(epsilon: float) -> None:
    cost = _measurement(epsilon).map(L1_SENSITIVITY)
    assert epsilon * (1 - 1e-9) <= cost <= epsilon


@given(EPSILONS, st.integers(-40, 40), st.integers(-40, 40))
def test_replacing_one_cell_changes_no_outcomes_probability_by_more_than_epsilon(
    epsilon: float, gained: int, lost: int
) -> None:
    # The cell leaves one count and enters another; the two draws are independent.
    law = _law(epsilon)
    ratio = law.logpmf(gained - 1) - law.logpmf(gained) + law.logpmf(lost + 1) - law.logpmf(lost)
    assert abs(ratio) <= epsilon * (1 + 1e-9)


@given(EPSILONS)
def test_the_variance_is_that_of_the_distribution(epsilon: float) -> None:
    assert noise_variance(epsilon) == pytest.approx(_law(epsilon).var(), rel=1e-6)


def test_what_noise_adds_to_a_shares_variance_is_what_draws_show() -> None:
    # By 40,000 draws of the whole table; the standard error of a variance is its 1/140th, three of them 2%, and the
    # first order is good to 1% where the noise is a hundredth of the cells.
    counts = np.array([1_200, 500, 200, 60, 40])
    noise = _law(0.5).rvs((40_000, 5), random_state=np.random.default_rng(3))
    noised = counts + noise
    shares = noised[:, :4] / noised.sum(axis=1, keepdims=True)
    expected = share_noise_variance(
        counts[None, :4] / counts.sum(), np.array([counts.sum()]), np.array([noise_variance(0.5)]), 5
    )
    assert shares.var(axis=0) == pytest.approx(expected[0], rel=0.03)


@given(st.lists(st.integers(-50, 3_000), min_size=3, max_size=12))
def test_no_noised_count_is_negative_and_the_total_is_the_sum_of_what_leaves(drawn: list[int]) -> None:
    exact = MappedLot(
        counts=(5,) * (len(drawn) - 1),
        unassigned=5,
        cells_after_qc=5 * len(drawn),
        median_counts=1.0,
        median_genes=1.0,
        median_mitochondrial_share=None,
        gene_coverage=1.0,
    )
    lot = noised_lot(exact, drawn)
    assert (*lot.counts, lot.unassigned) == noised_counts(drawn)
    assert min(*lot.counts, lot.unassigned) >= 0
    assert lot.cells_after_qc == sum(lot.counts) + lot.unassigned
    assert (lot.median_counts, lot.gene_coverage) == (exact.median_counts, exact.gene_coverage)
