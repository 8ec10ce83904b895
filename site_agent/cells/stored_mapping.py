"""Rows of a file mapped as they are read: chunk by chunk within the processor's cache, all of it in compiled code.

For a CSR matrix whose bytes lie open in its file (``file_vectors``); every other matrix is read block by block and then
mapped. The results are the same to the last bit.
"""

from ctypes import POINTER, Structure, byref, c_int, c_int64, c_void_p, pointer
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.atlas.compiled import IS_WIDE, Cells, Tables
from shared.atlas.kernel import KernelTables, MappedBlock, Validity, mapped_by
from shared.native.library import LIBRARY, address
from site_agent.cells.bounds import damaged
from site_agent.cells.file_vectors import CompiledVector, Fault, FileVector
from site_agent.cells.matrices import CompressedRows, RowMatrix, Span

_VALUES_PER_SPAN = 2_000_000
_CHUNKS_PER_SPAN = 32
"""A chunk that two spans share is decoded twice: so spans are long beside chunks. No span is held in memory whole."""


class _StoredRows(Structure):
    """As ``struct stored_rows`` of ``shared/native/mapping.c``."""

    _fields_ = (
        *((name, c_void_p) for name in ("indptr", "keep")),
        *((name, POINTER(CompiledVector)) for name in ("genes", "counts")),
        *((name, c_int64) for name in ("start", "stop")),
    )


LIBRARY.crosslot_map_stored_rows.argtypes = [
    *(POINTER(kind) for kind in (Tables, _StoredRows, Cells)),
    *(c_int, POINTER(c_int64), POINTER(Fault)),
]


@dataclass(frozen=True, eq=False)
class StoredRows:
    """The rows of an open CSR matrix."""

    matrix: CompressedRows
    genes: FileVector
    counts: FileVector

    @property
    def values_per_span(self) -> int:
        """Stored values of a span."""
        chunks = [vector.chunks.items for vector in (self.genes, self.counts) if vector.chunks is not None]
        return max(_VALUES_PER_SPAN, _CHUNKS_PER_SPAN * max(chunks, default=0))

    def map(
        self, tables: KernelTables, span: Span, rows: NDArray[np.bool_] | None, *, with_latent: bool
    ) -> MappedBlock:
        """Return what the atlas says of the cells of a span, or of those of ``rows`` ``(n_cells,)``, from any thread.

        Raises
        ------
        InputError
            The file ends early, a chunk does not decode, or an index lies outside the genes.
        """
        start, stop = span
        indptr, n_cells = self.matrix.indptr, self.matrix.shape[0]
        stored = _StoredRows(
            address(indptr, np.int64, [n_cells + 1]),
            None if rows is None else address(rows, np.bool_, [n_cells]),
            *(pointer(vector.compiled) for vector in (self.genes, self.counts)),
            *(start, stop),
        )
        n = stop - start if rows is None else int(np.count_nonzero(rows[start:stop]))
        fault = Fault()

        def fill(cells: Cells) -> tuple[int, int]:
            bad_row = c_int64(-1)
            given = (byref(tables.compiled), byref(stored), byref(cells), IS_WIDE, byref(bad_row), byref(fault))
            code = int(LIBRARY.crosslot_map_stored_rows(*given))
            if code < 0:
                raise (self.counts if fault.is_of_counts else self.genes).error(code, fault)
            return code, bad_row.value

        mapped = mapped_by(fill, tables, n, with_latent=with_latent)
        if mapped.validity is Validity.INDEX_OUT_OF_RANGE:
            message = f"an index lies outside the {self.matrix.shape[1]} columns"
            raise damaged(self.matrix.path, self.matrix.part, message)
        return mapped


def stored_rows(matrix: RowMatrix) -> StoredRows | None:
    """Return the rows of a matrix that compiled code can read by itself, or None."""
    if not isinstance(matrix, CompressedRows):
        return None
    vectors = matrix.open_vectors
    return None if vectors is None else StoredRows(matrix, *vectors)
