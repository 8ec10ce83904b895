"""Counts to features: library sizes, the choice of genes, log-normalised values. Plain arrays in and out.

Library sizes count all genes of the file, so a reference and a lot need no common gene panel beyond the chosen genes.
"""

from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Counts = Any  # scipy.sparse.csr_matrix or csr_array of counts, (n_cells, n_genes)

_ROWS_AT_ONCE: Final = 4096
_LOWESS_SPAN: Final = 0.3
_MARKER_FLOOR: Final = 0.1


def library_sizes(counts: Counts) -> NDArray[np.float64]:
    """Return the sum of each cell's counts over all genes, ``(n_cells,)``."""
    return np.asarray(counts.sum(axis=1, dtype=np.float64), dtype=np.float64).ravel()


def log_normalised(counts: Counts, sizes: NDArray[np.float64], target_sum: float) -> Counts:
    """Return log1p(target_sum x / library size) as float64 CSR; a cell without counts stays all zero."""
    values = sp.csr_matrix(counts, dtype=np.float64, copy=True)
    scale = np.divide(target_sum, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    values.data = np.log1p(values.data * np.repeat(scale, np.diff(values.indptr)))
    return values


def moments(values: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the variance (n - 1) of each column of a sparse matrix with at least two rows."""
    n = values.shape[0]
    mean = np.asarray(values.sum(axis=0), dtype=np.float64).ravel() / n
    square = np.asarray(values.multiply(values).sum(axis=0), dtype=np.float64).ravel() / n
    return mean, np.maximum(square - mean**2, 0.0) * n / max(n - 1, 1)


def variable_genes(counts: Counts, n_genes: int) -> IntArray:
    """Return the genes that vary most over all cells, sorted by their place in the file.

    The score is the variance of the counts standardised by the trend of variance on mean, counts clipped at sqrt(n)
    deviations (Stuart et al. 2019, "seurat_v3"; the trend here is a local line, theirs a local parabola).

    Parameters
    ----------
    counts : CSR (n_cells, n_file_genes)
    n_genes : int
        Fewer are returned where fewer genes vary.
    """
    scores = _standardised_variance(sp.csc_matrix(counts, dtype=np.float64))
    order = np.argsort(-scores, kind="stable")[:n_genes]
    return np.sort(order[scores[order] > 0])


def marker_genes(values: Counts, labels: IntArray, n_genes: int) -> IntArray:
    """Return for each cluster the genes that part it best from the cluster next to it, sorted, each once.

    A gene belongs to the cluster in which its mean is highest. Its score is the gap to the second highest mean over the
    gene's standard deviation (plus 0.1, so that a gene hardly seen does not win).

    Parameters
    ----------
    values : CSR (n_cells, n_file_genes)
        Log-normalised counts.
    labels : (n_cells,) int
    n_genes : int
        At most so many for each cluster.
    """
    clusters = np.unique(labels)
    means = np.array([np.asarray(values[labels == cluster].mean(axis=0)).ravel() for cluster in clusters])
    if len(clusters) < 2:  # noqa: PLR2004 - no cluster next to it
        return np.zeros(0, dtype=np.int64)
    ordered = np.sort(means, axis=0)
    scores = (ordered[-1] - ordered[-2]) / (np.sqrt(moments(values)[1]) + _MARKER_FLOOR)
    owner = means.argmax(axis=0)
    chosen = []
    for place in range(len(clusters)):
        own = np.flatnonzero((owner == place) & (scores > 0))
        chosen.append(own[np.argsort(-scores[own], kind="stable")[:n_genes]])
    return np.unique(np.concatenate(chosen)).astype(np.int64)


def _standardised_variance(counts: Counts) -> NDArray[np.float64]:
    """Return each gene's variance around the trend, 0 for genes that do not vary. ``counts`` is CSC."""
    from statsmodels.nonparametric.smoothers_lowess import lowess  # noqa: PLC0415 - a second to load, for building only

    n = counts.shape[0]
    mean, variance = moments(counts)
    varies = np.flatnonzero((variance > 0) & (mean > 0))
    scores = np.zeros(counts.shape[1])
    if n < 3 or len(varies) < 3:  # noqa: PLR2004 - a trend needs three points
        scores[varies] = variance[varies] / mean[varies]
        return scores
    x, y = np.log10(mean[varies]), np.log10(variance[varies])
    with np.errstate(invalid="ignore"):  # many equal means: the local line has no slope there
        trend = lowess(y, x, frac=_LOWESS_SPAN, it=0, delta=0.01 * float(np.ptp(x)), return_sorted=False)
    trend = np.where(np.isfinite(trend), trend, np.polyval(np.polyfit(x, y, 1), x))
    deviation = np.sqrt(10.0**trend)
    largest = np.sqrt(n)
    part = sp.csc_matrix(counts[:, varies])
    column = np.repeat(np.arange(len(varies)), np.diff(part.indptr))
    clipped = np.minimum(part.data, mean[varies][column] + largest * deviation[column])
    first = np.bincount(column, clipped, len(varies))
    second = np.bincount(column, clipped**2, len(varies))
    spread = n * mean[varies] ** 2 + second - 2.0 * mean[varies] * first
    scores[varies] = spread / ((n - 1) * deviation**2)
    return scores


def dense_blocks(values: Counts, caps: NDArray[np.float64]) -> "list[slice]":
    """Return slices of rows that are dense in no more than a few tens of MiB each."""
    rows = max(1, _ROWS_AT_ONCE * 2_000 // max(len(caps), 1))
    return [slice(start, min(start + rows, values.shape[0])) for start in range(0, values.shape[0], rows)]
