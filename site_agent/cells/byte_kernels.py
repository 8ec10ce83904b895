"""Compiled loops over bytes: the lzf and shuffle filters of HDF5, undone (``shared/native/filters.c``).

Every loop is bounded by the arrays it is given, whatever they hold. The interpreter's lock is not held.
"""

from ctypes import c_int64, c_void_p

import numpy as np
from numpy.typing import NDArray

from shared.errors import InternalError
from shared.native.library import LIBRARY, address

LIBRARY.crosslot_lzf_decode.argtypes = [c_void_p, c_int64, c_void_p, c_int64]
LIBRARY.crosslot_lzf_decode.restype = c_int64
LIBRARY.crosslot_unshuffle.argtypes = [c_void_p, c_void_p, c_int64, c_int64]
LIBRARY.crosslot_unshuffle.restype = None


def lzf_decode(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> int:
    """Fill ``target`` from an lzf stream; return the bytes written, or -1 where the stream is not one."""
    written: int = LIBRARY.crosslot_lzf_decode(
        *(address(source, np.uint8, [source.size]), source.size),
        *(address(target, np.uint8, [target.size]), target.size),
    )
    return written


def unshuffle(source: NDArray[np.uint8], target: NDArray[np.uint8], item_bytes: int) -> None:
    """Fill ``target`` with the bytes before HDF5's shuffle.

    Raises
    ------
    InternalError
        The two are not equally long, or items have no byte.
    """
    if item_bytes < 1:
        raise InternalError(f"expected items of at least one byte, found {item_bytes}")
    n = source.size
    LIBRARY.crosslot_unshuffle(address(source, np.uint8, [n]), address(target, np.uint8, [n]), n, item_bytes)
