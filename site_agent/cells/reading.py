"""Cells of a file, whatever its format: names, obs columns, and counts in blocks of constant memory.

Formats: AnnData as ``.h5ad`` and as zarr (CSR, CSC or dense; any compression), 10x ``.h5``, a 10x folder of
``matrix.mtx``, and an AnnData in memory.

Rules:

1. A file is opened by what it holds, not by its name.
2. Whatever a file holds, opening and reading end in values or in an ``InputError`` that names the file and the part.
3. Where the chosen matrix holds no counts, the error says which other matrix of the file does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
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
from site_agent.cells.scout import SCOUT, Task

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
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


def open_cells(path: Path, layer: str | None = None) -> CellSource:
    """Return the cells of a file or folder.

    Parameters
    ----------
    path : Path
        ``.h5ad``, 10x ``.h5``, a zarr folder, or a 10x folder of ``matrix.mtx``.
    layer : str, optional
        A named layer of an AnnData file, or ``raw`` for ``raw/X``; X where not given.

    Raises
    ------
    InputError
        The file is missing, of no known format, damaged, empty, or names a gene twice.
    """
    if path.is_dir():
        if any((path / name).exists() for name in ("zarr.json", ".zgroup")):
            from site_agent.cells.sources_zarr import open_zarr  # noqa: PLC0415 - zarr is slow to import

            return open_zarr(path, layer)
        from site_agent.cells.sources_10x import open_mtx_folder  # noqa: PLC0415 - loaded where it is needed

        _refuse_layer(path, layer)
        return open_mtx_folder(path)
    _require_hdf5(path)
    return _scouted(path, layer)


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


def _scouted(path: Path, layer: str | None) -> CellSource:
    """Return the cells of an HDF5 file; whatever its tables may do to a process happens to the scout first."""
    from site_agent.cells.sources_h5ad import open_hdf5  # noqa: PLC0415 - loaded where it is needed

    SCOUT.require(path, layer, Task.OPEN)
    source = open_hdf5(path, layer)
    done: set[tuple[Task, str]] = set()

    def scout(task: Task, name: str = "") -> None:
        if (task, name) not in done:
            SCOUT.require(path, layer, task, name)
            done.add((task, name))

    def cell_names(start: int, stop: int) -> list[str]:
        scout(Task.NAMES)
        return source.cell_names(start, stop)

    def column(name: str) -> TextColumn:
        scout(Task.COLUMN, name)
        return source.column(name)

    def other_matrices() -> Iterator[tuple[str, Array]]:
        scout(Task.OTHER_MATRICES)
        yield from source.other_matrices()

    return replace(source, cell_names=cell_names, column=column, other_matrices=other_matrices)


def _refuse_layer(path: Path, layer: str | None) -> None:
    if layer is not None:
        raise InputError(f"{path}: expected no layer for a 10x file, found {layer!r}", hint="leave the layer out")


def _require_hdf5(path: Path) -> None:
    """Raise unless a file begins as HDF5, with a word for what it is instead.

    Raises
    ------
    InputError
        Missing, unreadable, empty, or another format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a file of cells, found none", hint="check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", hint="check its type and permissions") from None
    if head.startswith(_HDF5_SIGNATURE):
        return
    kinds = {
        b"": "an empty file",
        b"\x1f\x8b": "a gzip archive: unpack it",
        b"PK\x03\x04": "a zip archive: unpack it",
        b"version https://git-lfs": "a Git LFS pointer: fetch the file itself",
        b"%%MatrixMarket": "a matrix.mtx: give its folder",
        b"RDX": "an R object: save it as .h5ad",
        b"PAR1": "a parquet table: cells come as .h5ad",
    }
    found = next((name for start, name in kinds.items() if start and head.startswith(start)), None)
    if not head:
        found = kinds[b""]
    raise InputError(
        f"{path}: expected an HDF5 file of cells (.h5ad or 10x .h5), found {found or 'another format'}",
        hint="give an .h5ad, a 10x .h5, a zarr folder, or a 10x folder with matrix.mtx",
    )
