"""Adjustment of many p-values for screening; the primary one, max-T, belongs to `permutation`."""

import numpy as np
from scipy.stats import false_discovery_control

from shared.statistics.arrays import FloatArray


def q_values(p: FloatArray) -> FloatArray:
    """Return the Benjamini-Hochberg q of each p in (0, 1], same shape; empty for none.

    >>> q_values(np.array([0.01, 0.04, 0.5])).round(4).tolist()
    [0.03, 0.06, 0.5]
    """
    return np.asarray(false_discovery_control(p, method="bh"), dtype=np.float64) if len(p) else p


def holm(p: FloatArray) -> FloatArray:
    """Return p corrected over all tests by Holm's step-down, same shape (Holm 1979, Scand. J. Stat. 6:65).

    >>> holm(np.array([0.04, 0.01, 0.5])).round(4).tolist()
    [0.08, 0.03, 0.5]
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(steps, 1.0)
    return result
