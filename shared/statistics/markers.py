"""Markers of a cluster from merged moments: the lot-paired test, and what describes the cells.

The unit is the donor. Of each, one number enters a gene's test: the mean in the cluster less the mean in the rest of
the same lots. A one-sample t test asks whether these differences are 0 on average. What a lot's batch adds to a gene
stands in both means and cancels. Cells as units would take the lots' own variation for evidence: with a variance
between lots that 500 cells average away, the cell-level test rejects a true null in .2 of studies and more.

Formulas: one-sample t (Student 1908); its check by flipping the differences' signs, all 2^n of them where n <= 14
(Fisher 1935, The Design of Experiments, section 21); Welch (1947, Biometrika 34:28-35) for cells; the log2 fold change
of back-transformed means as scanpy's ``rank_genes_groups`` has it, and that of mean counts as Seurat has it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from shared.statistics.arrays import BoolArray, FloatArray, IntArray
from shared.statistics.moments import TARGET_SUM, Merged, Moments
from shared.statistics.streams import block_generator

_MOST_ENUMERATED = 14
_DRAWS = 9_999
_AS_GOOD_AS_EQUAL = 1e-9
_FEWEST_UNITS = 3
# As scanpy adds it, so that a ratio of nothing to nothing is 1.
_SCANPY_PSEUDO = 1e-9
_SEURAT_PSEUDO = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedTest:
    """The lot-paired test of G genes; every array is (G,), NaN where fewer than three units know the gene.

    ``n`` counts units; ``p`` is two-sided, of t with n - 1 degrees of freedom; 1 where no unit differs from 0.
    """

    n: IntArray
    difference: FloatArray
    low: FloatArray
    high: FloatArray
    t: FloatArray
    p: FloatArray
    p_sign_flip: FloatArray


def paired_test(differences: FloatArray, *, confidence: float = 0.95, entropy: tuple[int, ...] = (0,)) -> PairedTest:
    """Return the one-sample t test of each gene's differences over units.

    Parameters
    ----------
    differences : (n_units, G)
        NaN where a unit does not know the gene.
    confidence : float
        Of the interval of the mean difference.
    entropy : tuple of int
        The named stream of the sign flips, where they are drawn.
    """
    known = ~np.isnan(differences)
    n = known.sum(axis=0)
    enough = n >= _FEWEST_UNITS
    values = np.where(known, differences, 0.0)
    mean = np.divide(values.sum(axis=0), n, out=np.full(n.shape, np.nan), where=enough)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
    error = np.sqrt(np.divide(squares, n * (n - 1.0), out=np.full(n.shape, np.nan), where=enough))
    moved = enough & ((mean != 0) | (error > 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(moved, mean / error, np.where(enough, 0.0, np.nan))
    freedom = np.maximum(n - 1, 1)
    p = np.where(enough, 2.0 * student.sf(np.abs(t), freedom), np.nan)
    half = student.ppf(0.5 + confidence / 2, freedom) * error
    return PairedTest(
        n=n.astype(np.int64),
        difference=mean,
        low=mean - half,
        high=mean + half,
        t=t,
        p=p,
        p_sign_flip=_sign_flips(differences, enough, entropy),
    )


def _sign_flips(differences: FloatArray, enough: BoolArray, entropy: tuple[int, ...]) -> FloatArray:
    """Return the share of sign patterns whose sum is at least as far from 0; genes of the same units go together."""
    p = np.full(differences.shape[1], np.nan)
    known = ~np.isnan(differences)
    patterns, member = np.unique(known, axis=1, return_inverse=True)
    for which in range(patterns.shape[1]):
        genes = np.flatnonzero((member.ravel() == which) & enough)
        if not genes.size:
            continue
        values = differences[np.ix_(patterns[:, which], genes)]
        signs, certain = _signs(len(values), entropy)
        observed = np.abs(values.sum(axis=0))
        slack = _AS_GOOD_AS_EQUAL * np.abs(values).sum(axis=0)
        beyond = (np.abs(signs @ values) >= observed - slack).sum(axis=0)
        p[genes] = beyond / len(signs) if certain else (beyond + 1) / (len(signs) + 1)
    return p


def _signs(n: int, entropy: tuple[int, ...]) -> tuple[FloatArray, bool]:
    """Return sign patterns ``(m, n)`` and whether they are all: the first sign stays, as mirrored patterns agree."""
    if n <= _MOST_ENUMERATED:
        bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n - 1)[None, :] & 1
        return np.column_stack([np.ones(len(bits)), 1.0 - 2.0 * bits]), True
    drawn = block_generator(entropy, 0).integers(0, 2, size=(_DRAWS, n))
    return np.asarray(1.0 - 2.0 * drawn, dtype=np.float64), False


def lot_differences(moments: Moments, lots: IntArray, clusters: IntArray, cluster: int) -> FloatArray:
    """Return for each lot its mean in ``cluster`` less its mean over its other clusters, (n_lots, G).

    Parameters
    ----------
    moments : Moments
        K groups, each one cluster of one lot.
    lots, clusters : (K,) int
        Whose group each is; lots are numbered 0 to n_lots - 1.
    cluster : int
        The cluster.

    Returns
    -------
    FloatArray
        NaN where the lot has no group of the cluster, or none besides, that knows the gene.
    """
    n_lots = int(lots.max(initial=-1)) + 1
    result = np.full((n_lots, moments.n_genes), np.nan)
    for lot in range(n_lots):
        here = lots == lot
        inside, outside = here & (clusters == cluster), here & (clusters != cluster)
        if inside.any() and outside.any():
            result[lot] = moments.of(inside).merged().mean - moments.of(outside).merged().mean
    return result


def welch_t(one: Merged, other: Merged) -> FloatArray:
    """Return Welch's t of the means of two groups of cells, (G,); NaN where a group has fewer than two cells.

    It equals scanpy's ``rank_genes_groups(method="t-test")`` on the cells themselves.
    """
    enough = (one.cells > 1) & (other.cells > 1)
    variances = [
        np.divide(each.m2, (each.cells - 1) * each.cells, out=np.full(enough.shape, np.nan), where=enough)
        for each in (one, other)
    ]
    spread = np.sqrt(variances[0] + variances[1])
    difference = one.mean - other.mean
    nothing = np.where(enough, 0.0, np.nan)
    t = np.divide(difference, spread, out=nothing, where=enough & (spread > 0))
    return np.asarray(t, dtype=np.float64)


def log2_fold_change(one: Merged, other: Merged) -> FloatArray:
    """Return log2 of the ratio of back-transformed means of logs, (G,), as scanpy's ``logfoldchanges``."""
    ratio = (np.expm1(one.mean) + _SCANPY_PSEUDO) / (np.expm1(other.mean) + _SCANPY_PSEUDO)
    return np.asarray(np.log2(ratio), dtype=np.float64)


def log2_fold_change_of_means(one: Merged, other: Merged) -> FloatArray:
    """Return log2 of the ratio of mean counts per 10,000 and one, (G,), as Seurat's ``avg_log2FC`` (Seurat 4)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [each.sum_expm1 / each.cells + _SEURAT_PSEUDO for each in (one, other)]
    return np.asarray(np.log2(means[0] / means[1]), dtype=np.float64)


def few_cells(cells: FloatArray, threshold: int, median_counts: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, m2 and sum_expm1, each (K,), that stand for 1 to ``threshold`` - 1 expressing cells of K groups.

    Half of ``threshold`` cells, each with one molecule in a library of the lot's median size.
    """
    nonzero = threshold / 2.0
    scaled = TARGET_SUM / max(median_counts, 1.0)
    value = float(np.log1p(scaled))
    mean = nonzero * value / cells
    return mean, nonzero * value**2 - cells * mean**2, np.full(len(cells), nonzero * scaled)
