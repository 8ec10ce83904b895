"""Cells of an AnnData in memory, for notebooks. Anything with X, layers, obs and var serves: nothing is imported."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.bounds import check_shape
from site_agent.cells.cell_source import CellSource
from site_agent.cells.chunks import Array
from site_agent.cells.frames import TextColumn
from site_agent.cells.gene_names import IDENTIFIER_COLUMNS, SYMBOL_COLUMNS, gene_names
from site_agent.cells.matrices import CompressedRows, DenseRows, RowMatrix

_MEMORY = Path("<AnnData in memory>")


@dataclass(frozen=True, eq=False)
class MemoryVector:
    """A vector that is in memory already."""

    values: Array

    @property
    def size(self) -> int:
        """Number of items."""
        return int(self.values.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the items."""
        return self.values.dtype

    def read(self, start: int, stop: int) -> Array:
        """Return the items of ``start..stop``, not copied."""
        return self.values[start:stop]


def open_anndata_object(adata: Any, layer: str | None = None) -> CellSource:  # noqa: ANN401 - anndata is not imported here
    """Return the cells of an AnnData object.

    Raises
    ------
    InputError
        There is no such layer, no cells, or a gene stands twice.
    """
    if layer is not None and layer not in adata.layers:
        raise InputError(f"{_MEMORY}: has no layer {layer!r}", hint=f"it has {', '.join(adata.layers) or 'none'}")
    values = adata.X if layer is None else adata.layers[layer]
    part = "X" if layer is None else f"layers/{layer}"
    if values is None:
        raise InputError(f"{_MEMORY}: expected counts in X, found no X", hint="name a layer")
    columns = {
        name: [str(value) for value in adata.var[name].tolist()]
        for name in adata.var.columns
        if name in IDENTIFIER_COLUMNS or name in SYMBOL_COLUMNS
    }
    matrix = _matrix(values, part)

    def cell_names(start: int, stop: int) -> list[str]:
        return [str(name) for name in adata.obs_names[start:stop]]

    def column(name: str) -> TextColumn:
        if name not in adata.obs.columns:
            raise InputError(f"{_MEMORY}: obs has no column {name!r}", hint=f"it has {', '.join(adata.obs.columns)}")
        return _encoded(adata.obs[name].tolist())

    def others() -> Iterator[tuple[str, Array]]:
        for name in adata.layers:
            if name != layer:
                yield f"layers[{name!r}]", _matrix(adata.layers[name], f"layers/{name}").sample(65_536)

    return CellSource(
        path=_MEMORY,
        matrix_name=part,
        matrix=matrix,
        genes=gene_names(_MEMORY, "var", [str(name) for name in adata.var_names], columns),
        cell_names=cell_names,
        columns=tuple(str(name) for name in adata.obs.columns),
        column=column,
        other_matrices=others,
    )


def _matrix(values: Any, part: str) -> RowMatrix:  # noqa: ANN401 - scipy or numpy
    shape = (int(values.shape[0]), int(values.shape[1]))
    check_shape(_MEMORY, part, *shape)
    if not hasattr(values, "tocsr"):
        dense = np.asarray(values)

        def slab(start: int, stop: int) -> NDArray[Any]:
            return dense[start:stop]

        return DenseRows(_MEMORY, part, shape, slab, dense.dtype.itemsize)
    rows = values.tocsr()
    return CompressedRows(
        path=_MEMORY,
        part=part,
        shape=shape,
        indptr=rows.indptr.astype(np.int64),
        indices=MemoryVector(rows.indices),
        data=MemoryVector(rows.data),
    )


def _encoded(values: list[Any]) -> TextColumn:
    numbers: dict[str, int] = {}
    texts = [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values]
    codes = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int32)
    return TextColumn(codes, tuple(numbers))
