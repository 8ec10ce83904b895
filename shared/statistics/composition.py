"""Shares of a lot's cells, and the log-ratio scale.

The share of a cluster is the cells of the lot in the cluster over ALL cells of the lot after QC; "unassigned" is a part
of its own and stays in the total. It is the share of the lot in the cluster, never the lot's share of the cluster.

Equality is what ranks live on. A share is one float64 division of integers: IEEE division is correctly rounded, so
equal fractions (200/1000 and 400/2000) give the same float, and it is monotone, so no two shares change order; below
2^26 cells (67 million) in a lot, unequal fractions also stay unequal. Means over lots are formed as fractions first.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from shared.statistics.arrays import FloatArray, IntArray


def shares(cells: IntArray, totals: IntArray) -> FloatArray:
    """Return the share of each lot in each cluster, (n, K), from cells (n, K) and all cells (n,); NaN without cells.

    >>> shares(np.array([[200], [120]]), np.array([4000, 1000])).tolist()
    [[0.05], [0.12]]
    """
    whole = totals[:, None].astype(np.float64)
    result: FloatArray = np.divide(cells, whole, out=np.full(cells.shape, np.nan), where=whole > 0)
    return result


def mean_shares(cells: IntArray, totals: IntArray, units: Sequence[IntArray]) -> FloatArray:
    """Return the mean share over the lots of each unit, (units, K); every lot of a unit weighs the same.

    The lots of a unit (a donor) are rows of ``cells`` (n, K) and ``totals`` (n,). Means are formed as fractions and
    rounded once, so that they do not depend on the order of the lots and equal means are equal floats.
    """
    result = np.empty((len(units), cells.shape[1]))
    single = shares(cells, totals)
    for row, lots in enumerate(units):
        if len(lots) == 1:
            result[row] = single[lots[0]]
            continue
        for column in range(cells.shape[1]):
            total = sum((Fraction(int(cells[lot, column]), int(totals[lot])) for lot in lots), start=Fraction(0))
            result[row, column] = float(total / len(lots))
    return result


def centred_log_ratios(parts: FloatArray, cells: FloatArray) -> FloatArray:
    """Return ``ln(part) - mean(ln parts)`` of each row, (n, K).

    Parameters
    ----------
    parts : (n, K)
        Shares, of which each row has one above zero. A zero is replaced by half a cell, ``.5 / cells``, and the other
        parts are scaled to keep the sum. Where there are fewer cells than parts it is the row's sum over ``2 K``:
        so many halves could be more than all the cells.
    cells : (n,)
        Cells of each row.

    >>> centred_log_ratios(np.array([[0.5, 0.5]]), np.array([100.0])).tolist()
    [[0.0, 0.0]]
    """
    zero = parts <= 0
    whole = parts.sum(axis=1, keepdims=True)
    half_a_cell = np.minimum(0.5 / cells[:, None], whole / (2 * parts.shape[1]))
    spent = (zero * half_a_cell).sum(axis=1, keepdims=True)
    logs = np.log(np.where(zero, half_a_cell, parts * (1.0 - spent / whole)))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True), dtype=np.float64)
