"""What may be said of a lot's shares: honest intervals, a sensitivity, a test with a right false-alarm rate."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.atlas.artefact import Atlas
from shared.atlas.genes import match_genes
from shared.atlas.kernel import map_block, prepare
from shared.atlas.proportions import (
    assumed_prior,
    composition,
    excess_novel,
    excess_unassigned,
    log_odds,
    probabilities,
    saerens,
    shift,
    site_shift,
)
from shared.errors import InternalError
from tests.shared.atlas.conftest import GENES, Reference


@settings(max_examples=50)
@given(counts=st.lists(st.integers(0, 10_000), min_size=4, max_size=4), unassigned=st.integers(0, 5_000))
def test_shares_count_unassigned_cells_in_the_total_and_lie_in_their_interval(
    atlas: Atlas, counts: list[int], unassigned: int
) -> None:
    found = composition(atlas, np.array(counts), unassigned)
    total = sum(counts) + unassigned
    if total == 0:
        assert np.isnan(found.shares).all()
        return
    assert found.shares.sum() * total + unassigned == pytest.approx(total)
    assert (found.low <= found.shares).all()
    assert (found.shares <= found.high).all()
    assert (found.high > 0).all()  # a cluster without cells is not certainly absent


def test_an_atlas_that_cannot_calibrate_gives_no_interval(atlas: Atlas) -> None:
    unknown = replace(atlas, interval_scales=np.full_like(atlas.interval_scales, np.nan))
    found = composition(unknown, np.array([10, 20, 30, 40]), 5)
    assert np.isnan(found.low).all()
    assert np.isfinite(found.shares).all()


def test_more_confidence_and_fewer_cells_widen_the_interval(atlas: Atlas) -> None:
    counts = np.array([100, 200, 300, 400])
    usual = composition(atlas, counts, 0)
    assert (composition(atlas, counts, 0, confidence=0.99).high > usual.high).all()
    sampled = composition(atlas, counts, 0, with_sampling=True)
    assert (sampled.high > usual.high).all()
    assert (composition(atlas, counts // 10, 0, with_sampling=True).high > sampled.high).all()


def test_counts_of_other_clusters_are_refused(atlas: Atlas) -> None:
    with pytest.raises(InternalError, match="4 clusters"):
        composition(atlas, np.array([1, 2]), 0)


def test_an_excess_raises_a_false_alarm_as_often_as_it_says(atlas: Atlas) -> None:
    """Lots drawn from one population; each of 4,000 new ones is judged by 6 of its own. 5% +- 3 standard errors."""
    rng = np.random.default_rng(0)
    rates = 1 / (1 + np.exp(-rng.normal(-4.0, 0.7, (4_000, 7))))
    cells = rng.integers(300, 5_000, (4_000, 7))
    unassigned = rng.binomial(cells, rates)
    odds = log_odds(unassigned[:, 1:].astype(float), cells[:, 1:].astype(float))
    alarms = 0
    for row in range(4_000):
        transfer = atlas.card.transfer.replaced(
            lots=6,
            novel_log_odds=float(odds[row].mean()),
            novel_log_odds_spread=float(odds[row].std(ddof=1)),
        )
        judged = replace(atlas, card=atlas.card.replaced(transfer=transfer))
        found = excess_novel(judged, int(unassigned[row, 0]), int(cells[row, 0]))
        assert found.p_value is not None
        alarms += found.p_value < 0.05
    assert alarms / 4_000 == pytest.approx(0.05, abs=0.0104)


def test_a_lot_of_mostly_unassigned_cells_is_found(atlas: Atlas) -> None:
    found = excess_unassigned(atlas, 400, 1_000)
    assert found.p_value is not None
    assert found.p_value < 0.05
    assert found.share == 0.4


def test_no_test_without_lots_left_out(atlas: Atlas) -> None:
    transfer = atlas.card.transfer.replaced(unassigned_log_odds=None, unassigned_log_odds_spread=None)
    silent = replace(atlas, card=atlas.card.replaced(transfer=transfer))
    assert excess_unassigned(silent, 400, 1_000).p_value is None


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60))
def test_saerens_gives_shares_and_leaves_certain_cells_as_they_are(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.ones(4) * 5)
    soft = saerens(rng.dirichlet(np.ones(4), n), prior)
    assert soft.sum() == pytest.approx(1)
    assert (soft >= 0).all()
    labels = rng.integers(0, 4, n)
    np.testing.assert_allclose(saerens(np.eye(4)[labels], prior), np.bincount(labels, minlength=4) / n, atol=1e-9)


def test_saerens_undoes_a_pure_change_of_shares() -> None:
    """Two normal classes at -1 and 1, fitted at equal shares, met at 0.9 and 0.1 in 20,000 cells."""
    rng = np.random.default_rng(1)
    true = rng.random(20_000) < 0.1
    x = rng.normal(np.where(true, 1.0, -1.0))
    p = 1 / (1 + np.exp(-2 * x))
    found = saerens(np.column_stack([1 - p, p]), np.array([0.5, 0.5]))
    assert (p > 0.5).mean() > 0.2  # the hard count is far off
    assert found[1] == pytest.approx(0.1, abs=0.01)


def test_probabilities_agree_with_the_kernels_confidence(atlas: Atlas, new_lot: Reference) -> None:
    counts = new_lot.counts
    found = map_block(
        prepare(atlas, match_genes(atlas, None, GENES)),
        counts.indptr.astype(np.int64),
        counts.indices,
        counts.data,
        with_latent=True,
    )
    assert found.latent is not None
    p = probabilities(atlas, found.latent)
    np.testing.assert_allclose(p.max(axis=1), found.confidence, atol=1e-3)  # steps of 1e-4, float32 latent points
    assert assumed_prior(atlas).sum() == pytest.approx(1)


def test_shift_is_zero_for_chance_and_the_distance_for_a_moved_cluster(atlas: Atlas) -> None:
    rng = np.random.default_rng(2)
    d = atlas.class_means.shape[1]
    n = np.full(4, 2_000)
    spread = atlas.class_spreads.astype(float)
    moved = np.array([0.0, 0.0, 0.0, 1.0])[:, None] * spread
    sums = np.array(
        [(rng.normal(m, s, (2_000, d))).sum(axis=0) for m, s in zip(atlas.class_means + moved, spread, strict=True)]
    )
    found = site_shift(atlas, n, sums)
    assert (found[:3] < 0.05).all()
    assert found[3] == pytest.approx(1.0, abs=0.05)
    assert np.isnan(shift(np.array([0]), np.zeros((1, d)), np.zeros(d), np.ones(d))).all()
