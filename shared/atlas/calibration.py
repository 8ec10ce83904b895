"""What an atlas may be trusted with, measured by leaving one reference lot out (LOLO).

Rules.
1. Each lot in turn is left out of the whole fit, the choice of genes included, and then mapped.
2. A cluster that occurs in no other lot cannot be found in the lot left out; its cells there are not counted, and the
   cluster's error stays "not measurable" (NaN).
3. With two lots, energies and confusion are measured but intervals are not calibrated. With one lot nothing about
   other lots can be known: five random parts of the lot take the place of lots for the energies only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from shared.atlas.features import Counts
from shared.atlas.model import FitParameters, fit_model
from shared.atlas.novelty import Novelty

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_PARTS_OF_A_SINGLE_LOT: Final = 5
_LOTS_FOR_INTERVALS: Final = 3
_WIDEST_TEMPERATURE: Final = 20.0
_PRIOR_LOTS: Final = 3.0  # a cluster's own error counts like this many lots of the average cluster's


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """Every cell as the atlas without its lot saw it."""

    logits: FloatArray  # (n, C); a cluster absent from the fit has logits near -1000
    lots: IntArray  # (n,)
    labels: IntArray  # (n,)
    counted: NDArray[np.bool_]  # (n,) False where the cell's cluster was absent from the fit
    energies: FloatArray  # (n,) novelty (shared.atlas.novelty)


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What the lots left out teach. C clusters."""

    temperature: float
    novelty_thresholds: FloatArray  # (C,)
    unassigned_rates: FloatArray  # (C,)
    confusion: IntArray  # (C, C + 1)
    share_errors: FloatArray  # (C,) NaN: not measurable
    interval_scales: FloatArray  # (C,) NaN: not measurable
    accuracies: FloatArray  # (n_lots,) empty with one lot
    total_variations: FloatArray  # (n_lots,)
    unassigned: FloatArray  # (n_lots,) cells
    novel: FloatArray  # (n_lots,) cells
    cells: FloatArray  # (n_lots,)


def leave_lots_out(
    counts: Counts,
    labels: IntArray,
    lots: IntArray,
    parameters: FitParameters,
    *,
    n_clusters: int,
    novelty: Novelty,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> LeftOut:
    """Map every lot with an atlas fitted to the others.

    Parameters
    ----------
    counts : CSR (n, n_file_genes)
    labels, lots : (n,) int
    novelty : Novelty
        Of the whole reference: its two weights hold for every lot left out, so that all energies are of one scale.
    progress : callable, optional
        Called with the number of lots done and of all lots.
    """
    groups = lots
    if len(np.unique(lots)) == 1:
        groups = np.random.default_rng(seed).permutation(len(lots)) % _PARTS_OF_A_SINGLE_LOT
    logits = np.zeros((len(labels), n_clusters))
    counted, energies = np.ones(len(labels), dtype=np.bool_), np.zeros(len(labels))
    names = np.unique(groups)
    for done, group in enumerate(names, start=1):
        out = groups == group
        model = fit_model(counts[~out], labels[~out], lots[~out], parameters, n_clusters=n_clusters, seed=seed)
        points = model.projection.points(counts[out])
        logits[out] = model.classifier.logits(points)
        energies[out] = model.novelty.weighted_as(novelty).scores(points, logits[out])
        counted[out] = np.isin(labels[out], np.unique(labels[~out]))
        if progress is not None:
            progress(done, len(names))
    return LeftOut(logits=logits, lots=lots, labels=labels, counted=counted, energies=energies)


def calibrate(left_out: LeftOut, *, n_clusters: int, parameters: FitParameters) -> Calibration:
    """Return thresholds, rates and errors from the lots left out."""
    ok = left_out.counted
    logits, labels, lots = left_out.logits[ok], left_out.labels[ok], left_out.lots[ok]
    best, energies = logits.argmax(axis=1), left_out.energies[ok]
    temperature = _temperature(logits, labels)
    confidence = np.exp(logits.max(axis=1) / temperature - logsumexp(logits / temperature, axis=1))
    thresholds = np.full(n_clusters, np.quantile(energies, parameters.novelty_quantile))
    novel = energies > thresholds[best]
    assigned = np.where(novel & (confidence < parameters.novelty_confidence), n_clusters, best)
    confusion = np.zeros((n_clusters, n_clusters + 1), dtype=np.int64)
    np.add.at(confusion, (labels, assigned), 1)
    cells = confusion.sum(axis=1)
    rates = (confusion[:, -1] + (1 - parameters.novelty_quantile)) / (cells + 1)
    names = np.unique(lots)
    true = np.array([np.bincount(labels[lots == lot], minlength=n_clusters) / (lots == lot).sum() for lot in names])
    found = np.array(
        [np.bincount(assigned[lots == lot], minlength=n_clusters + 1) / (lots == lot).sum() for lot in names]
    )
    sizes = np.array([(lots == lot).sum() for lot in names], dtype=np.float64)
    measured = len(names) > 1
    nothing = np.zeros(0)
    errors = np.abs(found[:, :-1] - true)
    return Calibration(
        temperature=temperature,
        novelty_thresholds=thresholds,
        unassigned_rates=rates,
        confusion=confusion,
        share_errors=np.where(cells > 0, errors.mean(axis=0), np.nan) if measured else np.full(n_clusters, np.nan),
        interval_scales=_interval_scales(found[:, :-1], true, sizes, cells > 0),
        accuracies=np.array([(best == labels)[lots == lot].mean() for lot in names]) if measured else nothing,
        total_variations=0.5 * (errors.sum(axis=1) + found[:, -1]) if measured else nothing,
        unassigned=np.array([(assigned[lots == lot] == n_clusters).sum() for lot in names], dtype=np.float64),
        novel=np.array([novel[lots == lot].sum() for lot in names], dtype=np.float64),
        cells=sizes,
    )


def _temperature(logits: FloatArray, labels: IntArray) -> float:
    """Return the temperature at which the left-out cells' labels are most likely (Guo et al. 2017)."""
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        tempered = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(tempered, axis=1) - tempered[rows, labels]))

    widest = np.log(_WIDEST_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=(-widest, widest), method="bounded").x))


def _interval_scales(found: FloatArray, true: FloatArray, sizes: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Return s of ``error ~ s sqrt(share (1 - share))`` for each cluster, drawn toward that of all clusters.

    No error is taken to be below half a cell: a few lots without any do not promise that there never is one.

    Parameters
    ----------
    found, true : (n_lots, C)
    sizes : (n_lots,)
        Cells.
    known : (C,) bool
    """
    n_lots, n_clusters = found.shape
    if n_lots < _LOTS_FOR_INTERVALS:
        return np.full(n_clusters, np.nan)
    share = 0.5 * (found + true)
    variance = share * (1 - share)
    usable = variance > 0
    ratio = np.divide(
        (found - true) ** 2 + (0.5 / sizes[:, None]) ** 2, variance, out=np.zeros_like(found), where=usable
    )
    overall = float(ratio[usable].mean())
    own = ratio.sum(axis=0) + _PRIOR_LOTS * overall
    return np.where(known, np.sqrt(own / (usable.sum(axis=0) + _PRIOR_LOTS)), np.nan)
