"""The layout of an AnnData on disk, the same in HDF5 and in zarr: X, layers, raw, obs, var.

Sources: anndata 0.12, "On-disk format" (encodings csr_matrix, csc_matrix, array, dataframe, categorical).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.bounds import MAXIMUM_CELLS, MAXIMUM_CHUNK_BYTES, check_shape, damaged, naming_damage
from site_agent.cells.cell_source import CellSource
from site_agent.cells.chunks import Array, Vector
from site_agent.cells.frames import Frame, child, open_frame
from site_agent.cells.gene_names import IDENTIFIER_COLUMNS, SYMBOL_COLUMNS, GeneNames, gene_names
from site_agent.cells.matrices import CompressedRows, DenseRows, RowMatrix
from site_agent.cells.spool import Append, SpooledRows

_SPOOLED_AT_ONCE = 2**20
_FLOAT32_BYTES = 4


class Store(Protocol):
    """Opens the arrays of a file format."""

    def vector(self, group: Any, name: str, part: str) -> Vector:  # noqa: ANN401 - h5py and zarr ship no common type
        """Return the vector ``group[name]``."""
        ...

    def dense(self, dataset: Any, part: str) -> DenseRows:  # noqa: ANN401 - h5py and zarr ship no common type
        """Return a two-dimensional dataset as rows."""
        ...


def open_anndata(
    path: Path,
    root: Any,  # noqa: ANN401 - an h5py or a zarr group
    layer: str | None,
    store: Store,
    closers: tuple[Callable[[], None], ...],
) -> CellSource:
    """Return the cells of an AnnData group.

    Parameters
    ----------
    root : h5py.Group or zarr.Group
        Holds X, obs and var.
    layer : str or None
        A layer, or ``raw``.
    store : Store
        Opens the group's arrays.
    closers : tuple of callable
        What ``close`` of the source calls.

    Raises
    ------
    InputError
        As ``open_cells``.
    """
    obs = open_frame(root, "obs", path)
    part, var_parent = _matrix_part(path, root, layer)
    var = open_frame(var_parent, "var", path)
    if obs.n_rows == 0 or var.n_rows == 0:
        check_shape(path, part, obs.n_rows, var.n_rows)
    genes = _genes(path, var)
    matrix = _open_matrix(path, _item(path, root, part), part, store)
    if matrix.shape != (obs.n_rows, var.n_rows):
        raise damaged(path, part, f"its shape is {matrix.shape}, of obs and var {(obs.n_rows, var.n_rows)}")
    spool_closer = (matrix.close,) if isinstance(matrix, SpooledRows) else ()
    return CellSource(
        path=path,
        matrix_name=part,
        matrix=matrix,
        genes=genes,
        cell_names=obs.names,
        columns=obs.columns,
        column=obs.column,
        other_matrices=lambda: _other_matrices(path, root, part, store),
        closers=(*spool_closer, *closers),
    )


def _matrix_part(path: Path, root: Any, layer: str | None) -> tuple[str, Any]:  # noqa: ANN401 - h5py or zarr
    """Return the matrix's place in the file, and the group that holds its var."""
    with naming_damage(path, "the file"):
        layers = tuple(str(name) for name in root["layers"]) if "layers" in root else ()
        has_raw = "raw" in root and "X" in root["raw"]
        if layer is None:
            if "X" not in root:
                named = ", ".join((*layers, *(("raw",) if has_raw else ())))
                hint = f"name one of its layers: {named}" if named else "is it an .h5ad of cells?"
                raise InputError(f"{path}: expected counts in X, found no X", hint=hint)
            return "X", root
        if layer in layers:
            return f"layers/{layer}", root
        if layer == "raw" and has_raw:
            return "raw/X", root["raw"]
    known = ", ".join((*layers, *(("raw",) if has_raw else ()))) or "none"
    raise InputError(f"{path}: has no layer {layer!r}", hint=f"its layers: {known}; leave the layer out for X")


def _item(path: Path, root: Any, part: str) -> Any:  # noqa: ANN401 - h5py or zarr
    group = root
    *parents, name = part.split("/", 1)
    for parent in parents:
        group = child(group, parent, path, parent, group_allowed=True)
    return child(group, name, path, part, group_allowed=True)


def _genes(path: Path, var: Frame) -> GeneNames:
    columns = {name: _texts(var, name) for name in var.columns if name in IDENTIFIER_COLUMNS or name in SYMBOL_COLUMNS}
    return gene_names(path, var.part, var.names(0, var.n_rows), columns)


