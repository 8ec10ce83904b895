"""Cells as Cell Ranger writes them: an ``.h5`` file, or a folder with ``matrix.mtx``.

Rules:

1. Only genes count: features of another type (antibodies, guides) are left out, so that the library size is that of
   the transcriptome.
2. Barcodes name the cells; there is no obs, so a lot is a whole file.

Sources: 10x Genomics, "Feature-Barcode Matrices" (HDF5 and MEX formats); NIST, "Matrix Market Exchange Formats".
"""

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.anndata_layout import Store
from site_agent.cells.bounds import MAXIMUM_CELLS, MAXIMUM_GENES, check_shape, damaged, naming_damage
from site_agent.cells.cell_source import CellSource
from site_agent.cells.chunks import Array
from site_agent.cells.frames import TextColumn, child, texts_of
from site_agent.cells.gene_names import GeneNames, gene_names
from site_agent.cells.matrices import CompressedRows, RowMatrix, checked_indices
from site_agent.cells.spool import Append, SpooledRows

_EXPRESSION = "Gene Expression"
_LINES_AT_ONCE = 500_000


def open_10x_hdf5(
    path: Path,
    file: Any,  # noqa: ANN401 - h5py ships no types
    layer: str | None,
    store: Store,
    closers: tuple[Callable[[], None], ...],
) -> CellSource:
    """Return the cells of a 10x ``.h5``, of Cell Ranger 3 and later or before.

    Raises
    ------
    InputError
        It is no 10x file, has several genomes, is damaged, or a layer was asked for.
    """
    with naming_damage(path, "the HDF5 file"):
        groups = [name for name in file if hasattr(file[name], "keys") and "barcodes" in file[name]]
        held = ", ".join(list(file)[:12]) or "nothing"
    if not groups:
        raise InputError(
            f"{path}: expected AnnData's obs and var or 10x's matrix, found {held}",
            hint="is it an .h5ad of cells? other formats: convert with anndata",
        )
    if len(groups) > 1:
        raise InputError(
            f"{path}: expected one genome, found {', '.join(groups)}", hint="write the genome of the product as .h5ad"
        )
    if layer is not None:
        raise InputError(f"{path}: expected no layer for a 10x file, found {layer!r}", hint="leave the layer out")
    part = groups[0]
    group = child(file, part, path, part, group_allowed=True)
    barcodes = child(group, "barcodes", path, f"{part}/barcodes")
    identifiers, symbols, kinds = _hdf5_features(path, group, part)
    with naming_damage(path, part):
        n_features, n_cells = (int(n) for n in child(group, "shape", path, f"{part}/shape")[:2])
    if n_features != len(identifiers) or n_cells != int(barcodes.shape[0]):
        found = f"{len(identifiers)} features and {barcodes.shape[0]} barcodes for a shape of {n_features} by {n_cells}"
        raise damaged(path, part, found)
    genes, new_index = _expression_genes(path, part, identifiers, symbols, kinds)
    indptr_vector = store.vector(group, "indptr", f"{part}/indptr")
    if indptr_vector.size > MAXIMUM_CELLS + 1 or indptr_vector.dtype.kind not in "iu":
        raise damaged(path, part, f"its indptr has {indptr_vector.size:,} items of {indptr_vector.dtype}")
    check_shape(path, part, n_cells, len(genes.index))
    matrix = CompressedRows(
        path=path,
        part=part,
        shape=(n_cells, len(genes.index)),
        indptr=indptr_vector.read(0, indptr_vector.size).astype(np.int64),
        indices=store.vector(group, "indices", f"{part}/indices"),
        data=store.vector(group, "data", f"{part}/data"),
        new_index=new_index,
    )

    def cell_names(start: int, stop: int) -> list[str]:
        return texts_of(barcodes, start, stop, path, f"{part}/barcodes")

    return _source(path, part, matrix, genes, cell_names, closers)


