"""Whether a lot's mapping may be trusted: intervals, unassigned cells, sensitivity, shift, and words of warning.

Rules:

1. The hard count is the result. Nothing here changes it; a diagnostic only says when to doubt it.
2. What needs points in the atlas's space (sensitivity, shift) looks at up to 5,000 cells of the lot, evenly spaced in
   the file: enough for a share to within a percent point, and the same cells at every run.
3. What the atlas could not calibrate is said as such and never guessed.

The methods and their error rates are those of ``shared.atlas.proportions``.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.proportions import (
    Composition,
    ExcessUnassigned,
    assumed_prior,
    composition,
    excess_novel,
    excess_unassigned,
    probabilities,
    saerens,
    site_shift,
)
from site_agent.cells.lot_mapping import LotMapping

_COVERAGE = 0.9
_ALPHA = 0.05  # one false word of warning in twenty sound lots: a reference of three lots can say no more
_SENSITIVITY_GAP = 0.15  # EM's own error on real lots was up to .14: a gap within it says nothing
_SHIFT_RATIO = 2.0  # against the shift between reference lots
_CELLS_FOR_SHIFT = 50
_SMALL_LOT = 100


class WarningCode(StrEnum):
    """Why a lot's composition should be doubted."""

    SMALL_LOT = "small-lot"
    GENES_MISSING = "genes-missing"
    EXCESS_NOVEL = "excess-novel"
    SENSITIVE_SHARES = "sensitive-shares"
    SITE_SHIFT = "site-shift"
    NO_INTERVALS = "no-intervals"


@dataclass(frozen=True, kw_only=True)
class LotWarning:
    """One reason for doubt, as a code and as a sentence for the site."""

    code: WarningCode
    sentence: str


@dataclass(frozen=True, kw_only=True, eq=False)
class LotDiagnostics:
    """What is known about the trust that a lot's composition deserves. C clusters.

    Attributes
    ----------
    composition : Composition
        Shares with their intervals.
    excess : ExcessUnassigned
        Whether more cells are unassigned than in reference lots.
    novel : ExcessUnassigned
        Whether more cells are novel (above the atlas's energy threshold), assigned or not: the test with power.
    cells : int
        Cells that sensitivity and shift looked at, after QC.
    em_shares : ndarray, ``(C,)``
        Shares of the assigned cells by EM, if nothing but the shares had changed; NaN without cells.
    em_gap : float or None
        Half the summed absolute difference from the hard shares of the same cells.
    shifts : ndarray, ``(C,)``
        How far each cluster's cells lie from the atlas's, in standard deviations of a cell; NaN without cells.
    warnings : tuple of LotWarning
        Empty where nothing speaks against the lot.
    """

    composition: Composition
    excess: ExcessUnassigned
    novel: ExcessUnassigned
    cells: int
    em_shares: NDArray[np.float64]
    em_gap: float | None
    shifts: NDArray[np.float64]
    warnings: tuple[LotWarning, ...]


def diagnose(atlas: Atlas, lot: LotMapping) -> LotDiagnostics:
    """Return the diagnostics of a lot; sensitivity and shift need a mapping that kept points of ``diagnosed_cells``."""
    label, latent = _points(atlas, lot)
    n_clusters = len(atlas.clusters)
    counts = np.bincount(label, minlength=n_clusters)
    sums = np.zeros((n_clusters, latent.shape[1]))
    np.add.at(sums, label, latent.astype(np.float64))
    em_shares, em_gap = np.full(n_clusters, np.nan), None
    if label.size:
        em_shares = saerens(probabilities(atlas, latent), assumed_prior(atlas))
        em_gap = float(np.abs(em_shares - counts / label.size).sum() / 2)
    shares = composition(atlas, lot.counts, lot.unassigned)
    excess = excess_unassigned(atlas, lot.unassigned, lot.cells_after_qc)
    novel = excess_novel(atlas, _novel_cells(atlas, lot), lot.cells_after_qc)
    shifts = site_shift(atlas, counts, sums)
    return LotDiagnostics(
        composition=shares,
        excess=excess,
        novel=novel,
        cells=int(label.size),
        em_shares=em_shares,
        em_gap=em_gap,
        shifts=shifts,
        warnings=tuple(_warnings(atlas, lot, shares, novel, em_gap, counts, shifts)),
    )


def _points(atlas: Atlas, lot: LotMapping) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return labels ``(m,)`` and points ``(m, d)`` of the lot's assigned cells for which points were kept."""
    mapping = lot.mapping
    if mapping.latent is None:
        return np.empty(0, dtype=np.int64), np.empty((0, atlas.weights.shape[1]), dtype=np.float32)
    wanted = lot.kept & (mapping.label >= 0)
    if mapping.latent_cells is None:
        return mapping.label[wanted].astype(np.int64), mapping.latent[wanted]
    both = wanted & mapping.latent_cells
    return mapping.label[both].astype(np.int64), mapping.latent[wanted[mapping.latent_cells]]


def _novel_cells(atlas: Atlas, lot: LotMapping) -> int:
    """Return how many of the lot's cells lie above the novelty threshold of their best cluster."""
    best, energy = lot.mapping.best[lot.kept], lot.mapping.energy[lot.kept]
    known = best >= 0
    return int((energy[known] > atlas.novelty_thresholds[best[known]]).sum())


def _warnings(
    atlas: Atlas,
    lot: LotMapping,
    shares: Composition,
    novel: ExcessUnassigned,
    em_gap: float | None,
    counts: NDArray[np.int64],
    shifts: NDArray[np.float64],
) -> list[LotWarning]:
    found: list[LotWarning] = []

    def warn(code: WarningCode, sentence: str) -> None:
        found.append(LotWarning(code=code, sentence=sentence))

    if lot.cells_after_qc < _SMALL_LOT:
        warn(
            WarningCode.SMALL_LOT,
            f"{lot.cells_after_qc} cells remain after QC: below {_SMALL_LOT}, chance alone moves a share as much as "
            "mapping does",
        )
    if lot.gene_coverage < _COVERAGE:
        warn(
            WarningCode.GENES_MISSING,
            f"the file has {lot.gene_coverage:.0%} of the atlas's genes: the shares are less accurate than stated",
        )
    if novel.p_value is not None and novel.p_value < _ALPHA and novel.expected_share is not None:
        warn(
            WarningCode.EXCESS_NOVEL,
            f"{novel.share:.1%} of the cells are unlike any cluster where reference lots have "
            f"{novel.expected_share:.1%}: the lot may hold a state that the atlas does not know",
        )
    if em_gap is not None and em_gap > _SENSITIVITY_GAP:
        warn(
            WarningCode.SENSITIVE_SHARES,
            f"another way to count moves {em_gap:.0%} of the cells: the lot's cells differ from the reference's within "
            "their clusters",
        )
    usual = atlas.lot_shifts.astype(np.float64)
    far = (counts >= _CELLS_FOR_SHIFT) & np.isfinite(usual) & (shifts > _SHIFT_RATIO * usual)
    if far.any():
        names = ", ".join(name for name, is_far in zip(atlas.clusters, far.tolist(), strict=True) if is_far)
        warn(
            WarningCode.SITE_SHIFT,
            f"cells of {names} lie more than {_SHIFT_RATIO:g} times as far from the atlas as those of reference lots: "
            "another chemistry, handling or state",
        )
    if np.isnan(shares.low).all():
        warn(WarningCode.NO_INTERVALS, "the atlas has too few reference lots to say how exact a share is")
    return found
