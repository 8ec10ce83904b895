"""What the fit promises: clusters found again in a new lot, and what cannot be known said."""

import numpy as np
import pytest

from shared.atlas.artefact import Atlas
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.genes import match_genes
from shared.atlas.kernel import map_block, prepare
from shared.atlas.model import FitParameters
from shared.errors import DesignError, InputError
from tests.shared.atlas.conftest import GENES, SMALL, Reference, simulated


def _fitted(reference: Reference, labels: list[str] | None = None, parameters: FitParameters = SMALL) -> Atlas:
    return fit_atlas(
        reference.counts,
        reference.labels.tolist() if labels is None else labels,
        reference.lots.tolist(),
        gene_ids=None,
        gene_symbols=GENES,
        origin=Origin(name="synthetic"),
        seed=0,
        parameters=parameters,
    )


def test_clear_clusters_are_found_again_in_a_new_lot(atlas: Atlas, new_lot: Reference) -> None:
    counts = new_lot.counts
    found = map_block(
        prepare(atlas, match_genes(atlas, None, GENES)), counts.indptr.astype(np.int64), counts.indices, counts.data
    )
    right = np.array(atlas.clusters)[found.best] == new_lot.labels
    assert right.mean() > 0.95  # the clusters' genes are fourfold: chance is 0.25
    assert atlas.card.transfer.accuracy is not None
    assert atlas.card.transfer.accuracy > 0.95


def test_the_same_input_gives_the_same_atlas(reference: Reference, atlas: Atlas) -> None:
    again = _fitted(reference)
    np.testing.assert_allclose(again.weights, atlas.weights, atol=1e-5)
    np.testing.assert_allclose(again.coefficients, atlas.coefficients, atol=1e-3)
    np.testing.assert_array_equal(again.cells, atlas.cells)


def test_the_name_of_a_lot_is_irrelevant(reference: Reference, atlas: Atlas) -> None:
    renamed = Reference(reference.counts, reference.labels, np.char.add("A", reference.lots))
    np.testing.assert_allclose(_fitted(renamed).coefficients, atlas.coefficients, atol=1e-3)


def test_cells_per_cluster_and_lot_are_counted(reference: Reference, atlas: Atlas) -> None:
    assert atlas.cells.sum() == len(reference.labels)
    assert atlas.cells.sum(axis=0).tolist() == [150, 150, 150]
    assert atlas.confusion.sum() == len(reference.labels)


def test_a_cluster_of_too_few_cells_is_dropped_and_named(reference: Reference) -> None:
    labels = reference.labels.tolist()
    for place in (0, 200, 400, 410):
        labels[place] = "rare"
    found = _fitted(reference, labels)
    assert "rare" not in found.clusters
    (dropped,) = found.card.dropped
    assert (dropped.cluster, dropped.cells) == ("rare", 4)
    assert "fewer than 5 cells" in dropped.reason


def test_a_cluster_of_one_lot_only_is_kept_and_its_transfer_not_measurable(reference: Reference) -> None:
    labels = np.where((reference.lots == "lot 1") & (reference.labels == "cluster 2"), "local", reference.labels)
    found = _fitted(reference, labels.tolist())
    place = found.clusters.index("local")
    assert np.isnan(found.share_errors[place])
    assert np.isnan(found.interval_scales[place])
    assert any("local occurs in one reference lot only" in note for note in found.card.provenance.notes)


@pytest.mark.parametrize(("n_lots", "words"), [(1, "one reference lot"), (2, "two reference lots")])
def test_one_or_two_lots_say_what_they_cannot_know(n_lots: int, words: str) -> None:
    found = _fitted(simulated(seed=3, n_lots=n_lots, cells_per_lot=150))
    transfer = found.card.transfer
    assert transfer.reason is not None
    assert words in transfer.reason
    assert not transfer.interval_calibrated
    assert np.isnan(found.interval_scales).all()
    assert (transfer.accuracy is None) == (n_lots == 1)
    assert np.isfinite(found.novelty_thresholds).all()


def test_a_new_lot_has_about_as_many_novel_cells_as_the_quantile_says(atlas: Atlas) -> None:
    """The threshold is the 99% quantile over lots left out; these are 1,500 cells of ten new lots."""
    shares = []
    for seed in range(10, 20):
        counts = simulated(seed=seed, n_lots=1, cells_per_lot=150).counts
        found = map_block(
            prepare(atlas, match_genes(atlas, None, GENES)), counts.indptr.astype(np.int64), counts.indices, counts.data
        )
        shares.append(float((found.energy > atlas.novelty_thresholds[found.best]).mean()))
    assert 0.001 < np.mean(shares) < 0.05


def test_one_cluster_is_no_composition(reference: Reference) -> None:
    with pytest.raises(DesignError, match="at least 2 clusters"):
        _fitted(reference, ["all"] * len(reference.labels))


def test_an_empty_label_is_refused(reference: Reference) -> None:
    with pytest.raises(InputError, match="found an empty one"):
        _fitted(reference, ["", *reference.labels[1:].tolist()])
    with pytest.raises(InputError, match="labels and lots"):
        _fitted(reference, ["a"])
