"""Rows mapped as they are read: the same as rows of blocks in memory, to the last bit, or the same error."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.atlas.kernel import MappedBlock, map_block, prepare
from shared.errors import InputError
from site_agent.cells.mapping import genes_of, map_source
from site_agent.cells.matrices import CompressedRows
from site_agent.cells.reading import open_cells
from site_agent.cells.stored_mapping import StoredRows, stored_rows
from tests.site_agent.cells.conftest import N_CELLS, N_GENES, SmallStudy
from tests.site_agent.cells.test_file_vectors import PIPELINES

FIELDS = ("label", "best", "confidence", "energy", "total_counts", "n_genes", "mito_counts", "latent")


def write(path: Path, study: SmallStudy, matrix: Any, pipeline: str, chunks: tuple[int, int]) -> Path:  # noqa: ANN401 - sparse
    """Write X in the file's own pieces: indices and values may be cut differently."""
    adata = study.adata()
    adata.X = sp.csr_matrix(matrix.shape, dtype=np.float32)
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name, values, per in (("indices", matrix.indices, chunks[0]), ("data", matrix.data, chunks[1])):
            options = dict(PIPELINES[pipeline])
            if options and values.size:
                options["chunks"] = (min(per, values.size),)
            del file["X"][name]
            file["X"].create_dataset(name, data=values, **(options if values.size else {}))
        file["X/indptr"][:] = matrix.indptr
    return path


def shuffled(counts: sp.csr_matrix, rng: np.random.Generator) -> sp.csr_matrix:
    """Return the matrix with the genes of each row in any order."""
    keys = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr)) + rng.random(counts.nnz)
    order = np.argsort(keys)
    return sp.csr_matrix((counts.data[order], counts.indices[order], counts.indptr), shape=counts.shape)


def both_ways(
    path: Path, study: SmallStudy, span: tuple[int, int], rows: NDArray[np.bool_] | None
) -> tuple[MappedBlock, MappedBlock]:
    with open_cells(path) as source:
        stored = stored_rows(source.matrix)
        assert isinstance(stored, StoredRows)
        tables = prepare(study.atlas, genes_of(source, study.atlas), source.genes.mitochondrial())
        block = source.read(span, rows)
        return (
            stored.map(tables, span, rows, with_latent=True),
            map_block(tables, block.indptr, block.indices, block.data, with_latent=True),
        )


@pytest.mark.parametrize("pipeline", ["one run", "gzip", "gzip, shuffled", "lzf", "zstd"])
@given(
    chunks=st.tuples(st.integers(1, 5_000), st.integers(1, 5_000)),
    kind=st.sampled_from(["f4", "f8", "i4", "i8", "u2", "i1", "u8"]),
    index_kind=st.sampled_from(["i4", "i8", "u4", "i2"]),
    cut=st.tuples(st.integers(0, N_CELLS), st.integers(0, N_CELLS)).map(sorted),
    share=st.sampled_from([None, 0.0, 0.1, 0.9, 1.0]),
    is_shuffled=st.booleans(),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_map_as_blocks_in_memory_do(
    tmp_path: Path,
    small_study: SmallStudy,
    pipeline: str,
    chunks: tuple[int, int],
    kind: str,
    index_kind: str,
    cut: list[int],
    share: float | None,
    is_shuffled: bool,  # noqa: FBT001 - drawn
) -> None:
    rng = np.random.default_rng(3)
    matrix = small_study.counts.minimum(100).tocsr()
    matrix = shuffled(matrix, rng) if is_shuffled else matrix
    matrix.data, matrix.indices = matrix.data.astype(kind), matrix.indices.astype(index_kind)
    path = write(tmp_path / "a.h5ad", small_study, matrix, pipeline, chunks)
    rows = None if share is None else rng.random(N_CELLS) < share
    stored, memory = both_ways(path, small_study, (cut[0], cut[1]), rows)
    assert stored.validity == memory.validity == 0
    for name in FIELDS:
        assert getattr(stored, name).tobytes() == getattr(memory, name).tobytes(), name


def test_cells_without_a_value_and_a_matrix_without_any_are_mapped(tmp_path: Path, small_study: SmallStudy) -> None:
    counts = small_study.counts.toarray()
    counts[[0, 5, 6, N_CELLS - 1]] = 0
    path = write(tmp_path / "a.h5ad", small_study, sp.csr_matrix(counts), "gzip", (97, 31))
    stored, memory = both_ways(path, small_study, (0, N_CELLS), None)
    assert all(getattr(stored, name).tobytes() == getattr(memory, name).tobytes() for name in FIELDS)
    assert (stored.best[[0, 5, 6, N_CELLS - 1]] == -1).all()


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("indices", N_GENES, "an index lies outside the 120 columns"),
        ("indices", -1, "an index lies outside the 120 columns"),
        ("data", np.nan, "NaN or an infinite value in cell 'cell200'"),
        ("data", -2.0, "a negative value in cell 'cell200'"),
        ("data", 1.5, "a value that is not whole in cell 'cell200'"),
    ],
)
@pytest.mark.parametrize("with_rows", [False, True])
def test_what_is_no_count_is_named_with_its_cell(
    tmp_path: Path, small_study: SmallStudy, name: str, value: float, found: str, *, with_rows: bool
) -> None:
    matrix = small_study.counts.copy()
    getattr(matrix, name)[matrix.indptr[200] + 3] = value
    path = write(tmp_path / "a.h5ad", small_study, matrix, "gzip", (500, 500))
    rows = np.arange(N_CELLS) % 3 == 200 % 3 if with_rows else None
    with open_cells(path) as source, pytest.raises(InputError) as refused:
        map_source(replace(source, matrix=_unsampled(source.matrix)), small_study.atlas, rows=rows)
    assert found in str(refused.value)


def _unsampled(matrix: Any) -> Any:  # noqa: ANN401 - a row matrix
    """Return the matrix with nothing to see in its first values, so that the fault is met while mapping."""

    class Unsampled(CompressedRows):
        def sample(self, values: int) -> NDArray[Any]:
            return np.ones(min(values, 3))

    fields = {name: getattr(matrix, name) for name in CompressedRows.__dataclass_fields__}
    return Unsampled(**fields)


def test_a_damaged_chunk_is_named_with_its_part(tmp_path: Path, small_study: SmallStudy) -> None:
    path = write(tmp_path / "a.h5ad", small_study, small_study.counts, "gzip", (1_000, 1_000))
    for name in ("indices", "data"):
        with h5py.File(path, "r+") as file:
            chunk = file["X"][name].id.get_chunk_info(4)
        content = bytearray(path.read_bytes())
        at = chunk.byte_offset + chunk.size // 2
        content[at] ^= 0xFF
        broken = tmp_path / f"{name}.h5ad"
        broken.write_bytes(content)
        with open_cells(broken) as source, pytest.raises(InputError, match=rf"X/{name}.*chunk 4 does not decode"):
            map_source(source, small_study.atlas)


def test_a_matrix_that_only_its_library_reads_is_left_to_blocks(tmp_path: Path, small_study: SmallStudy) -> None:
    path = write(tmp_path / "a.h5ad", small_study, small_study.counts, "gzip", (500, 500))
    with h5py.File(path, "r+") as file:
        del file["X/data"]
        file["X"].create_dataset("data", data=small_study.counts.data, chunks=(500,), fletcher32=True)
    with open_cells(path) as source:
        assert stored_rows(source.matrix) is None
