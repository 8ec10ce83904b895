"""From counts of labels to what a lot's composition may be said to be: intervals, sensitivity, novelty, shift.

Rules.
1. The share is the hard count over all cells, unassigned ones included. Corrections are shown beside it, never instead:
   on real lots they lose (docs/mapping.md), but a large gap to one of them says that the lot is unlike the reference.
2. An interval covers the error of mapping, measured on reference lots left out: it speaks of the cells that were
   mapped. On request it covers their being a sample of the lot as well. Below three reference lots there is none (NaN).
3. A lot's unassigned cells are judged against those of the reference lots left out, on the scale of log odds, with the
   t distribution that a few lots deserve.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.student import quantile, upper_tail
from shared.errors import InternalError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_EM_ITERATIONS: Final = 1_000
_EM_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Composition:
    """A lot's shares with their intervals. All ``(C,)``; NaN bounds: the atlas could not calibrate them."""

    counts: IntArray
    unassigned: int
    shares: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float


@dataclass(frozen=True, kw_only=True)
class ExcessUnassigned:
    """Whether a lot has more unassigned cells than reference lots have when left out.

    ``p_value`` is one-sided; None where the atlas has fewer than three lots left out.
    """

    share: float
    expected_share: float | None
    p_value: float | None


def composition(
    atlas: Atlas, counts: IntArray, unassigned: int, *, confidence: float = 0.9, with_sampling: bool = False
) -> Composition:
    """Return a lot's shares and their intervals.

    ``share +- t sqrt(s^2 q (1 - q))`` with s the atlas's scale for the cluster (``s^2 + 1/n`` in place of ``s^2`` with
    sampling), n the lot's cells, q the share after adding half a cell to each of two sides (so that 0 cells do not
    claim certainty), and t Student's quantile with as many degrees of freedom as lots left out. Bounds stay in 0..1.

    Parameters
    ----------
    counts : (C,) int
        Cells per cluster.
    unassigned : int
        Cells of no cluster; part of the total.
    with_sampling : bool
        Whether the interval shall also cover that the cells are a sample of the lot.

    Raises
    ------
    InternalError
        ``counts`` is not of the atlas's clusters.
    """
    if counts.shape != (len(atlas.clusters),):
        raise InternalError(f"expected counts of {len(atlas.clusters)} clusters, found shape {counts.shape}")
    total = int(counts.sum()) + unassigned
    shares = counts / total if total else np.full(len(counts), np.nan)
    q = (counts + 0.5) / (total + 1)
    scales = atlas.interval_scales.astype(np.float64)
    t = quantile(0.5 + confidence / 2, max(atlas.card.transfer.lots, 1))
    sampling = 1 / max(total, 1) if with_sampling else 0.0
    half = t * np.sqrt((scales**2 + sampling) * q * (1 - q))
    return Composition(
        counts=counts,
        unassigned=unassigned,
        shares=shares,
        low=np.clip(shares - half, 0, 1),
        high=np.clip(shares + half, 0, 1),
        confidence=confidence,
    )


def log_odds(unassigned: FloatArray, totals: FloatArray) -> FloatArray:
    """Return log((k + 1/2) / (n - k + 1/2)): the scale on which lots' unassigned shares are compared."""
    odds: FloatArray = np.log((unassigned + 0.5) / (totals - unassigned + 0.5))
    return odds


def excess_unassigned(atlas: Atlas, unassigned: int, total: int) -> ExcessUnassigned:
    """Return the test of a lot's unassigned cells against the reference lots left out (:func:`excess_novel`)."""
    transfer = atlas.card.transfer
    return _excess(unassigned, total, transfer.lots, transfer.unassigned_log_odds, transfer.unassigned_log_odds_spread)


def excess_novel(atlas: Atlas, novel: int, total: int) -> ExcessUnassigned:
    """Return the test of a lot's novel cells, assigned or not, against the reference lots left out.

    Novel cells are those whose energy lies above ``atlas.novelty_thresholds`` of their best cluster. This is the test
    with power: few novel cells end unassigned. With x the log odds of the lot, and m, s the mean and standard deviation
    of those of L lots left out, ``t = (x - m) / sqrt(max(s^2, v) + s^2 / L)``, v the lot's own sampling variance, has
    L - 1 degrees of freedom.
    """
    transfer = atlas.card.transfer
    return _excess(novel, total, transfer.lots, transfer.novel_log_odds, transfer.novel_log_odds_spread)


