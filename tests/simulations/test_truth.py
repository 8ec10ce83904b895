"""The generative model: laws first, then its moments against the formulas that define it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DesignError, InputError
from simulations.design import Block, even_design, expand
from simulations.effect_size import slope_for_correlation
from simulations.truth import Driver, Model, SimulatedStudy, simulate_study, to_study_data

_ONE_DRIVER = Model(drivers=(Driver(cluster=3),))
_BLOCKS = (
    Block(site="b", donors=2, lots_per_donor=2),
    Block(site="a", donors=3),
    Block(site="b", donors=1, tissue="UC", cohort="validation"),
)


def _study(model: Model, seed: int = 0, blocks: tuple[Block, ...] = _BLOCKS) -> SimulatedStudy:
    return simulate_study(model, blocks, np.random.default_rng(seed))


def _within_sites(values: np.ndarray, n_sites: int) -> np.ndarray:
    table = values.reshape(n_sites, -1)
    return np.asarray((table - table.mean(axis=1, keepdims=True)).ravel())


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    sites=st.integers(1, 5),
    lots=st.integers(1, 6),
    shares=st.lists(st.floats(0.001, 1.0), min_size=2, max_size=12),
)
def test_every_cell_of_a_lot_is_in_one_cluster_or_unassigned(
    seed: int, sites: int, lots: int, shares: list[float]
) -> None:
    closed = tuple(share / sum(shares) for share in shares)
    study = _study(Model(base_shares=closed), seed, even_design(sites=sites, lots_per_site=lots))
    assert np.array_equal(study.counts.sum(axis=1) + study.unassigned, study.totals)
    assert study.counts.min() >= 0
    assert 1_500 <= study.totals.min() <= study.totals.max() <= 4_000
    np.testing.assert_allclose(study.true_shares.sum(axis=1), 1.0)
    assert (study.replicates > 0).all()
    assert (study.references > 0).all()


def test_the_same_generator_state_gives_the_same_study() -> None:
    first, again, other = _study(_ONE_DRIVER, 5), _study(_ONE_DRIVER, 5), _study(_ONE_DRIVER, 6)
    assert np.array_equal(first.counts, again.counts)
    assert np.array_equal(first.replicates, again.replicates)
    assert not np.array_equal(first.counts, other.counts)


def test_lots_are_sorted_by_site_and_lot_and_keep_their_donor() -> None:
    design = expand(_BLOCKS)
    assert list(zip(design.sites, design.lots, strict=True)) == sorted(zip(design.sites, design.lots, strict=True))
    assert design.n_donors == len(set(design.donors)) == 6
    assert design.sites == ("a", "a", "a", "b", "b", "b", "b", "b")
    assert design.donors[3] == design.donors[4] != design.donors[5]
    assert design.tissues[-1] == "UC"
    assert design.cohorts[-1] == "validation"


@pytest.mark.parametrize("blocks", [(), (Block(site="a", donors=0),), (Block(site="a", donors=1, lots_per_donor=0),)])
def test_a_design_without_lots_is_refused(blocks: tuple[Block, ...]) -> None:
    with pytest.raises(InputError, match="at least one block"):
        expand(blocks)


def test_study_data_is_what_was_counted_and_measured() -> None:
    study = _study(_ONE_DRIVER)
    data = to_study_data(study)
    assert np.array_equal(data.counts_low, study.counts)
    assert np.array_equal(data.totals_high, study.totals)
    ((run, values, references),) = data.potency["vegf"].runs[2]
    assert run == study.runs[2]
    assert values == tuple(study.replicates[2])
    assert references == tuple(study.references[2])


# 1e5 lots: the standard error of r is (1 - r^2)/316 < .0032, so .01 is above three of them.
@pytest.mark.parametrize(("correlation", "site_sd"), [(0.0, 0.3), (0.3, 0.3), (0.7, 0.0), (0.9, 0.3)])
def test_slope_gives_the_wanted_correlation_within_sites(correlation: float, site_sd: float) -> None:
    model = replace(_ONE_DRIVER, site_composition_sd=site_sd, process_sd=0.35)
    model = replace(model, slope=slope_for_correlation(model, correlation))
    study = _study(model, 1, even_design(sites=400, lots_per_site=250))
    share, potency = (_within_sites(values, 400) for values in (study.shares[:, 3], study.log_relative_potency))
    assert np.corrcoef(share, potency)[0, 1] == pytest.approx(correlation, abs=0.01)


def test_slope_gives_the_wanted_correlation_of_the_first_of_two_drivers() -> None:
    model = replace(
        Model(site_composition_sd=0.0), drivers=(Driver(cluster=1, weight=2.0), Driver(cluster=4, weight=-1.0))
    )
    model = replace(model, slope=slope_for_correlation(model, 0.6))
    study = _study(model, 2, even_design(sites=1, lots_per_site=100_000))
    assert np.corrcoef(study.shares[:, 1], study.log_relative_potency)[0, 1] == pytest.approx(0.6, abs=0.01)


def test_a_correlation_beyond_counting_error_is_refused() -> None:
    few_cells = replace(_ONE_DRIVER, cells_low=20, cells_high=20)
    with pytest.raises(DesignError, match="expected a correlation in") as refusal:
        slope_for_correlation(few_cells, 0.9)
    assert refusal.value.code == "unreachable-correlation"


def test_composition_has_the_variance_of_its_chain_of_dirichlets() -> None:
    model = Model(site_composition_sd=0.0)
    study = _study(model, 3, even_design(sites=1, lots_per_site=40_000))
    base = np.array(model.base_shares)
    expected = base * (1 - base) * (1 - (1 - 1 / 121) * (1 - 1 / 61))
    # The relative standard error of a variance over 40,000 lots is about sqrt((kurtosis-1)/40000) < .012.
    np.testing.assert_allclose(study.true_shares.var(axis=0), expected, rtol=0.04)
    np.testing.assert_allclose(study.true_shares.mean(axis=0), base, atol=4 * np.sqrt(expected.max() / 40_000))


def test_reference_of_the_run_cancels_assay_and_run_but_not_process() -> None:
    exact = replace(_ONE_DRIVER, slope=5.0, assay_sd=2.0, run_sd=1.0, replicate_sd=0.0, process_sd=0.5)
    study = _study(exact, 4, even_design(sites=6, lots_per_site=4))
    np.testing.assert_allclose(study.log_relative_potency, study.true_log_potency, atol=1e-9)
    site_means = study.true_log_potency.reshape(6, 4).mean(axis=1)
    assert site_means.std() > 0.1


def test_potency_is_the_sum_that_the_model_writes_down() -> None:
    silent = replace(_ONE_DRIVER, slope=5.0, donor_sd=0.0, lot_sd=0.0)
    study = _study(silent)
    of_tissue = {"BM": (0.0, 1.0), "UC": (-1.2, 0.0)}
    level, activity = np.array([of_tissue[tissue] for tissue in study.tissues]).T
    expected = np.log(2.0) + level + activity * 5.0 * study.true_shares[:, 3]
    np.testing.assert_allclose(study.true_log_potency, expected, atol=1e-12)


def test_an_outlier_shift_moves_one_lot_only() -> None:
    plain, shifted = _study(_ONE_DRIVER, 7), _study(replace(_ONE_DRIVER, outlier_shift=2.0), 7)
    difference = shifted.true_log_potency - plain.true_log_potency
    assert sorted(np.round(difference, 9)) == [0.0] * 7 + [2.0]
