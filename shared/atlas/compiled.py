"""The compiled part of the kernel (``shared/native/mapping.c``): its structures, and how it is called.

``shared.atlas.kernel`` states its rules and is the only caller.
"""

from ctypes import POINTER, Structure, byref, c_double, c_int, c_int32, c_int64, c_void_p
from typing import Final

from shared.native.library import LIBRARY, NO_MEMORY

LARGEST_COUNT: Final = 2**31 - 256  # fits int32, also after rounding to float32
LOG_GRID: Final = 2.0**18  # log counts are multiples of 2^-18
MITOCHONDRIAL: Final = 1 << 30  # set in a gene's slot: it counts as mitochondrial
LANES: Final = 4  # the weights of a gene are a multiple of this many, zero beyond the dimensions


class Tables(Structure):
    """An atlas laid out for one file; whoever makes it keeps its arrays alive. As ``struct tables``."""

    _fields_ = (
        *((name, c_void_p) for name in ("slots", "has_slot", "weights", "offset", "caps", "coefficients")),
        *((name, c_void_p) for name in ("intercepts", "thresholds", "means", "inverse_spreads")),
        *((name, c_int64) for name in ("n_file_genes", "n_genes", "d", "width", "n_clusters")),
        *((name, c_double) for name in ("inverse_temperature", "target_sum", "novelty_temperature")),
        *((name, c_double) for name in ("energy_weight", "distance_weight", "even_odds")),
    )


class Rows(Structure):
    """A block of compressed rows. As ``struct rows``."""

    _fields_ = (
        *((name, c_void_p) for name in ("indptr", "indices", "counts")),
        *(("n", c_int64), ("n_values", c_int64), ("is_double", c_int32)),
    )


class Cells(Structure):
    """Room for what is said of each cell. As ``struct cells``."""

    _fields_ = tuple(
        (name, c_void_p)
        for name in ("label", "best", "confidence", "energy", "total_counts", "mito_counts", "n_genes", "latent")
    )


LIBRARY.crosslot_map_rows.argtypes = [POINTER(Tables), POINTER(Rows), POINTER(Cells), c_int, POINTER(c_int64)]
LIBRARY.crosslot_widest.argtypes = []
for _name in ("crosslot_log1p", "crosslot_exp"):
    getattr(LIBRARY, _name).argtypes = [c_double]
    getattr(LIBRARY, _name).restype = c_double

IS_WIDE: Final = bool(LIBRARY.crosslot_widest())
"""Whether this processor has wider instructions than its family promises."""


def map_rows(tables: Tables, rows: Rows, cells: Cells, *, is_wide: bool = IS_WIDE) -> tuple[int, int]:
    """Fill ``cells`` row by row; return the code of the first row that is no row of counts, and that row.

    Parameters
    ----------
    is_wide : bool
        Use the wider instructions; the results are the same to the last bit.

    Raises
    ------
    MemoryError
        No room for the longest row.
    """
    bad_row = c_int64(-1)
    code = int(LIBRARY.crosslot_map_rows(byref(tables), byref(rows), byref(cells), is_wide and IS_WIDE, byref(bad_row)))
    if code == NO_MEMORY:
        raise MemoryError("no room for the longest row of a block")
    return code, bad_row.value


def log1p(x: float) -> float:
    """Return log(1 + x) for finite x >= 0, to about 1 ulp."""
    return float(LIBRARY.crosslot_log1p(x))


def exp(x: float) -> float:
    """Return exp(x) for x <= 0, to about 1 ulp; 0 below -700."""
    return float(LIBRARY.crosslot_exp(x))