def _texts(var: Frame, name: str) -> list[str]:
    column = var.column(name)
    return [column.texts[code] if code >= 0 else "" for code in column.codes.tolist()]


def _open_matrix(path: Path, item: Any, part: str, store: Store) -> RowMatrix:  # noqa: ANN401 - h5py or zarr
    with naming_damage(path, part):
        if not hasattr(item, "keys"):
            dense = store.dense(item, part)
            row_bytes = dense.shape[1] * dense.item_bytes
            return (
                _spooled_dense(path, part, dense, item)
                if dense.rows_per_chunk * row_bytes > MAXIMUM_CHUNK_BYTES
                else dense
            )
        encoding = _text(item.attrs.get("encoding-type", item.attrs.get("h5sparse_format", "")))
        shape_attr = item.attrs.get("shape", item.attrs.get("h5sparse_shape", None))
        if encoding.removesuffix("_matrix") not in {"csr", "csc"} or shape_attr is None:
            raise damaged(path, part, f"expected csr_matrix, csc_matrix or array, found {encoding[:40]!r}")
        n_cells, n_genes = (int(n) for n in shape_attr)
    check_shape(path, part, n_cells, n_genes)
    by_gene = encoding.startswith("csc")
    indptr_vector = store.vector(item, "indptr", f"{part}/indptr")
    if indptr_vector.size > MAXIMUM_CELLS + 1 or indptr_vector.dtype.kind not in "iu":
        raise damaged(path, part, f"its indptr has {indptr_vector.size:,} items of {indptr_vector.dtype}")
    indptr = indptr_vector.read(0, indptr_vector.size).astype(np.int64, copy=False)
    major, minor = (n_genes, n_cells) if by_gene else (n_cells, n_genes)
    rows = CompressedRows(
        path=path,
        part=part,
        shape=(major, minor),
        indptr=indptr,
        indices=store.vector(item, "indices", f"{part}/indices"),
        data=store.vector(item, "data", f"{part}/data"),
    )
    return _spooled_columns(path, part, rows) if by_gene else rows


def _spooled_columns(path: Path, part: str, by_gene: CompressedRows) -> SpooledRows:
    n_genes, n_cells = by_gene.shape

    def fill(append: Append) -> None:
        for start, stop in by_gene.spans(_SPOOLED_AT_ONCE):
            first, last = int(by_gene.indptr[start]), int(by_gene.indptr[stop])
            # A gene may have a value in each of millions of cells: its run is read in pieces.
            for begin in range(first, last, _SPOOLED_AT_ONCE):
                end = min(begin + _SPOOLED_AT_ONCE, last)
                edges = np.clip(by_gene.indptr[start : stop + 1], begin, end)
                genes = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(edges))
                append(by_gene.indices.read(begin, end), genes, by_gene.data.read(begin, end))

    return SpooledRows(
        path,
        part,
        (n_cells, n_genes),
        fill=fill,
        first_values=by_gene.sample,
        is_double=by_gene.data.dtype.itemsize > _FLOAT32_BYTES,
    )


def _spooled_dense(path: Path, part: str, dense: DenseRows, dataset: Any) -> SpooledRows:  # noqa: ANN401 - h5py or zarr
    """Spool a dense matrix whose chunks are so tall that a run of rows would decode most of the file."""
    height, width = int(dataset.chunks[0]), int(dataset.chunks[1])

    def fill(append: Append) -> None:
        for top in range(0, dense.shape[0], height):
            for left in range(0, dense.shape[1], width):
                with naming_damage(path, part):
                    tile: Array = np.asarray(dataset[top : top + height, left : left + width])
                rows, genes = np.nonzero(tile)
                append(rows + top, genes + left, tile[rows, genes])

    return SpooledRows(
        path, part, dense.shape, fill=fill, first_values=dense.sample, is_double=dense.item_bytes > _FLOAT32_BYTES
    )


def _other_matrices(path: Path, root: Any, chosen: str, store: Store) -> Iterator[tuple[str, NDArray[Any]]]:  # noqa: ANN401 - h5py or zarr
    parts = [
        ("X", "X"),
        *((f"layers[{name!r}]", f"layers/{name}") for name in root.get("layers", {})),
        ("raw", "raw/X"),
    ]
    for name, part in parts:
        if part == chosen:
            continue
        try:
            item = _item(path, root, part)
            if hasattr(item, "keys"):
                vector = store.vector(item, "data", f"{part}/data")
                yield name, vector.read(0, min(65_536, vector.size))
            else:
                yield name, store.dense(item, part).sample(65_536)
        except InputError:
            continue


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