def _excess(cells: int, total: int, lots: int, mean: float | None, spread: float | None) -> ExcessUnassigned:
    share = cells / total if total else float("nan")
    if mean is None or spread is None or total == 0:
        return ExcessUnassigned(share=share, expected_share=None, p_value=None)
    x = float(log_odds(np.array([float(cells)]), np.array([float(total)]))[0])
    rate = 1 / (1 + np.exp(-mean))
    sampling = 1 / (total * rate + 0.5) + 1 / (total * (1 - rate) + 0.5)
    t = (x - mean) / np.sqrt(max(spread**2, sampling) + spread**2 / lots)
    return ExcessUnassigned(share=share, expected_share=float(rate), p_value=upper_tail(float(t), lots - 1))


def saerens(probabilities: FloatArray, prior: FloatArray) -> FloatArray:
    """Return shares by the EM of Saerens et al. (2002), which assumes that nothing but the shares has changed.

    Parameters
    ----------
    probabilities : (n, C)
        Each cell's calibrated probabilities under ``prior``.
    prior : (C,)
        The shares that the probabilities assume; every one above 0.

    Returns
    -------
    (C,) shares that sum to 1; the prior without any cell.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.1, 0.9]])
    >>> saerens(p, np.array([0.5, 0.5])).round(2)
    array([0.8, 0.2])
    """
    shares: FloatArray = prior / prior.sum()
    if len(probabilities) == 0:
        return shares
    ratio = probabilities / shares
    for _ in range(_EM_ITERATIONS):
        weighted = ratio * shares
        updated = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        done = float(np.abs(updated - shares).max()) < _EM_TOLERANCE
        shares = updated
        if done:
            break
    return shares


def probabilities(atlas: Atlas, latent: NDArray[np.float32]) -> FloatArray:
    """Return the calibrated probabilities ``(n, C)`` of latent points ``(n, d)``."""
    logits = latent.astype(np.float64) @ atlas.coefficients + atlas.intercepts
    tempered = np.exp((logits - logits.max(axis=1, keepdims=True)) / atlas.card.temperature)
    result: FloatArray = tempered / tempered.sum(axis=1, keepdims=True)
    return result


def assumed_prior(atlas: Atlas) -> FloatArray:
    """Return the shares that the classifier's probabilities assume: cells of class weight n^(-1/2), so sqrt(n)."""
    root = np.sqrt(atlas.cells.sum(axis=1, dtype=np.float64))
    prior: FloatArray = root / root.sum()
    return prior


def shift(counts: IntArray, sums: FloatArray, mean: FloatArray, spread: FloatArray) -> FloatArray:
    """Return how far groups of cells lie from a mean, in standard deviations of a cell, ``(k,)``.

    The root mean square over dimensions of (group mean - mean) / spread, less what n cells' sampling explains.

    Parameters
    ----------
    counts : (k,) int
    sums : (k, d)
        Sums of the latent points of each group.
    mean, spread : (d,) or (k, d)

    Returns
    -------
    (k,) NaN for a group without cells.
    """
    counted = np.maximum(counts, 1)[:, None]
    deviation = (sums / counted - mean) / np.maximum(spread, 1e-6)
    square = np.mean(deviation**2, axis=1) - 1 / counted[:, 0]
    found: FloatArray = np.where(counts > 0, np.sqrt(np.maximum(square, 0.0)), np.nan)
    return found


def site_shift(atlas: Atlas, counts: IntArray, sums: FloatArray) -> FloatArray:
    """Return :func:`shift` of each cluster of a lot, ``(C,)``, from the atlas's.

    Compare with ``atlas.lot_shifts``, the same of the reference lots.

    Parameters
    ----------
    counts : (C,) int
        Cells per cluster.
    sums : (C, d)
        Sums of the latent points of those cells.
    """
    return shift(counts, sums, atlas.class_means.astype(np.float64), atlas.class_spreads.astype(np.float64))
