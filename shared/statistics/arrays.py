"""The array types of the statistics, and the one check that all of them share.

Everything in ``shared.statistics`` is pure: arrays in, arrays or frozen records out. No clock, no file, no
global random state. A unit is a row, a cluster a column.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Tail = Literal["two-sided", "greater", "less"]
"""The direction of a test; the same words as scipy."""


def finite_floats(values: ArrayLike, name: str) -> FloatArray:
    """Return ``values`` as float64, refusing what no rank can be given to.

    Raises
    ------
    InputError
        If a value is NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise InputError(
            f"{name}: expected finite numbers, found {bad} that are NaN or infinite",
            hint="leave the lot out, or give its value",
        )
    return array
