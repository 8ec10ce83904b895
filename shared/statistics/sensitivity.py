"""What the headline rho becomes when a lot or a site is left out, between sites, and under hidden counts.

None of it is a test of its own. It says how far the answer leans on one lot, one site, or on what a site did not show.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import atanh, copysign, isnan, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2
from statsmodels.stats.meta_analysis import combine_effects

from shared.statistics.arrays import BoolArray, FloatArray, IntArray, finite_floats
from shared.statistics.ranks import Strata, doubled_ranks, stratified_rho, stratum_means

_MOST_LEAVE_OUT_STEPS = 400_000_000  # groups x units x columns: a few seconds
_MOST_FILLINGS = 4_096


@dataclass(frozen=True, kw_only=True, eq=False)
class LeaveOut:
    """Range of rho over the designs without one group; every array is (K,), NaN where no such design has a rho.

    ``sign_holds`` is true where no rho without a group is zero or of the other sign.
    """

    low: FloatArray
    high: FloatArray
    sign_holds: BoolArray


@dataclass(frozen=True, kw_only=True)
class Heterogeneity:
    """How far the sites' own rho differ: Cochran's Q with its p, and I^2 in 0..1. NaN with fewer than two sites."""

    q: float
    p: float
    i2: float


def leave_one_out(x: ArrayLike, y: ArrayLike, strata: ArrayLike, groups: ArrayLike) -> LeaveOut | None:
    """Return the range of rho_s of each column when one group of units is left out; ranks are taken anew each time.

    Parameters
    ----------
    x, y, strata : (n, K), (n,), (n,)
        As in `shared.statistics.association.associate`.
    groups : (n,)
        What is left out together: labels of lots, or of sites.

    Returns
    -------
    LeaveOut or None
        None with a single group, and where it would take more than a few seconds (above 400 million steps: 3,600 units
        one by one in 30 clusters), where no one unit can matter.
    """
    shares, potency = finite_floats(x, "shares"), finite_floats(y, "potency")
    labels = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    count = int(labels.max(initial=-1)) + 1
    if count <= 1 or count * shares.size > _MOST_LEAVE_OUT_STEPS:
        return None
    parts = Strata.of(strata)
    order = np.concatenate(parts.members)  # strata side by side: their sums are slices
    values = np.column_stack([shares, potency])[order]
    labels, strata_of_units = labels[order], parts.codes[order]
    levels = np.column_stack([np.unique(column, return_inverse=True)[1] for column in values.T])
    ranks = doubled_ranks(values)
    full = _rho(ranks, parts.sizes)
    rows = []
    for group in range(count):
        gone = labels == group
        # A unit that goes takes 2 off each doubled rank above its own, and 1 off each that ties with it.
        at_level = np.zeros((len(values), values.shape[1]), dtype=np.int64)
        np.add.at(at_level, (levels[gone], np.arange(values.shape[1])), 1)
        taken = 2 * at_level.cumsum(axis=0) - at_level
        left = ranks[~gone] - np.take_along_axis(taken, levels[~gone], axis=0)
        rows.append(_rho(left, np.bincount(strata_of_units[~gone], minlength=len(parts.sizes))))
    table = np.array(rows)
    missing = np.isnan(table)
    turned = np.where(missing, False, table * np.sign(full) <= 0)
    none = missing.all(axis=0)
    return LeaveOut(
        low=np.where(none, nan, np.where(missing, np.inf, table).min(axis=0)),
        high=np.where(none, nan, np.where(missing, -np.inf, table).max(axis=0)),
        sign_holds=np.logical_and(~turned.any(axis=0), ~none),
    )


def heterogeneity(rho: Sequence[float], n: Sequence[int], strata: Sequence[int]) -> Heterogeneity:
    """Return how far sites differ, from each site's rho over ``n`` units in ``strata`` strata.

    On the scale of Fisher's z with the Bonett-Wright variance, tau^2 by Paule and Mandel; I^2 is floored at 0. A site
    with no rho or without a degree of freedom (n < 4 in one stratum) is left out.
    """
    usable = [
        (r, units, parts)
        for r, units, parts in zip(rho, n, strata, strict=True)
        if not isnan(r) and units - (parts - 1) - 3 > 0
    ]
    if len(usable) < 2:  # noqa: PLR2004
        return Heterogeneity(q=nan, p=nan, i2=nan)
    inner = [
        (copysign(1 - 12 / (units * (units**2 - 1)), r) if abs(r) >= 1 else r, units, parts)
        for r, units, parts in usable
    ]
    z = np.array([atanh(r) for r, _, _ in inner])
    variance = np.array([(1 + r * r / 2) / (units - (parts - 1) - 3) for r, units, parts in inner])
    if float(np.ptp(z)) == 0.0:  # equal effects leave Q at 0, where I^2 has no quotient
        return Heterogeneity(q=0.0, p=1.0, i2=0.0)
    combined = combine_effects(z, variance, method_re="iterated")
    q = float(combined.q)
    return Heterogeneity(q=q, p=float(chi2.sf(q, len(z) - 1)), i2=max(0.0, float(combined.i2)))


def rho_bounds(low: FloatArray, high: FloatArray, y: ArrayLike, strata: ArrayLike) -> tuple[float, float]:
    """Return bounds of rho_s when each share is only known to lie in ``[low, high]``, both (n,).

    They are certain, not always attained. Each pair of units adds its sign times the distance of their centred potency
    ranks; a pair whose intervals overlap takes the best sign for the upper bound and the worst for the lower. The sum
    of squares of the share's ranks takes its least value where that moves a bound outwards, and its largest where that
    does; all of it is cut at +-1.
    """
    n = len(low)
    codes = Strata.of(strata).codes
    b = doubled_ranks(y) / 2.0
    b = b - stratum_means(b, codes)
    distance = b[:, None] - b[None, :]
    can_be_above = high[:, None] > low[None, :]
    can_be_below = low[:, None] < high[None, :]
    can_tie = (high[:, None] >= low[None, :]) & (low[:, None] <= high[None, :])
    highest = np.where(can_be_above, 1.0, np.where(can_tie, 0.0, -1.0))
    lowest = np.where(can_be_below, -1.0, np.where(can_tie, 0.0, 1.0))
    for bound in (highest, lowest):
        np.fill_diagonal(bound, 0.0)
    best = np.where(distance > 0, highest, lowest) * distance
    worst = np.where(distance > 0, lowest, highest) * distance
    rank_high = (n + 1) / 2 + highest.sum(axis=1) / 2
    rank_low = (n + 1) / 2 + lowest.sum(axis=1) / 2
    least, largest = _square_bounds(rank_low, rank_high, codes)
    square_y = float(b @ b)
    most, fewest = float(best.sum()) / 4, float(worst.sum()) / 4  # each pair twice, and half a sign
    return (
        _bounded(fewest, least if fewest < 0 else largest, square_y),
        _bounded(most, least if most > 0 else largest, square_y),
    )


def filled_rho_bounds(
    low: IntArray, high: IntArray, totals: IntArray, y: ArrayLike, strata: ArrayLike
) -> tuple[float, float] | None:
    """Return the least and the largest rho_s over all whole numbers of cells within ``[low, high]``, both (n,).

    Exact; None where there are more than 4,096 ways to fill the hidden counts, or no filling has a rho.
    """
    ways = 1
    for options in high - low + 1:
        ways *= int(options)
        if ways > _MOST_FILLINGS:
            return None
    fillings = np.array(
        list(product(*(range(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)))), dtype=np.float64
    )
    rho = stratified_rho((fillings / totals).T, y, strata)
    known = rho[~np.isnan(rho)]
    return (float(known.min()), float(known.max())) if len(known) else None


def _rho(ranks: IntArray, sizes: IntArray) -> FloatArray:
    """Return rho_s of all columns of ``ranks`` (n, K + 1) with the last one, (K,), in plain float64.

    Strata stand side by side, ``sizes`` (S,) of them; no equality hangs on the result.
    """
    present = sizes[sizes > 0]
    sums = np.add.reduceat(ranks, np.concatenate(([0], np.cumsum(present)[:-1])), axis=0) if len(ranks) else ranks
    centred = ranks - np.repeat(sums / present[:, None], present, axis=0)
    a, b = centred[:, :-1], centred[:, -1]
    squares = (a * a).sum(axis=0) * (b @ b)
    with_rho = squares > 1e-9 * len(ranks)  # centred doubled ranks are multiples of 1/m: less is rounding
    result = np.full(a.shape[1], nan)
    result[with_rho] = np.clip((b @ a)[with_rho] / np.sqrt(squares[with_rho]), -1.0, 1.0)
    return result


def _square_bounds(rank_low: FloatArray, rank_high: FloatArray, codes: IntArray) -> tuple[float, float]:
    """Return bounds of the sum of squares of the centred ranks, each rank between its own bounds."""
    to_mean_low = rank_low - stratum_means(rank_high, codes)
    to_mean_high = rank_high - stratum_means(rank_low, codes)
    farthest = np.maximum(to_mean_low**2, to_mean_high**2)
    nearest = np.where((to_mean_low <= 0) & (to_mean_high >= 0), 0.0, np.minimum(to_mean_low**2, to_mean_high**2))
    return float(nearest.sum()), float(farthest.sum())


def _bounded(numerator: float, square_x: float, square_y: float) -> float:
    if square_y <= 0:
        return nan
    if square_x <= 0:
        return copysign(1.0, numerator) if numerator else 0.0
    return max(-1.0, min(1.0, numerator / sqrt(square_x * square_y)))
