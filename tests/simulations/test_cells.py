"""Counts level to cells: what was counted is what is drawn, and the programmes are there."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse, stats

from simulations.cells import CellModel, LotOfCells, _poisson_csr, cells_of_lots, lots_of_cells, simulated_anndata
from simulations.design import Block
from simulations.gene_panel import MARKER, gene_panel
from simulations.scenarios import scenario_named
from simulations.truth import simulate_study

_BLOCKS = (Block(site="a", donors=2), Block(site="b", donors=1, tissue="UC"))


def _lots(seed: int = 0) -> tuple[LotOfCells, ...]:
    model = replace(scenario_named("uc-without-marker").model, cells_low=900, cells_high=1_100)
    study = simulate_study(model, _BLOCKS, np.random.default_rng(seed))
    return lots_of_cells(study, model, seed=seed)


def _marker_share(lot: LotOfCells, label: str) -> float:
    cells = simulated_anndata(lot, labels=True)
    chosen = cells[cells.obs["label"] == label]
    return float(chosen[:, MARKER].X.sum() / chosen.X.sum())


def test_each_cluster_has_as_many_cells_as_were_counted() -> None:
    lot = _lots()[0]
    cells = simulated_anndata(lot, labels=True)
    counted = cells.obs["label"].value_counts().reindex([*lot.clusters, "unassigned"]).to_numpy()
    assert counted.tolist() == list(lot.cells_per_state)


def test_cells_are_integer_counts_in_canonical_csr_with_unique_names() -> None:
    cells = simulated_anndata(_lots()[0])
    assert isinstance(cells.X, sparse.csr_matrix)
    assert cells.X.dtype == np.int32
    assert cells.X.has_canonical_format
    assert cells.X.data.min() >= 1
    assert cells.obs_names.is_unique
    assert cells.var_names.is_unique
    assert cells.var["gene_ids"].is_unique
    assert cells.n_vars == 1_200
    assert list(cells.obs.columns) == ["lot"]


def test_a_lots_cells_do_not_depend_on_the_other_lots() -> None:
    lots = _lots(4)
    alone = simulated_anndata(lots[1])
    together = cells_of_lots(lots)
    among = together[together.obs["lot"] == lots[1].lot]
    assert np.array_equal(alone.X.toarray(), among.X.toarray())
    other_seed = simulated_anndata(replace(lots[1], lot_seed=np.random.SeedSequence(9)))
    assert not np.array_equal(alone.X.toarray(), other_seed.X.toarray())


# 200,000 draws of each mean; the smallest expected number of a class is 5, and the test fails by chance once in 10,000.
@pytest.mark.parametrize("mean", [0.003, 0.4, 2.5, 11.9, 12.1, 80.0])
def test_counts_follow_the_poisson_distribution_of_their_mean(mean: float) -> None:
    means = np.full((200, 1_000), mean, dtype=np.float32)
    counts = _poisson_csr(np.random.default_rng(8), means).toarray().ravel()
    observed = np.bincount(counts)
    expected = stats.poisson.pmf(np.arange(len(observed)), mean) * len(counts)
    common = expected >= 5
    observed_classes = np.append(observed[common], observed[~common].sum())
    expected_classes = np.append(expected[common], len(counts) - expected[common].sum())
    assert stats.chisquare(observed_classes, expected_classes).pvalue > 1e-4


def test_means_of_different_size_in_one_matrix_stay_with_their_entry() -> None:
    rng = np.random.default_rng(1)
    means = np.tile(np.exp(rng.normal(0, 2, size=50)).astype(np.float32), (4_000, 1))
    counts = _poisson_csr(rng, means).toarray()
    # Five standard errors of each mean, for 50 means at once.
    assert (np.abs(counts.mean(axis=0) - means[0]) < 5 * np.sqrt(means[0] / 4_000)).all()


def test_cells_are_overdispersed_by_the_gamma_and_by_their_library() -> None:
    lot = replace(_lots()[0], cells_per_state=(4_000, 0, 0, 0, 0, 0, 0))
    counts = simulated_anndata(lot).X.toarray()
    mean, variance = counts.mean(axis=0), counts.var(axis=0)
    abundant = mean > 4
    # var = m + m^2 ((1 + 1/4) exp(.35^2) - 1); nuclear genes lose a little of the library to the mitochondria.
    expected = mean + mean**2 * (1.25 * np.exp(0.35**2) - 1)
    assert np.median(variance[abundant] / expected[abundant]) == pytest.approx(1.0, abs=0.1)


def test_mitochondrial_genes_hold_their_share_in_every_state() -> None:
    cells = simulated_anndata(_lots()[0])
    mitochondrial = cells.var_names.str.startswith("MT-")
    share = np.asarray(cells.X[:, np.flatnonzero(mitochondrial)].sum(axis=1) / cells.X.sum(axis=1)).ravel()
    assert mitochondrial.sum() == 13
    assert np.median(share) == pytest.approx(0.06, abs=0.02)
    assert 0.001 < share.std() < 0.05


def test_the_driver_carries_the_marker_and_umbilical_cord_does_not_express_it() -> None:
    marrow, _, cord = _lots()
    elsewhere = _marker_share(marrow, "cluster 0")
    assert _marker_share(marrow, "cluster 3") > 4 * elsewhere
    assert _marker_share(cord, "cluster 3") < 0.1 * _marker_share(marrow, "cluster 3")


def test_the_panel_is_the_same_in_every_study() -> None:
    gene_panel.cache_clear()
    first = gene_panel(n_clusters=6, driver_clusters=(3,))
    gene_panel.cache_clear()
    again = gene_panel(n_clusters=6, driver_clusters=(3,))
    assert first is not again
    assert np.array_equal(first.log_profiles, again.log_profiles)


def test_a_site_shifts_the_expression_of_its_lots_alike() -> None:
    plain = CellModel(lot_batch_sd=0.0, site_batch_sd=0.4, site_depth_sd=0.0)
    lots = [
        replace(lot, cell_model=plain, marker_log_ratio=0.0, cells_per_state=(1_500, 0, 0, 0, 0, 0, 0))
        for lot in _lots()
    ]
    sums = [np.asarray(simulated_anndata(lot).X.sum(axis=0)).ravel() + 1.0 for lot in lots]
    same_site, other_site = np.log(sums[0] / sums[1]), np.log(sums[0] / sums[2])
    assert other_site.std() > 2 * same_site.std()