def open_mtx_folder(path: Path) -> CellSource:
    """Return the cells of a 10x folder: ``matrix.mtx``, ``barcodes.tsv``, ``features.tsv`` or ``genes.tsv``.

    Each may be gzipped.

    Raises
    ------
    InputError
        A file is missing or damaged, or the three disagree.
    """
    matrix_path = _one_of(path, ("matrix.mtx.gz", "matrix.mtx"))
    barcodes = [
        line.split("\t")[0] for line in _lines(_one_of(path, ("barcodes.tsv.gz", "barcodes.tsv")), MAXIMUM_CELLS)
    ]
    names = ("features.tsv.gz", "features.tsv", "genes.tsv.gz", "genes.tsv")
    features = [line.split("\t") for line in _lines(_one_of(path, names), MAXIMUM_GENES)]
    identifiers = [row[0] for row in features]
    symbols = [row[1] if len(row) > 1 else row[0] for row in features]
    kinds = [row[2] if len(row) > 2 else _EXPRESSION for row in features]  # noqa: PLR2004 - the third column
    genes, new_index = _expression_genes(path, "features.tsv", identifiers, symbols, kinds)
    matrix = _spooled_mtx(matrix_path, (len(barcodes), len(identifiers)), new_index, len(genes.index))
    return _source(path, matrix_path.name, matrix, genes, lambda start, stop: barcodes[start:stop], (matrix.close,))


def _source(
    path: Path,
    part: str,
    matrix: RowMatrix,
    genes: GeneNames,
    cell_names: Callable[[int, int], list[str]],
    closers: tuple[Callable[[], None], ...],
) -> CellSource:
    def column(name: str) -> TextColumn:
        raise InputError(f"{path}: a 10x file has no column {name!r}", hint="one file a lot, or convert to .h5ad")

    def nothing() -> Iterator[tuple[str, Array]]:
        yield from ()

    return CellSource(
        path=path,
        matrix_name=part,
        matrix=matrix,
        genes=genes,
        cell_names=cell_names,
        columns=(),
        column=column,
        other_matrices=nothing,
        closers=closers,
    )


def _hdf5_features(path: Path, group: Any, part: str) -> tuple[list[str], list[str], list[str]]:  # noqa: ANN401 - h5py ships no types
    with naming_damage(path, part):
        is_current = "features" in group
    holder = child(group, "features", path, f"{part}/features", group_allowed=True) if is_current else group
    places = ("id", "name", "feature_type") if is_current else ("genes", "gene_names", "")
    columns: list[list[str]] = []
    for place in places:
        if place and (place != "feature_type" or place in holder):
            dataset = child(holder, place, path, f"{part}/{place}")
            if len(dataset.shape) != 1 or dataset.shape[0] > MAXIMUM_GENES:
                raise damaged(path, part, f"{place} has shape {dataset.shape}")
            columns.append(texts_of(dataset, 0, int(dataset.shape[0]), path, f"{part}/{place}"))
        else:
            columns.append([_EXPRESSION] * len(columns[0]))
    identifiers, symbols, kinds = columns
    if not len(identifiers) == len(symbols) == len(kinds):
        raise damaged(path, part, "its feature columns differ in length")
    return identifiers, symbols, kinds


def _expression_genes(
    path: Path, part: str, identifiers: list[str], symbols: list[str], kinds: list[str]
) -> tuple[GeneNames, NDArray[np.int32] | None]:
    is_gene = np.array([kind == _EXPRESSION for kind in kinds], dtype=np.bool_)
    if not is_gene.any():
        found = ", ".join(sorted(set(kinds))[:5]) or "no feature"
        raise InputError(f"{path}: {part}: expected gene expression, found {found}", hint="is it the right file?")
    kept = np.flatnonzero(is_gene).tolist()
    names = gene_names(path, part, [identifiers[i] for i in kept], {"name": [symbols[i] for i in kept]})
    if not any(names.identifiers):  # identifiers of another database: the symbols are then the better names
        names = GeneNames(index=names.index, identifiers=names.index, symbols=tuple(symbols[i] for i in kept))
    if is_gene.all():
        return names, None
    return names, np.where(is_gene, np.cumsum(is_gene) - 1, -1).astype(np.int32)


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder}: expected {' or '.join(names)}, found none",
        hint="a folder of cells is a zarr store, or holds matrix.mtx, barcodes.tsv and features.tsv",
    )


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path, maximum: int) -> list[str]:
    """Return the lines of a names file; longer than its bounds is refused, so that a gzip bomb stays small."""
    lines: list[str] = []
    with naming_damage(path, "the file"), _opened(path) as raw:
        while line := raw.readline(65_536):
            if len(line) == 65_536 or len(lines) >= maximum:  # noqa: PLR2004 - readline's bound
                raise damaged(path, "the file", f"expected at most {maximum:,} short lines")
            lines.append(line.decode("utf-8").rstrip("\r\n"))
    return lines


