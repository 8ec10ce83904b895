"""Mapping a file: the same labels however it is stored, cut, threaded or accompanied."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import InputError
from site_agent.cells.cell_mapping import CellMapping
from site_agent.cells.mapping import map_cells, map_source
from site_agent.cells.reading import open_cells
from tests.site_agent.cells.conftest import SmallStudy


def same(one: CellMapping, other: CellMapping) -> bool:
    """Whether two mappings agree to the last bit."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("label", "best", "confidence", "energy")]
    pairs += [(getattr(one.quality, name), getattr(other.quality, name)) for name in ("total_counts", "n_genes")]
    assert one.quality.mitochondrial_counts is not None
    assert other.quality.mitochondrial_counts is not None
    pairs.append((one.quality.mitochondrial_counts, other.quality.mitochondrial_counts))
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.fixture(scope="module")
def file(small_study: SmallStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study.write(tmp_path_factory.mktemp("file") / "a.h5ad")


@pytest.fixture(scope="module")
def reference(file: Path, small_study: SmallStudy) -> CellMapping:
    return map_cells(file, small_study.atlas, threads=1)


def test_mapping_finds_the_kinds_it_was_taught(reference: CellMapping, small_study: SmallStudy) -> None:
    names = np.array([*reference.clusters, "unassigned"])
    assert (names[reference.best] == small_study.kinds).mean() > 0.9
    counts, unassigned = reference.counts()
    assert counts.sum() + unassigned == reference.n_cells == small_study.counts.shape[0]
    assert reference.gene_coverage == 1.0


@given(values=st.integers(1, 30_000), threads=st.integers(1, 4))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_and_thread_count_gives_the_same_bits(
    file: Path, small_study: SmallStudy, reference: CellMapping, values: int, threads: int
) -> None:
    with open_cells(file) as source:
        assert same(map_source(source, small_study.atlas, threads=threads, values_per_block=values), reference)


@pytest.mark.parametrize("layout", ["csc", "dense", "zarr", "memory", "float64", "int32"])
def test_any_storage_gives_the_same_bits(
    tmp_path: Path, small_study: SmallStudy, reference: CellMapping, layout: str
) -> None:
    adata = small_study.adata()
    path = tmp_path / "a.h5ad"
    match layout:
        case "csc":
            adata.X = sp.csc_matrix(small_study.counts)
        case "dense":
            adata.X = small_study.counts.toarray()
        case "float64" | "int32":
            adata.X = small_study.counts.astype(layout)
        case "zarr":
            path = tmp_path / "a.zarr"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # anndata announces its next defaults
                adata.write_zarr(path)
        case _:
            assert same(map_cells(adata, small_study.atlas), reference)
            return
    if layout != "zarr":
        adata.write_h5ad(path, compression="lzf")
    assert same(map_cells(path, small_study.atlas, threads=2), reference)


def test_lot_maps_the_same_alone_or_with_others(
    tmp_path: Path, file: Path, small_study: SmallStudy, reference: CellMapping
) -> None:
    chosen = small_study.lots == "L1"
    together = map_cells(file, small_study.atlas, where=[("lot", "L1")], threads=2)
    assert together.rows is not None
    assert together.rows.tolist() == np.flatnonzero(chosen).tolist()
    small_study.adata()[chosen].copy().write_h5ad(tmp_path / "alone.h5ad")
    alone = map_cells(tmp_path / "alone.h5ad", small_study.atlas)
    assert same(alone, together)
    assert (together.label == reference.label[chosen]).all()


def test_order_of_cells_and_genes_changes_nothing(
    tmp_path: Path, small_study: SmallStudy, reference: CellMapping
) -> None:
    rng = np.random.default_rng(3)
    cells, genes = rng.permutation(small_study.counts.shape[0]), rng.permutation(small_study.counts.shape[1])
    small_study.adata()[cells][:, genes].copy().write_h5ad(tmp_path / "a.h5ad")
    shuffled = map_cells(tmp_path / "a.h5ad", small_study.atlas)
    assert (shuffled.label == reference.label[cells]).all()
    assert (shuffled.energy == reference.energy[cells]).all()


def test_anndata_is_annotated_as_scverse_names_it(small_study: SmallStudy, reference: CellMapping) -> None:
    adata = small_study.adata()
    map_cells(adata, small_study.atlas)
    assert list(adata.obs["atlas_cluster"].cat.categories) == ["alpha", "beta", "gamma", "unassigned"]
    assert (adata.obs["atlas_confidence"].to_numpy() == reference.confidence).all()
    assert adata.obsm["X_atlas"].shape == (adata.n_obs, 8)
    part = small_study.adata()
    mapping = map_cells(part, small_study.atlas, where=[("lot", "L2")])
    chosen = small_study.lots == "L2"
    assert part.obs["atlas_cluster"].isna().to_numpy().tolist() == (~chosen).tolist()
    assert (part.obs["atlas_cluster"][chosen] == adata.obs["atlas_cluster"][chosen]).all()
    assert np.isfinite(part.obsm["X_atlas"]).all(axis=1).tolist() == chosen.tolist()
    assert mapping.n_cells == chosen.sum()


def test_progress_reaches_every_cell(file: Path, small_study: SmallStudy) -> None:
    seen: list[tuple[int, int]] = []
    with open_cells(file) as source:
        map_source(source, small_study.atlas, values_per_block=5_000, progress=lambda done, n: seen.append((done, n)))
    assert seen[-1] == (360, 360)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 3


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (-1.0, "a negative value"),
        (0.5, "a value that is not whole"),
        (np.nan, "NaN"),
        (np.inf, "infinite"),
        (1e20, "too large"),
    ],
)
def test_broken_count_anywhere_is_named_with_its_cell(
    tmp_path: Path, small_study: SmallStudy, monkeypatch: pytest.MonkeyPatch, value: float, found: str
) -> None:
    monkeypatch.setattr("site_agent.cells.cell_source._PROBED_VALUES", 10)
    adata = small_study.adata()
    adata.layers["counts"] = small_study.counts.copy()
    adata.X.data[adata.X.indptr[300]] = value
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match=f"found .*{found}.* in cell 'cell300' \\(row 300\\)") as caught:
        map_cells(tmp_path / "a.h5ad", small_study.atlas, threads=2)
    assert "layers['counts']" in str(caught.value.hint)
    lot = str(small_study.lots[300])
    with pytest.raises(InputError, match="cell300"):
        map_cells(tmp_path / "a.h5ad", small_study.atlas, where=[("lot", lot)])
    other = next(name for name in ("L0", "L1", "L2") if name != lot)
    assert map_cells(tmp_path / "a.h5ad", small_study.atlas, where=[("lot", other)]).n_cells == 120


def test_fewer_than_one_thread_is_refused(file: Path, small_study: SmallStudy) -> None:
    with pytest.raises(InputError, match="threads: expected at least 1"):
        map_cells(file, small_study.atlas, threads=0)
