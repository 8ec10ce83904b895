"""Values that arrive in any order, turned into blocks of rows through a temporary file.

Matrices that are stored by gene (CSC, tall dense chunks) or as text (10x .mtx) cannot be read by cell. Their values are
written once to a nameless temporary file, sorted into buckets of neighbouring cells, and read back bucket by bucket:
two sequential passes over 12 or 16 bytes a value, in constant memory.

Confidentiality: the file has no name (it is unlinked when made), is readable by this process only, and is gone when
the process ends, however it ends.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError, InternalError
from site_agent.cells.bounds import check_shape, damaged
from site_agent.cells.chunks import Array
from site_agent.cells.matrices import CellBlock, Span, as_real, checked_block, checked_indices, spans_of

Append = Callable[[Array, Array, Array], None]

_RECORDS_PER_READ = 1_000_000


class SpooledRows:
    """A matrix whose values come in any order. They are spooled when its rows are first asked for.

    Parameters
    ----------
    path, part : Path, str
        For messages.
    shape : tuple of int
        Cells and genes.
    fill : callable
        ``fill(append)`` calls ``append(rows, genes, values)`` with all values, in any order and any pieces.
    first_values : callable
        ``first_values(n)`` gives up to n stored values, without spooling.
    is_double : bool
        Keep values as float64, not float32.
    """

    def __init__(
        self,
        path: Path,
        part: str,
        shape: tuple[int, int],
        *,
        fill: Callable[[Append], None],
        first_values: Callable[[int], Array],
        is_double: bool,
    ) -> None:
        check_shape(path, part, *shape)
        self.shape = shape
        self._path, self._part = path, part
        self._record = np.dtype([("row", "<i4"), ("gene", "<i4"), ("value", "<f8" if is_double else "<f4")])
        self._fill, self._first_values = fill, first_values
        self._spool: IO[bytes] | None = None
        self._per_row = np.zeros(shape[0], dtype=np.int64)
        self._is_sorted = True
        self._last_row = -1
        self._indptr = np.zeros(1, dtype=np.int64)
        self._spans: tuple[Span, ...] = ()

    def spans(self, values: int) -> Iterator[Span]:
        """Yield the buckets, whose size is fixed when the rows are first asked for."""
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(prefix="crosslot-")  # noqa: SIM115 - closed by close()
            self._fill(self._append)
            self._seal(values)
        yield from self._spans

    def _append(self, rows: Array, genes: Array, values: Array) -> None:
        """Take values of equal length ``(n,)``, in any order.

        Raises
        ------
        InputError
            A row or a gene lies outside the shape, a value is no number, or the disk is full.
        """
        records = np.empty(rows.size, dtype=self._record)
        records["row"] = checked_indices(self._path, self._part, rows, self.shape[0])
        records["gene"] = checked_indices(self._path, self._part, genes, self.shape[1])
        records["value"] = as_real(self._path, self._part, values)
        if not rows.size:
            return
        self._per_row += np.bincount(records["row"], minlength=self.shape[0])
        if self._is_sorted:
            self._is_sorted = int(records["row"][0]) >= self._last_row and bool((np.diff(records["row"]) >= 0).all())
            self._last_row = int(records["row"][-1])
        with self._naming_disk():
            self._file.write(records.tobytes())

    def _seal(self, values: int) -> None:
        """Sort what was appended into blocks of about ``values`` values."""
        self._indptr = np.concatenate(([0], np.cumsum(self._per_row)))
        self._spans = tuple(spans_of(self._indptr, values))
        with self._naming_disk():
            self._file.flush()
            if not self._is_sorted:
                self._sort_into_buckets()

    def read(self, start: int, stop: int) -> CellBlock:
        """Return the rows of one bucket."""
        first, last = int(self._indptr[start]), int(self._indptr[stop])
        records = self._records(first, last - first)
        order = np.argsort(records["row"], kind="stable")
        genes = np.ascontiguousarray(records["gene"][order])
        values = np.ascontiguousarray(records["value"][order])
        indptr = self._indptr[start : stop + 1] - first
        return checked_block(self._path, self._part, start, indptr, genes, values, self.shape[1])

    def sample(self, values: int) -> Array:
        """Return up to ``values`` of the stored values."""
        return self._first_values(values)

    def close(self) -> None:
        """Drop the temporary file."""
        if self._spool is not None:
            self._spool.close()

    def _sort_into_buckets(self) -> None:
        bounds = np.array([stop for _start, stop in self._spans], dtype=np.int64)
        cursors = self._indptr[np.array([start for start, _stop in self._spans])].copy()
        target: IO[bytes] = tempfile.TemporaryFile(prefix="crosslot-")  # noqa: SIM115 - takes the place of the first file
        n_records = int(self._indptr[-1])
        for first in range(0, n_records, _RECORDS_PER_READ):
            records = self._records(first, min(_RECORDS_PER_READ, n_records - first))
            bucket = np.searchsorted(bounds, records["row"], side="right")
            order = np.argsort(bucket, kind="stable")
            records, bucket = records[order], bucket[order]
            edges = np.flatnonzero(np.diff(bucket, prepend=-1, append=-1))
            for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                number = int(bucket[begin])
                os.pwrite(target.fileno(), records[begin:end].tobytes(), int(cursors[number]) * self._record.itemsize)
                cursors[number] += end - begin
        self._file.close()
        self._spool = target

    def _records(self, first: int, count: int) -> NDArray[np.void]:
        raw = os.pread(self._file.fileno(), count * self._record.itemsize, first * self._record.itemsize)
        if len(raw) != count * self._record.itemsize:
            raise damaged(self._path, self._part, "its temporary file lost data")
        records: NDArray[Any] = np.frombuffer(raw, dtype=self._record)
        return records

    @property
    def _file(self) -> IO[bytes]:
        if self._spool is None:
            raise InternalError("expected spans() before read()")
        return self._spool

    def _naming_disk(self) -> "_NamingDisk":
        return _NamingDisk(self._path)


class _NamingDisk:
    """Names a full disk: the only thing that can go wrong with a temporary file of our own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise InputError(
                f"{self._path}: no room for its values in {tempfile.gettempdir()}: {error.strerror}",
                hint="set TMPDIR to a local folder with more room, or convert the file to CSR",
            ) from error