def _spooled_mtx(path: Path, shape: tuple[int, int], new_index: NDArray[np.int32] | None, n_genes: int) -> SpooledRows:
    n_cells, n_features = shape
    with naming_damage(path, "the matrix"), _opened(path) as raw:
        _, is_real = _mtx_header(path, raw, shape)

    def fill(append: Append) -> None:
        with naming_damage(path, "the matrix"), _opened(path) as raw:
            declared, _ = _mtx_header(path, raw, shape)
            left = declared
            for features, cells, values in _mtx_entries(raw, is_real=is_real):
                left -= features.size
                if left < 0:
                    break
                stored = checked_indices(path, path.name, features - 1, n_features)
                genes = stored if new_index is None else new_index[stored]
                keep = genes >= 0
                append(cells[keep] - 1, genes[keep], values[keep])
            _require_all(path, declared, left)

    def first_values(n: int) -> Array:
        with naming_damage(path, "the matrix"), _opened(path) as raw:
            _mtx_header(path, raw, shape)
            found = next(_mtx_entries(raw, is_real=is_real), None)
            return np.empty(0) if found is None else found[2][:n]

    return SpooledRows(path, path.name, (n_cells, n_genes), fill=fill, first_values=first_values, is_double=is_real)


def _require_all(path: Path, declared: int, left: int) -> None:
    if left != 0:
        found = "more" if left < 0 else f"{declared - left:,}"
        raise damaged(path, "the matrix", f"expected {declared:,} values, found {found}")


def _mtx_header(path: Path, raw: gzip.GzipFile | io.BufferedReader, shape: tuple[int, int]) -> tuple[int, bool]:
    banner = raw.readline(1_024).decode("ascii", "replace").lower().split()
    if banner[:3] != ["%%matrixmarket", "matrix", "coordinate"] or banner[4:] != ["general"]:
        raise damaged(path, "the matrix", f"expected a general coordinate matrix, found {' '.join(banner)[:80]!r}")
    if banner[3] not in {"integer", "real"}:
        raise damaged(path, "the matrix", f"expected integer or real values, found {banner[3][:40]!r}")
    line = raw.readline(65_536)
    while line.startswith(b"%"):
        line = raw.readline(65_536)
    n_features, n_cells, n_values = (int(text) for text in line.split())
    if (n_cells, n_features) != shape:
        found = f"{n_features} by {n_cells}, of {shape[1]} features and {shape[0]} barcodes"
        raise damaged(path, "the matrix", f"its shape is {found}")
    return n_values, banner[3] == "real"


def _mtx_entries(raw: gzip.GzipFile | io.BufferedReader, *, is_real: bool) -> Iterator[tuple[Array, Array, Array]]:
    import pandas as pd  # noqa: PLC0415 - only for this format

    kinds = {0: np.int64, 1: np.int64, 2: np.float64 if is_real else np.int64}
    reader = pd.read_csv(
        raw,
        sep=" ",
        header=None,
        names=[0, 1, 2],
        dtype=kinds,
        chunksize=_LINES_AT_ONCE,
        index_col=False,
        na_filter=False,
        engine="c",
    )
    with reader:
        for table in reader:
            yield table[0].to_numpy(), table[1].to_numpy(), table[2].to_numpy()
