"""Counts as blocks of rows, in constant memory, from any thread.

Rules:

1. A block is a run of cells as compressed rows: ``indptr`` from 0, ``indices`` within the genes. A matrix that breaks
   this raises a named error before its values reach the kernel. Genes may stand in any order, and one that a cell
   names twice has the sum of both counts, as in scipy: the kernel adds them.
2. ``indices`` are int32 and ``data`` float32 or float64, whatever the file holds, so that one compiled kernel serves
   every file. The conversion is exact.
3. Values are not judged here: the kernel sees each of them anyway and reports NaN, negative and broken counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.bounds import MAXIMUM_CHUNK_BYTES, check_shape, damaged
from site_agent.cells.chunks import Array, Vector
from site_agent.cells.file_vectors import FileVector

Span = tuple[int, int]
"""A run of rows, ``start..stop``."""

_MAXIMUM_ROWS = 2**17
_EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True, eq=False)
class CellBlock:
    """A run of cells as compressed rows.

    Attributes
    ----------
    start : int
        The first cell's row in the matrix.
    indptr : ndarray of int64, ``(n + 1,)``
        From 0.
    indices : ndarray of int32, ``(n_values,)``
        Genes of the file.
    data : ndarray of float32 or float64, ``(n_values,)``
        As stored.
    """

    start: int
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: Array

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.indptr.size - 1

    def only(self, keep: NDArray[np.bool_]) -> "CellBlock":
        """Return the block of the kept cells ``(n,)``; ``start`` stays."""
        if keep.all():
            return self
        lengths = np.diff(self.indptr)
        values = np.repeat(keep, lengths)
        indptr = np.concatenate(([0], np.cumsum(lengths[keep])))
        return CellBlock(self.start, indptr, self.indices[values], self.data[values])


class RowMatrix(Protocol):
    """A cells-by-genes matrix that is read by runs of rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        ...

    def spans(self, values: int) -> Iterator[Span]:
        """Yield runs of rows that cover all cells in order, each of about ``values`` stored values."""
        ...

    def read(self, start: int, stop: int) -> CellBlock:
        """Return the block of one of the spans, from any thread."""
        ...

    def sample(self, values: int) -> Array:
        """Return up to ``values`` of the first stored values."""
        ...


@dataclass(frozen=True, eq=False)
class CompressedRows:
    """A CSR matrix in a file: the two long vectors stay there.

    Attributes
    ----------
    new_index : ndarray of int32, ``(n_stored_genes,)``, or None
        The gene that each stored column becomes, -1 to leave it out (antibodies beside genes in a 10x file).
    """

    path: Path
    part: str
    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    indices: Vector
    data: Vector
    new_index: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        n_columns = self.shape[1] if self.new_index is None else self.new_index.size
        check_indptr(self.path, self.part, self.indptr, self.shape[0], n_columns, self.indices.size, self.data.size)

    def spans(self, values: int) -> Iterator[Span]:
        """Yield runs of rows of at most ``values`` values, or of one row."""
        return spans_of(self.indptr, values)

    def read(self, start: int, stop: int) -> CellBlock:
        """Return the rows ``start..stop``."""
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        indices, data = self.indices.read(first, last), self.data.read(first, last)
        indptr = self.indptr[start : stop + 1] - first
        n_columns = self.shape[1] if self.new_index is None else self.new_index.size
        block = checked_block(self.path, self.part, start, indptr, indices, data, n_columns)
        return block if self.new_index is None else _reindexed(block, self.new_index)

    def sample(self, values: int) -> Array:
        """Return up to ``values`` of the first stored values."""
        return self.data.read(0, min(values, self.data.size))

    @property
    def open_vectors(self) -> tuple[FileVector, FileVector] | None:
        """Indices and data where compiled code can read both, every column is a gene, and both are numbers; or None."""
        indices, data = self.indices, self.data
        if self.new_index is not None or not isinstance(indices, FileVector) or not isinstance(data, FileVector):
            return None
        is_exact = data.dtype.kind in "iu" or data.dtype.itemsize in {4, 8}
        return (indices, data) if indices.dtype.kind in "iu" and is_exact else None


