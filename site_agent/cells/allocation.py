"""How this process holds memory: what a run needs again and again is kept, and what it is done with is given back.

Both speak to glibc, and do nothing where the C library is another.
"""

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_KEPT_BYTES: Final = 32 * 2**20  # the most that glibc takes as the second


def keep_memory() -> None:
    """Keep what is freed for the next block of cells.

    glibc would give a block's room back to the system, which clears it each time that it is asked for again: a tenth
    of a run's processor time.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


def give_back_memory() -> None:
    """Return what was freed to the system, before a library is loaded or a file mapped: some 30 MB of a run's peak."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
