"""Building an atlas from files, with the owner's labels or without any."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from shared.atlas.artefact import from_bytes, to_bytes
from shared.atlas.genes import match_genes
from shared.atlas.kernel import map_block, prepare
from shared.atlas.model import FitParameters
from shared.errors import InputError
from site_agent.cells.atlas_builder import build_atlas
from site_agent.cells.clustering import cluster_cells, equal_cells_per_lot

_SMALL = FitParameters(n_variable_genes=100, n_marker_genes=20, n_dimensions=10)


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Return 3 lots of 100 cells of 3 kinds, 300 genes; every kind raises 30 genes of its own fivefold."""
    rng = np.random.default_rng(5)
    profiles = np.tile(rng.gamma(1.0, 1.5, 300) + 0.2, (3, 1))
    for kind in range(3):
        profiles[kind, 30 * kind : 30 * (kind + 1)] *= 5
    kinds = rng.integers(0, 3, 300)
    counts = sp.csr_matrix(rng.poisson(profiles[kinds]).astype(np.float32))
    found = AnnData(counts)
    found.obs_names = [f"cell{place}" for place in range(300)]
    found.var_names = [f"GENE{place}" for place in range(300)]
    found.var["gene_ids"] = [f"ENSG{place:011d}" for place in range(300)]
    found.obs["kind"] = [f"kind {kind}" for kind in kinds]
    found.obs["lot"] = [f"LOT-{place // 100}" for place in range(300)]
    return found


def test_labels_of_the_owner_become_clusters_with_their_markers(cells: AnnData) -> None:
    atlas = build_atlas(cells, lot="lot", labels="kind", name="tiny", seed=1, parameters=_SMALL)
    assert atlas.clusters == ("kind 0", "kind 1", "kind 2")
    assert atlas.card.provenance.labels == "owner"
    for kind, markers in enumerate(atlas.card.markers):
        own = {f"GENE{place}" for place in range(30 * kind, 30 * (kind + 1))}
        assert len([marker for marker in markers if marker.gene in own]) >= 18
        assert all(marker.log2_fold_change > 0 for marker in markers)
    assert atlas.gene_ids[0].startswith("ENSG")
    assert atlas.gene_symbols[0].startswith("GENE")


def test_a_path_gives_the_same_bytes_as_the_object_and_names_no_lot(cells: AnnData, tmp_path: Path) -> None:
    cells.write_h5ad(tmp_path / "reference.h5ad")
    one = to_bytes(build_atlas(cells, lot="lot", labels="kind", name="tiny", seed=1, parameters=_SMALL))
    two = to_bytes(
        build_atlas(tmp_path / "reference.h5ad", lot="lot", labels="kind", name="tiny", seed=1, parameters=_SMALL)
    )
    assert one == two
    assert b"LOT-" not in one
    assert b"reference.h5ad" not in one


def test_several_files_are_pooled(cells: AnnData, tmp_path: Path) -> None:
    for lot in ("LOT-0", "LOT-1", "LOT-2"):
        cells[cells.obs["lot"] == lot].write_h5ad(tmp_path / f"{lot}.h5ad")
    atlas = build_atlas(sorted(tmp_path.iterdir()), lot="lot", labels="kind", name="tiny", seed=1, parameters=_SMALL)
    assert atlas.cells.sum() == 300


def test_clusters_without_labels_find_the_kinds_and_say_how_stable_they_are(cells: AnnData) -> None:
    atlas = build_atlas(cells, lot="lot", cluster=True, resolution=0.5, name="tiny", seed=1, parameters=_SMALL)
    assert atlas.clusters == ("0", "1", "2")
    assert atlas.card.stability is not None
    assert min(atlas.card.stability) > 0.9
    assert atlas.card.provenance.labels == "leiden"
    counts = cells.X
    tables = prepare(atlas, match_genes(atlas, None, list(cells.var_names)))
    found = map_block(tables, counts.indptr.astype(np.int64), counts.indices, counts.data)
    for kind in np.unique(cells.obs["kind"]):
        mapped = found.best[(cells.obs["kind"] == kind).to_numpy()]
        assert np.bincount(mapped).max() > 0.95 * len(mapped)


def test_clustering_is_reproducible(cells: AnnData) -> None:
    lots = cells.obs["lot"].to_numpy().astype(str)
    one, two = (cluster_cells(cells.X, lots, resolution=1.0, seed=3) for _ in range(2))
    assert one.labels == two.labels
    assert one.stability == two.stability


def test_no_lot_gives_more_cells_than_the_limit() -> None:
    lots = np.array(["a"] * 900 + ["b"] * 600 + ["c"] * 50)
    rows, limit = equal_cells_per_lot(lots, cells_per_lot=None, seed=0)
    assert (limit, np.unique(lots[rows], return_counts=True)[1].tolist()) == (500, [500, 500, 50])
    rows, _ = equal_cells_per_lot(lots, cells_per_lot=40, seed=0)
    assert len(rows) == 120


def test_chosen_lots_and_conditions_only(cells: AnnData) -> None:
    atlas = build_atlas(
        cells, lot="lot", labels="kind", name="t", seed=1, parameters=_SMALL, reference_lots=["LOT-0", "LOT-2"]
    )
    assert atlas.cells.sum() == 200
    with pytest.raises(InputError, match="no cells of the reference lots LOT-9"):
        build_atlas(cells, lot="lot", labels="kind", name="t", seed=1, reference_lots=["LOT-9"])
    with pytest.raises(InputError, match="no cell is left"):
        build_atlas(cells, lot="lot", labels="kind", name="t", seed=1, where=[("kind", "none")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": None}, "either a column of labels or clustering"),
        ({"cluster": True}, "either a column of labels or clustering"),
        ({"lot": "batch"}, "expected a column 'batch' in obs, found: kind, lot"),
        ({"layer": "raw"}, "expected a layer 'raw', found: none"),
    ],
)
def test_a_wrong_argument_is_named(cells: AnnData, arguments: dict[str, Any], words: str) -> None:
    usual: dict[str, Any] = {"lot": "lot", "labels": "kind", "name": "t", "seed": 1}
    with pytest.raises(InputError, match=words):
        build_atlas(cells, **(usual | arguments))


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan])
def test_values_that_are_no_counts_are_refused(cells: AnnData, value: float) -> None:
    changed = cells.copy()
    changed.X.data[5] = value
    with pytest.raises(InputError, match="expected counts in X"):
        build_atlas(changed, lot="lot", labels="kind", name="t", seed=1)


def test_a_file_that_is_no_h5ad_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.h5ad").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"no\.h5ad: expected an h5ad file"):
        build_atlas(tmp_path / "no.h5ad", lot="lot", labels="kind", name="t", seed=1)


def test_three_donors_of_real_blood_make_an_atlas(real_data: Path) -> None:
    atlas = build_atlas(
        real_data / "kang_ifnb.h5ad",
        lot="donor",
        labels="cell_type",
        where=[("condition", "ctrl")],
        reference_lots=["1015", "1244", "1256"],
        name="blood",
        seed=1,
    )
    assert {"B", "CD14 Mono", "CD4 Naive T", "NK"} <= set(atlas.clusters)
    assert atlas.card.transfer.accuracy is not None
    assert atlas.card.transfer.accuracy > 0.85
    assert len(to_bytes(atlas)) < 500_000
    assert from_bytes(to_bytes(atlas)).card == atlas.card
    assert "FCGR3A" in {marker.gene for marker in atlas.card.markers[atlas.clusters.index("CD16 Mono")]}
