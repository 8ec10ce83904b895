"""Reading cells: the same counts whatever the encoding, the compression and the cut into blocks."""

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.cell_source import CellSource
from site_agent.cells.reading import open_cells
from site_agent.cells.sources_memory import open_anndata_object

N_CELLS, N_GENES = 60, 40


@pytest.fixture(scope="module")
def counts() -> NDArray[np.int64]:
    rng = np.random.default_rng(7)
    table = rng.poisson(0.6, (N_CELLS, N_GENES))
    table[11] = 0  # a cell without a count is still a cell
    table[:, 5] = 0
    table[3, 7] = 70_000  # beyond 16 bits
    return table


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    obs = pd.DataFrame(
        {
            "donor": pd.Categorical([f"D{i % 3}" for i in range(N_CELLS)]),
            "text": [f"t{i % 2}" for i in range(N_CELLS)],
            "number": [100 + i % 4 for i in range(N_CELLS)],
            "float": [float(i % 2) for i in range(N_CELLS)],
            "flag": [i % 2 == 0 for i in range(N_CELLS)],
        },
        index=[f"cell{i}" for i in range(N_CELLS)],
    )
    var = pd.DataFrame(
        {"gene_ids": [f"ENSG{i:011d}" for i in range(N_GENES)]}, index=[f"G{i}" for i in range(N_GENES - 1)] + ["MT-X"]
    )
    return obs, var


def make(counts: NDArray[Any], **fields: Any) -> ad.AnnData:  # noqa: ANN401 - passed on
    obs, var = tables()
    return ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=var, **fields)


