"""The compiled part of ``marker_moments``: adds cells to sums of integers (``shared/native/markers.c``).

Values are put on a grid and their sums are integers, so that they are the same in any order, whatever the blocks, the
threads and the machine. Log values (below 9.3) stand on a grid of 2^-32, counts per 10,000 on one of 2^-24. A square of
a log value does not fit 64 bits and is summed in three parts of its two halves: high, mixed, low.
"""

from ctypes import c_double, c_int, c_int64, c_void_p
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError, InternalError
from shared.native.library import LIBRARY, NO_MEMORY, address
from site_agent.cells.matrices import CellBlock

LOG_GRID: Final = 2**32
SCALED_GRID: Final = 2**24
HALF_BITS: Final = 18
"""Log values on their grid have fewer than 36 bits: two halves of 18."""

SUM, HIGH_SQUARE, MIXED, LOW_SQUARE, SCALED, NONZERO, HIGH, N_SUMS = range(8)
"""The sums of one state and gene; HIGH counts cells at or above the state's threshold."""

_NO_COUNT, _OUT_OF_RANGE = 1, 2

_add_cells = LIBRARY.crosslot_add_cells
_add_cells.argtypes = [
    *(c_void_p, c_void_p, c_void_p, c_int, c_int64),
    *(c_void_p, c_void_p, c_void_p, c_int64),
    *(c_double, c_void_p, c_int64, c_int64, c_void_p),
]


def add_cells(
    block: CellBlock,
    states: NDArray[np.int32],
    libraries: NDArray[np.float64],
    slots: NDArray[np.int32],
    target_sum: float,
    thresholds: NDArray[np.float64],
    sums: NDArray[np.int64],
) -> None:
    """Add the rows of a block to ``sums``, (n_states, G, N_SUMS); a row whose state is negative is passed over.

    Parameters
    ----------
    states, libraries : (n,)
        Of the block's cells.
    slots : (n_file_genes,)
        The place of each of the file's genes, -1 for none.
    thresholds : (n_states, G)
        From which log value on a cell is counted as high.

    Raises
    ------
    InputError
        A value is no count: the file is not the one that was mapped.
    InternalError
        A state or a gene lies outside the tables.
    """
    n, n_values, (n_states, n_genes) = block.n_cells, block.data.size, thresholds.shape
    if (np.diff(block.indptr) < 0).any() or int(block.indptr[-1] - block.indptr[0]) > n_values:
        raise InternalError("expected indptr to rise within the block's data")
    is_double = block.data.dtype == np.float64
    code = _add_cells(
        address(block.indptr, np.int64, [n + 1]),
        address(block.indices, np.int32, [n_values]),
        address(block.data, np.float64 if is_double else np.float32, [n_values]),
        *(is_double, n),
        address(np.ascontiguousarray(states), np.int32, [n]),
        address(np.ascontiguousarray(libraries), np.float64, [n]),
        address(slots, np.int32, [slots.size]),
        *(slots.size, target_sum),
        address(thresholds, np.float64, [n_states, n_genes]),
        *(n_states, n_genes),
        address(sums, np.int64, [n_states, n_genes, N_SUMS]),
    )
    if code == NO_MEMORY:
        raise MemoryError(f"no room for the sums of {n_genes} genes")
    if code == _NO_COUNT:
        raise InputError(
            "the cells' values changed after they were mapped", hint="leave the file alone while it is mapped"
        )
    if code == _OUT_OF_RANGE:
        raise InternalError("expected states and genes within the tables, found one outside")
