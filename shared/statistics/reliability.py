"""Measurement error: how much of the spread of shares and of potency is real, and what it takes off rho.

Reliability is the share of real variance in observed variance. Errors in either quantity pull rho towards 0 by about
``sqrt(R_x R_y)``. The attenuated rho is the headline, for it is what was observed; dividing by the root gives a
disattenuated value, which is a sensitivity and is labelled so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, isnan, nan, sqrt

import numpy as np

from shared.statistics.arrays import FloatArray, IntArray
from shared.statistics.ranks import stratum_means


def share_reliability(cells: float, concentration: float) -> float:
    """Return ``N / (N + a0)``: the reliability of a share counted over N cells.

    ``a0`` is the concentration of the lots' true shares (Dirichlet; the larger, the more alike the lots are): the
    variance of the true share is ``mu (1 - mu) / (a0 + 1)``, that of the counted one is
    ``(1 + a0 / N)`` times as large.

    >>> share_reliability(2_000, 500)
    0.8
    """
    return cells / (cells + concentration)


def estimated_share_reliability(
    shares: FloatArray, sampling_variance: FloatArray, strata: Sequence[str] | IntArray
) -> FloatArray:
    """Return the reliability of each column by moments, (K,): 1 - (mean sampling variance) / (variance of the shares).

    Both variances are within strata, as the statistic is. Floored at 0; NaN where the shares do not vary.

    Parameters
    ----------
    shares, sampling_variance : (n, K)
        `binomial_variance` for one lot; its mean over the lots, over their number again, for a unit of several.
    """
    codes = np.unique(np.asarray(strata), return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(codes)
    free = int((sizes - 1).sum())
    centred = shares - stratum_means(shares, codes)
    variance = (centred * centred).sum(axis=0) / free if free else np.zeros(shares.shape[1])
    shared_units = sizes[codes] > 1
    noise = sampling_variance[shared_units].mean(axis=0) if free else np.zeros(shares.shape[1])
    varies = variance > 1e-24  # noqa: PLR2004 - below what float64 keeps of a share
    result = np.full(shares.shape[1], nan)
    result[varies] = np.maximum(0.0, 1.0 - noise[varies] / variance[varies])
    return result


def binomial_variance(shares: FloatArray, cells: FloatArray) -> FloatArray:
    """Return the unbiased estimate ``p (1 - p) / (N - 1)`` of a counted share's sampling variance, (n, K)."""
    result: FloatArray = shares * (1.0 - shares) / np.maximum(cells - 1.0, 1.0)[:, None]
    return result


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One lot's repeated log potencies: its wells, or its runs' means where lots were measured in several runs."""

    stratum: str
    values: tuple[float, ...]


def potency_reliability(lots: Sequence[Measured]) -> float:
    """Return ``1 - MS_within / MS_between`` of a one-way analysis of variance, lots as groups within strata.

    Floored at 0; NaN without replication, or where lots do not differ. Wells of one run share the run's own error,
    which their spread does not show: with a single run a lot the value is an upper bound.
    """
    labels = sorted({lot.stratum for lot in lots})
    within = between = 0.0
    free_within = free_between = 0
    for label in labels:
        groups = [np.array(lot.values) for lot in lots if lot.stratum == label and lot.values]
        if not groups:
            continue
        mean = float(np.concatenate(groups).mean())
        within += sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
        free_within += sum(len(group) - 1 for group in groups)
        between += sum(len(group) * (float(group.mean()) - mean) ** 2 for group in groups)
        free_between += len(groups) - 1
    if free_within == 0 or free_between == 0 or between <= 0:
        return nan
    return max(0.0, 1.0 - (within / free_within) / (between / free_between))


def disattenuated(rho: float, reliability_x: float, reliability_y: float) -> float:
    """Return ``rho / sqrt(R_x R_y)``, cut at +-1; NaN where a reliability is unknown or 0."""
    product = reliability_x * reliability_y
    if isnan(rho) or isnan(product) or product <= 0:
        return nan
    return copysign(min(1.0, abs(rho) / sqrt(product)), rho)