def dense_of(source: CellSource, values: int = 200, rows: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    pieces = []
    for block in source.blocks(values, rows):
        assert block.indices.dtype == np.int32
        assert block.data.dtype in (np.float32, np.float64)
        matrix = sp.csr_matrix((block.data, block.indices, block.indptr), shape=(block.n_cells, source.n_genes))
        pieces.append(matrix.toarray())
    return np.concatenate(pieces)


Writer = Callable[[Path, NDArray[Any]], None]


def write_h5(
    matrix: Any,  # noqa: ANN401 - any sparse matrix
    **options: Any,  # noqa: ANN401 - passed on
) -> Callable[[Path], None]:
    """Write what anndata writes, with any options of h5py."""

    def write(path: Path) -> None:
        obs, var = tables()
        ad.AnnData(obs=obs, var=var).write_h5ad(path)
        with h5py.File(path, "a") as file:
            if "X" in file:
                del file["X"]
            if isinstance(matrix, np.ndarray):
                file.create_dataset("X", data=matrix, **options)
                return
            group = file.create_group("X")
            group.attrs["encoding-type"] = f"{matrix.format}_matrix"
            group.attrs["shape"] = matrix.shape
            for name in ("data", "indices"):
                group.create_dataset(name, data=getattr(matrix, name), **options)
            group.create_dataset("indptr", data=matrix.indptr)

    return write


COMPRESSIONS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (64,)},
    "gzip": {"chunks": (64,), "compression": "gzip"},
    "gzip-9-one-chunk": {"chunks": (100_000,), "maxshape": (None,), "compression": "gzip", "compression_opts": 9},
    "gzip-shuffle": {"chunks": (50,), "compression": "gzip", "shuffle": True},
    "shuffle": {"chunks": (50,), "shuffle": True},
    "lzf": {"chunks": (200,), "compression": "lzf"},
    "lzf-shuffle": {"chunks": (300,), "compression": "lzf", "shuffle": True},
    "zstd": {"chunks": (77,), **hdf5plugin.Zstd()},
    "zstd-shuffle": {"chunks": (77,), "shuffle": True, **hdf5plugin.Zstd()},
    "blosc": {"chunks": (77,), **hdf5plugin.Blosc()},
    "fletcher32": {"chunks": (77,), "compression": "gzip", "fletcher32": True},
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_every_compression_of_a_sparse_file_reads_the_same(
    tmp_path: Path, counts: NDArray[np.int64], layout: str, compression: str
) -> None:
    by_cell = sp.csr_matrix(counts.astype(np.float32))
    sparse = by_cell.tocsc() if layout == "csc" else by_cell
    write_h5(sparse, **COMPRESSIONS[compression])(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as source:
        for values in (1, 37, 200, 10_000):
            assert (dense_of(source, values) == counts).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (7, 11), "compression": "gzip"}, {"chunks": (60, 1), "compression": "lzf", "shuffle": True}],
)
def test_dense_file_reads_the_same(tmp_path: Path, counts: NDArray[np.int64], options: dict[str, Any]) -> None:
    write_h5(counts.astype(np.float32), **options)(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as source:
        for values in (1, 37, 200, 10_000):
            assert (dense_of(source, values) == counts).all()


@pytest.mark.parametrize("chunks", [(7, 11), (60, 1), (60, 40)])
def test_dense_file_of_tall_chunks_is_spooled_and_reads_the_same(
    tmp_path: Path, counts: NDArray[np.int64], chunks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("site_agent.cells.anndata_layout.MAXIMUM_CHUNK_BYTES", 1)
    write_h5(counts.astype(np.float32), chunks=chunks)(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as source:
        assert (dense_of(source) == counts).all()


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "i8", "u4", "u8", ">f4", ">i4"])
def test_every_number_type_reads_the_same(tmp_path: Path, counts: NDArray[np.int64], kind: str) -> None:
    sparse = sp.csr_matrix(counts.astype(np.float32))
    sparse.data = sparse.data.astype(kind)
    sparse.indices = sparse.indices.astype(np.int64)
    write_h5(sparse, chunks=(64,), compression="gzip")(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as source:
        assert (dense_of(source) == counts).all()


@pytest.mark.parametrize("kind", ["u1", "i2", "f2", "bool"])
def test_narrow_number_types_are_exact(tmp_path: Path, counts: NDArray[np.int64], kind: str) -> None:
    small = np.minimum(counts, 1 if kind == "bool" else 100)
    write_h5(small.astype(kind))(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as source:
        assert (dense_of(source) == small).all()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_zarr_reads_the_same(tmp_path: Path, counts: NDArray[np.int64], layout: str, version: int) -> None:
    adata = make(counts)
    adata.X = counts.astype(np.float32) if layout == "dense" else adata.X.asformat(layout)
    with warnings.catch_warnings(), ad.settings.override(zarr_write_format=version):
        warnings.simplefilter("ignore")  # anndata announces its next defaults
        adata.write_zarr(tmp_path / "a.zarr")
    with open_cells(tmp_path / "a.zarr") as source:
        assert (dense_of(source) == counts).all()
        assert source.cell_names(0, 2) == ["cell0", "cell1"]
        assert source.genes.symbols[-1] == "MT-X"
        rows = source.rows_where([("donor", "D1")])
        assert rows is not None
        assert (dense_of(source, rows=rows) == counts[1::3]).all()


def test_memory_reads_the_same(counts: NDArray[np.int64]) -> None:
    adata = make(counts, layers={"dense": counts.astype(np.float64)})
    for layer in (None, "dense"):
        with open_anndata_object(adata, layer) as source:
            assert (dense_of(source) == counts).all()
            assert source.genes.identifiers[0] == "ENSG00000000000"


def write_10x_h5(path: Path, counts: NDArray[Any], kinds: list[str]) -> None:
    by_cell = sp.csr_matrix(counts.astype(np.int32))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group.create_dataset(name, data=getattr(by_cell, name), chunks=(32,), compression="gzip", shuffle=True)
        group["shape"] = np.array([counts.shape[1], counts.shape[0]], dtype=np.int32)
        group["barcodes"] = np.array([f"cell{i}" for i in range(counts.shape[0])], dtype="S16")
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{i:011d}" for i in range(counts.shape[1])], dtype="S32")
        features["name"] = np.array([f"G{i // 2}" for i in range(counts.shape[1])], dtype="S32")
        features["feature_type"] = np.array(kinds, dtype="S32")


def test_10x_h5_reads_genes_and_leaves_antibodies_out(tmp_path: Path, counts: NDArray[np.int64]) -> None:
    kinds = ["Antibody Capture" if i % 4 == 1 else "Gene Expression" for i in range(N_GENES)]
    write_10x_h5(tmp_path / "a.h5", counts, kinds)
    genes = [i for i in range(N_GENES) if i % 4 != 1]
    with open_cells(tmp_path / "a.h5") as source:
        assert (dense_of(source) == counts[:, genes]).all()
        assert source.genes.identifiers == tuple(f"ENSG{i:011d}" for i in genes)
        assert source.genes.symbols[1] == "G1"
        assert source.cell_names(3, 5) == ["cell3", "cell4"]


@pytest.mark.parametrize("order", ["by cell", "by gene"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_10x_folder_reads_the_same(tmp_path: Path, counts: NDArray[np.int64], order: str, suffix: str) -> None:
    def write(name: str, text: bytes) -> None:
        (tmp_path / f"{name}{suffix}").write_bytes(gzip.compress(text) if suffix else text)

    by_gene = sp.csc_matrix(counts).tocoo() if order == "by gene" else sp.csr_matrix(counts).tocoo()
    lines = [f"{j + 1} {i + 1} {v}" for i, j, v in zip(by_gene.row, by_gene.col, by_gene.data, strict=True)]
    head = ["%%MatrixMarket matrix coordinate integer general", '%metadata_json: {"x": 1}', f"40 60 {len(lines)}"]
    write("matrix.mtx", "\n".join([*head, *lines]).encode() + b"\n")
    write("barcodes.tsv", "".join(f"cell{i}\n" for i in range(N_CELLS)).encode())
    write("features.tsv", "".join(f"ENSG{i:011d}\tG{i}\tGene Expression\n" for i in range(N_GENES)).encode())
    with open_cells(tmp_path) as source:
        assert (dense_of(source) == counts).all()
        assert source.cell_names(0, 1) == ["cell0"]
        assert source.genes.symbols[2] == "G2"


def test_written_by_scipy_mtx_reads_the_same(tmp_path: Path, counts: NDArray[np.int64]) -> None:
    scipy.io.mmwrite(tmp_path / "matrix.mtx", sp.csc_matrix(counts.T))
    (tmp_path / "barcodes.tsv").write_text("".join(f"cell{i}\n" for i in range(N_CELLS)))
    (tmp_path / "genes.tsv").write_text("".join(f"ENSG{i:011d}\tG{i}\n" for i in range(N_GENES)))
    with open_cells(tmp_path) as source:
        assert (dense_of(source) == counts).all()


@pytest.fixture
def h5ad(tmp_path: Path, counts: NDArray[np.int64]) -> Path:
    make(counts).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return tmp_path / "a.h5ad"


@pytest.mark.parametrize(
    ("column", "value", "period", "phase"),
    [
        ("donor", "D2", 3, 2),
        ("text", "t1", 2, 1),
        ("number", "101", 4, 1),
        ("float", "1", 2, 1),
        ("flag", "True", 2, 0),
    ],
)
def test_cells_are_chosen_by_any_kind_of_column(
    h5ad: Path, counts: NDArray[np.int64], column: str, value: str, period: int, phase: int
) -> None:
    with open_cells(h5ad) as source:
        rows = source.rows_where([(column, value)])
        assert rows is not None
        assert np.flatnonzero(rows).tolist() == list(range(phase, N_CELLS, period))
        assert (dense_of(source, rows=rows) == counts[phase::period]).all()


def test_columns_that_are_missing_or_match_nothing_are_named(h5ad: Path) -> None:
    with open_cells(h5ad) as source:
        with pytest.raises(InputError, match="no column 'lot'") as caught:
            source.rows_where([("lot", "x")])
        assert "donor" in str(caught.value.hint)
        with pytest.raises(InputError, match="no cell with 'D9'") as caught:
            source.rows_where([("donor", "D9")])
        assert caught.value.hint == "it has D0, D1, D2"
        with pytest.raises(InputError, match="no cell with number=100; text=t1"):
            source.rows_where([("number", "100"), ("text", "t1")])


def test_genes_carry_identifiers_symbols_and_mitochondria(h5ad: Path) -> None:
    with open_cells(h5ad) as source:
        assert source.genes.symbols[0] == "G0"
        assert source.genes.identifiers[0] == "ENSG00000000000"
        mitochondrial = source.genes.mitochondrial()
        assert mitochondrial is not None
        assert np.flatnonzero(mitochondrial).tolist() == [N_GENES - 1]


def test_layers_and_raw_are_read_by_name(tmp_path: Path, counts: NDArray[np.int64]) -> None:
    adata = make(np.log1p(counts), layers={"counts": sp.csr_matrix(counts * 2)})
    adata.raw = make(counts * 3)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad", "counts") as source:
        source.require_counts()
        assert (dense_of(source) == counts * 2).all()
    with open_cells(tmp_path / "a.h5ad", "raw") as source:
        assert (dense_of(source) == counts * 3).all()
    with (
        open_cells(tmp_path / "a.h5ad") as source,
        pytest.raises(InputError, match="found values that are not whole") as e,
    ):
        source.require_counts()
    assert e.value.hint == "layers['counts'] and raw of this file looks like counts: name it as the layer"
    with pytest.raises(InputError, match="has no layer 'count'"):
        open_cells(tmp_path / "a.h5ad", "count")


def test_repeated_cells_and_genes_are_named(tmp_path: Path, counts: NDArray[np.int64]) -> None:
    adata = make(counts)
    adata.obs_names = ["cell0", *adata.obs_names[:-1]]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    with (
        open_cells(tmp_path / "cells.h5ad") as source,
        pytest.raises(InputError, match="found 'cell0' in rows 0 and 1"),
    ):
        source.require_distinct_cells()
    adata = make(counts)
    adata.var_names = ["G1", *adata.var_names[1:]]
    adata.write_h5ad(tmp_path / "genes.h5ad")
    with open_cells(tmp_path / "genes.h5ad") as source:  # the identifiers tell them apart
        assert source.n_genes == N_GENES
    del adata.var["gene_ids"]
    adata.write_h5ad(tmp_path / "genes.h5ad")
    with pytest.raises(InputError, match="expected each gene once, found G1"):
        open_cells(tmp_path / "genes.h5ad")


@pytest.mark.parametrize("name", ["kang_ifnb.h5ad", "heart_scf.h5ad"])
@pytest.mark.real_data
def test_real_file_reads_as_anndata_reads_it(real_data: Path, name: str) -> None:
    reference = ad.read_h5ad(real_data / name)
    with open_cells(real_data / name) as source:
        source.require_distinct_cells()
        source.require_counts()
        blocks = list(source.blocks(300_000))
        assert source.cell_names(0, source.n_cells) == list(reference.obs_names)
    assert (np.concatenate([block.data for block in blocks]) == reference.X.data).all()
    assert (np.concatenate([block.indices for block in blocks]) == reference.X.indices).all()
    assert sum(block.n_cells for block in blocks) == reference.n_obs