@dataclass(frozen=True, eq=False)
class DenseRows:
    """A dense matrix in a file, read by runs of rows.

    Attributes
    ----------
    slab : callable
        ``slab(start, stop)`` gives the rows as a two-dimensional array, from any thread.
    rows_per_chunk : int
        Rows that the file stores together; 1 where it does not matter.
    """

    path: Path
    part: str
    shape: tuple[int, int]
    slab: Callable[[int, int], Array]
    item_bytes: int
    rows_per_chunk: int = 1

    def __post_init__(self) -> None:
        check_shape(self.path, self.part, *self.shape)

    def spans(self, values: int) -> Iterator[Span]:
        """Yield runs of whole chunks of rows; ``values`` bounds what is held, zeros included."""
        row_bytes = self.shape[1] * self.item_bytes
        budget = min(MAXIMUM_CHUNK_BYTES, max(values * 8, row_bytes))
        rows = max(1, budget // row_bytes)
        if self.rows_per_chunk <= rows:
            rows -= rows % self.rows_per_chunk
        for start in range(0, self.shape[0], rows):
            yield start, min(start + rows, self.shape[0])

    def read(self, start: int, stop: int) -> CellBlock:
        """Return the rows ``start..stop``."""
        dense = self.slab(start, stop)
        if dense.shape != (stop - start, self.shape[1]):
            raise damaged(self.path, self.part, f"expected {stop - start} rows, found shape {dense.shape}")
        present = dense != 0
        counts = np.count_nonzero(present, axis=1)
        indptr = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        indices = np.broadcast_to(np.arange(self.shape[1], dtype=np.int32), dense.shape)[present]
        return CellBlock(start, indptr, indices, as_real(self.path, self.part, dense[present]))

    def sample(self, values: int) -> Array:
        """Return up to ``values`` of the first stored values, zeros left out."""
        rows = max(1, values // self.shape[1])
        dense = self.slab(0, min(rows, self.shape[0]))
        present: Array = dense[dense != 0]
        return present


def spans_of(indptr: NDArray[np.int64], values: int) -> Iterator[Span]:
    """Yield runs of rows of at most ``values`` stored values, or of one row that has more."""
    start, n_rows = 0, indptr.size - 1
    while start < n_rows:
        stop = int(np.searchsorted(indptr, indptr[start] + values, "right")) - 1
        stop = min(max(stop, start + 1), start + _MAXIMUM_ROWS, n_rows)
        yield start, stop
        start = stop


def check_indptr(
    path: Path, part: str, indptr: NDArray[np.int64], n_rows: int, n_columns: int, n_indices: int, n_values: int
) -> None:
    """Raise unless ``indptr`` cuts the values into ``n_rows`` runs of at most ``n_columns``.

    Raises
    ------
    InputError
        Its length, ends, order or run lengths are wrong.
    """
    if indptr.size != n_rows + 1:
        raise damaged(path, part, f"expected an indptr of {n_rows + 1} items, found {indptr.size}")
    if n_indices != n_values:
        raise damaged(path, part, f"expected as many indices as values, found {n_indices} and {n_values}")
    if indptr[0] != 0 or indptr[-1] != n_values:
        raise damaged(path, part, f"expected an indptr from 0 to {n_values}, found {indptr[0]} to {indptr[-1]}")
    lengths = np.diff(indptr)
    if (lengths < 0).any():
        raise damaged(path, part, f"indptr falls after item {int(np.argmax(lengths < 0))}")
    if lengths.max(initial=0) > n_columns:
        raise damaged(path, part, f"row {int(np.argmax(lengths))} has {lengths.max()} values of {n_columns} columns")


def checked_block(
    path: Path, part: str, start: int, indptr: NDArray[np.int64], indices: Array, data: Array, n_columns: int
) -> CellBlock:
    """Return a block whose indices are sound.

    Raises
    ------
    InputError
        An index lies outside the columns, or a type is not a number's.
    """
    return CellBlock(start, indptr, checked_indices(path, part, indices, n_columns), as_real(path, part, data))


def checked_indices(path: Path, part: str, indices: Array, n_columns: int) -> NDArray[np.int32]:
    """Return ``indices`` as int32, all within ``0..n_columns - 1``.

    Raises
    ------
    InputError
        An index lies outside, or they are not whole numbers.
    """
    if indices.dtype.kind not in "iu":
        raise damaged(path, part, f"expected indices of whole numbers, found {indices.dtype}")
    if indices.size:
        # Read as unsigned, a negative index is a huge one: one pass finds both.
        largest = int(indices.view(f"u{indices.dtype.itemsize}").max())
        if largest >= n_columns:
            raise damaged(path, part, f"an index lies outside the {n_columns} columns")
    return indices.astype(np.int32, copy=False)


def as_real(path: Path, part: str, data: Array) -> Array:
    """Return ``data`` as float32 or float64, exactly.

    Raises
    ------
    InputError
        The items are not real numbers.
    """
    kind, item_bytes = data.dtype.kind, data.dtype.itemsize
    if kind == "f" and item_bytes in {4, 8}:
        return data.astype(data.dtype.newbyteorder("="), copy=False)
    if kind == "f" and item_bytes == 2:  # noqa: PLR2004 - half precision
        return data.astype(np.float32)
    if kind in "biu":
        fits = item_bytes <= 2 or (  # noqa: PLR2004 - 16 bits are exact in float32
            data.size == 0 or (int(data.max()) <= _EXACT_IN_FLOAT32 and int(data.min()) >= -_EXACT_IN_FLOAT32)
        )
        return data.astype(np.float32 if fits else np.float64)
    raise InputError(
        f"{path}: {part}: expected numbers, found {data.dtype}", hint="store counts as integers or float32"
    )


def _reindexed(block: CellBlock, new_index: NDArray[np.int32]) -> CellBlock:
    indices = new_index[block.indices]
    keep = indices >= 0
    if keep.all():
        return CellBlock(block.start, block.indptr, indices, block.data)
    kept_before = np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))
    return CellBlock(block.start, kept_before[block.indptr], indices[keep], block.data[keep])
