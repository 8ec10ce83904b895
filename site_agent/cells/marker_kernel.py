"""The compiled part of ``marker_moments``: adds cells to sums of integers.

Values are put on a grid and their sums are integers, so that they are the same in any order, whatever the blocks, the
threads and the machine. Log values (below 9.3) stand on a grid of 2^-32, counts per 10,000 on one of 2^-24. A square of
a log value does not fit 64 bits and is summed in three parts of its two halves: high, mixed, low.
"""

from typing import Any, Final

import numba
import numpy as np

from shared.atlas.compiled import log1p

LOG_GRID: Final = 2**32
SCALED_GRID: Final = 2**24
HALF_BITS: Final = 18
"""Log values on their grid have fewer than 36 bits: two halves of 18."""

SUM, HIGH_SQUARE, MIXED, LOW_SQUARE, SCALED, NONZERO, HIGH, N_SUMS = range(8)
"""The sums of one state and gene; HIGH counts cells at or above the state's threshold."""

Array = Any  # numba sees the dtype: each is compiled for itself


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def add_cells(
    indptr: Array,
    indices: Array,
    data: Array,
    states: Array,
    libraries: Array,
    slots: Array,
    target_sum: float,
    thresholds: Array,
    sums: Array,
) -> None:
    """Add the rows of a block to ``sums``, (n_states, G, N_SUMS); a row whose state is negative is passed over.

    ``slots`` gives the place of each of the file's genes, -1 for none; ``thresholds`` is (n_states, G).
    """
    n_genes = sums.shape[1]
    counts = np.zeros(n_genes, dtype=np.float64)
    touched = np.empty(n_genes, dtype=np.int64)
    for i in range(indptr.shape[0] - 1):
        state = states[i]
        if state < 0:
            continue
        scale = target_sum / libraries[i]
        m = 0
        for k in range(indptr[i] - indptr[0], indptr[i + 1] - indptr[0]):
            slot = slots[indices[k]]
            if slot >= 0 and data[k] != 0:
                if counts[slot] == 0:
                    touched[m] = slot
                    m += 1
                counts[slot] += data[k]  # a gene that a cell names twice has the sum of both counts
        for j in range(m):
            slot = touched[j]
            scaled = counts[slot] * scale
            counts[slot] = 0.0
            value = log1p(scaled)
            on_grid = np.int64(np.floor(value * LOG_GRID + 0.5))
            high, low = on_grid >> HALF_BITS, on_grid & ((1 << HALF_BITS) - 1)
            row = sums[state, slot]
            row[SUM] += on_grid
            row[HIGH_SQUARE] += high * high
            row[MIXED] += high * low
            row[LOW_SQUARE] += low * low
            row[SCALED] += np.int64(np.floor(scaled * SCALED_GRID + 0.5))
            row[NONZERO] += 1
            row[HIGH] += np.int64(value >= thresholds[state, slot])
