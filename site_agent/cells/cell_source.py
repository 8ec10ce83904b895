"""Open cells, whatever the format: names, obs columns, and counts in blocks of constant memory.

Reading a ``CellSource`` ends in values or in an ``InputError`` that names the file and the part. Where the chosen
matrix holds no counts, the error says which other matrix of the file does. ``reading`` opens one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.bounds import VALUES_PER_BLOCK
from site_agent.cells.chunks import Array
from site_agent.cells.frames import TextColumn, repeated_rows
from site_agent.cells.gene_names import GeneNames
from site_agent.cells.matrices import CellBlock, RowMatrix, Span

_NAMES_PER_SLICE = 8_192
_PROBED_VALUES = 65_536


@dataclass(frozen=True, eq=False)
class CellSource(AbstractContextManager["CellSource"]):
    """Open cells. Close it, or use it in a ``with`` statement.

    Attributes
    ----------
    matrix_name : str
        Which matrix holds the counts: ``X``, ``layers/counts``, ``raw/X``, ``matrix``.
    matrix : RowMatrix
        Cells by genes.
    cell_names : callable
        ``cell_names(start, stop)`` gives the names of a run of cells.
    columns : tuple of str
        Of obs.
    column : callable
        ``column(name)`` gives an obs column.
    distinct_cells : callable, optional
        Raises where two cells share a name: given where another process has looked; this one then need not.
    other_matrices : callable
        Yields (what to pass as ``layer``, sample of values) of the file's other matrices, for messages.
    """

    path: Path
    matrix_name: str
    matrix: RowMatrix
    genes: GeneNames
    cell_names: Callable[[int, int], list[str]]
    columns: tuple[str, ...]
    column: Callable[[str], TextColumn]
    other_matrices: Callable[[], Iterator[tuple[str, Array]]]
    closers: tuple[Callable[[], None], ...] = field(default=())
    distinct_cells: Callable[[], None] | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.matrix.shape[0]

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return self.matrix.shape[1]

    def spans(self, values: int = VALUES_PER_BLOCK, rows: NDArray[np.bool_] | None = None) -> Iterator[Span]:
        """Yield runs of cells of about ``values`` stored values; those without one of ``rows`` are left out."""
        for start, stop in self.matrix.spans(values):
            if rows is None or rows[start:stop].any():
                yield start, stop

    def read(self, span: Span, rows: NDArray[np.bool_] | None = None) -> CellBlock:
        """Return the block of one of the spans, only those of ``rows`` where given. Safe from any thread."""
        block = self.matrix.read(*span)
        return block if rows is None else block.only(rows[span[0] : span[1]])

    def blocks(self, values: int = VALUES_PER_BLOCK, rows: NDArray[np.bool_] | None = None) -> Iterator[CellBlock]:
        """Yield all cells, or those of ``rows`` ``(n_cells,)``, in order, block by block."""
        for span in self.spans(values, rows):
            yield self.read(span, rows)

    def rows_where(self, filters: Sequence[tuple[str, str]]) -> NDArray[np.bool_] | None:
        """Return the cells for which every (column, value) holds, ``(n_cells,)``; None where there is no filter.

        Raises
        ------
        InputError
            A column is missing, or no cell remains.
        """
        rows: NDArray[np.bool_] | None = None
        for name, value in filters:
            column = self.column(name)
            if value not in column.texts:
                known = ", ".join(sorted(column.texts)[:20])
                raise InputError(f"{self.path}: obs[{name!r}] has no cell with {value!r}", hint=f"it has {known}")
            found = column.equals(value)
            rows = found if rows is None else rows & found
        if rows is not None and not rows.any():
            wanted = "; ".join(f"{name}={value}" for name, value in filters)
            raise InputError(f"{self.path}: no cell with {wanted}", hint="check the values against the file's obs")
        return rows

    def require_distinct_cells(self) -> None:
        """Raise unless every cell has a name of its own.

        Raises
        ------
        InputError
            Two cells share a name.
        """
        if self.distinct_cells is not None:
            self.distinct_cells()
            return
        starts = range(0, self.n_cells, _NAMES_PER_SLICE)
        pair = repeated_rows(self.cell_names(s, min(s + _NAMES_PER_SLICE, self.n_cells)) for s in starts)
        if pair is None:
            return
        first, second = (self.cell_names(row, row + 1)[0] for row in pair)
        if first == second:
            raise InputError(
                f"{self.path}: expected each cell once, found {first!r} in rows {pair[0]} and {pair[1]}",
                hint="does the file hold a cell twice? if not, make the names unique: adata.obs_names_make_unique()",
            )

    def require_counts(self) -> None:
        """Raise where the first values show that the matrix holds no counts. Mapping checks every value.

        Raises
        ------
        InputError
            Normalised, negative or not-a-number values; the hint names a matrix of the file that holds counts.
        """
        fault = fault_of_counts(self.matrix.sample(_PROBED_VALUES))
        if fault is not None:
            raise self.no_counts(fault)

    def no_counts(self, fault: str) -> InputError:
        """Return the error of a matrix that holds no counts: ``fault`` says what was found."""
        where = [name for name, sample in self.other_matrices() if fault_of_counts(sample) is None]
        hint = f"{' and '.join(where)} of this file looks like counts: name it as the layer" if where else None
        return InputError(
            f"{self.path}: expected counts (whole numbers, not negative) in {self.matrix_name}, found {fault}",
            hint=hint or "no matrix of this file holds counts: export the raw counts, before any normalisation",
        )

    def close(self) -> None:
        """Close the file."""
        for closer in self.closers:
            closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def fault_of_counts(values: Array) -> str | None:
    """Return what shows that values are no counts, or None.

    Examples
    --------
    >>> fault_of_counts(np.array([1.0, 0.6931]))
    'values that are not whole, such as 0.6931'
    >>> fault_of_counts(np.array([1, 2, 30])) is None
    True
    """
    if not values.size or values.dtype.kind in "bu":
        return None
    if values.dtype.kind == "f" and not bool(np.isfinite(values).all()):
        return "NaN or infinite values"
    if bool((values < 0).any()):
        return f"negative values, such as {float(values[values < 0][0]):.4g}"
    if values.dtype.kind == "f":
        broken = values != np.floor(values)
        if bool(broken.any()):
            return f"values that are not whole, such as {float(values[broken][0]):.4g}"
    return None
