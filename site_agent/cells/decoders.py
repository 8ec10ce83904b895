"""Chunk filters of HDF5, undone outside the HDF5 library: which of them can be, and by whose functions.

Deflate is undone by libdeflate and zstd by Facebook's own library, as two wheels carry them (``deflate``,
``hdf5plugin``); lzf and shuffle by our C. All are called from C (``shared/native/reading.c``), chunk after chunk
without the interpreter, whose lock would be taken and given back for each.

Rules:

1. Output is exactly as long as the chunk declares, or it is an error. No decoder allocates.
2. A pipeline with any other filter, or one whose library does not show its functions, has no decoder here: the caller
   falls back to the HDF5 library, which is slower and as right.

Source: HDF5 File Format Specification 3.0, IV.A.2.l (filter pipeline message).
"""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, c_int32, c_void_p
from functools import cache
from pathlib import Path
from typing import Final

DEFLATE: Final = 1
SHUFFLE: Final = 2
LZF: Final = 32_000
ZSTD: Final = 32_015

_MAXIMUM_STEPS: Final = 4


class Codecs(Structure):
    """Functions of other libraries. As ``struct codecs`` of ``shared/native/reading.h``."""

    _fields_ = tuple((name, c_void_p) for name in ("make_inflater", "drop_inflater", "inflate", "unpack_zstd"))


Steps = c_int32 * _MAXIMUM_STEPS
"""The filters of a pipeline, in the order in which they were applied."""


def codecs_for(filter_codes: Sequence[int]) -> Codecs | None:
    """Return what undoes a pipeline's filters, or None if one cannot be undone here.

    Examples
    --------
    >>> codecs_for([SHUFFLE, DEFLATE]) is None, codecs_for([SHUFFLE, 4]) is None
    (False, True)
    """
    packers = [code for code in filter_codes if code != SHUFFLE]
    # Of two packers, one upon the other, the inner one's length is not known.
    if len(packers) > 1 or len(filter_codes) > _MAXIMUM_STEPS or not set(packers) <= {DEFLATE, LZF, ZSTD}:
        return None
    found = Codecs()
    if DEFLATE in packers:
        functions = _inflating()
        if functions is None:
            return None
        found.make_inflater, found.drop_inflater, found.inflate = functions
    if ZSTD in packers:
        found.unpack_zstd = _unpacking_zstd()
        if found.unpack_zstd is None:
            return None
    return found


@cache
def _inflating() -> tuple[int, ...] | None:
    try:
        import deflate._deflate as wheel  # noqa: PLC0415 - loaded for the files that need it
    except ImportError:  # a release that is built otherwise
        return None
    names = ("libdeflate_alloc_decompressor", "libdeflate_free_decompressor", "libdeflate_zlib_decompress")
    return _functions(Path(wheel.__file__), names)


@cache
def _unpacking_zstd() -> int | None:
    import hdf5plugin  # noqa: PLC0415 - loaded for the files that need it

    for path in sorted(Path(hdf5plugin.PLUGIN_PATH).glob("libh5zstd.*")):
        functions = _functions(path, ("ZSTD_decompress",))
        if functions is not None:
            return functions[0]
    return None


def _functions(path: Path, names: Sequence[str]) -> tuple[int, ...] | None:
    """Return where functions of a library lie; None where it does not load or does not show them."""
    try:
        library = ctypes.CDLL(str(path))
        addresses = [ctypes.cast(getattr(library, name), c_void_p).value for name in names]
    except (OSError, AttributeError):
        return None
    return tuple(address for address in addresses if address is not None)
