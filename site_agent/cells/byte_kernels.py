"""Compiled loops over bytes: the lzf and shuffle filters of HDF5, undone.

Compiled on first use and kept in numba's cache. Every loop is bounded by the arrays it is given, whatever they hold.
"""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba ships no types
def lzf_decode(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> np.int64 | int:
    """Fill ``target`` from an lzf stream; return the bytes written, or -1 where the stream is not one.

    A control byte below 32 is followed by that many literals and one; otherwise its upper 3 bits (7: plus the next
    byte) are a length less 2, and its lower 5 bits with the following byte a distance back less 1.
    """
    read, written = np.int64(0), np.int64(0)
    n_source, n_target = source.shape[0], target.shape[0]
    while read < n_source:
        control = np.int64(source[read])
        read += 1
        if control < 32:  # noqa: PLR2004 - of the format
            length = control + 1
            if read + length > n_source or written + length > n_target:
                return -1
            for i in range(length):
                target[written + i] = source[read + i]
            read += length
            written += length
            continue
        length = control >> 5
        if length == 7:  # noqa: PLR2004 - of the format
            if read >= n_source:
                return -1
            length += np.int64(source[read])
            read += 1
        length += 2
        if read >= n_source:
            return -1
        start = written - (((control & 31) << 8) | np.int64(source[read])) - 1
        read += 1
        if start < 0 or written + length > n_target:
            return -1
        for i in range(length):  # byte by byte: the copy may read what it has just written
            target[written + i] = target[start + i]
        written += length
    return written


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba ships no types
def unshuffle(source: NDArray[np.uint8], target: NDArray[np.uint8], item_bytes: int) -> None:
    """Undo HDF5's shuffle: byte j of item i lies at ``j * n_items + i``; a remainder stays as it is."""
    n_items = source.shape[0] // item_bytes
    for j in range(item_bytes):
        offset = j * n_items
        for i in range(n_items):
            target[i * item_bytes + j] = source[offset + i]
    for i in range(n_items * item_bytes, source.shape[0]):
        target[i] = source[i]
