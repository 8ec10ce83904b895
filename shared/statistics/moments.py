"""Moments of expression that can be merged: of cells in a cluster, of clusters in a lot, of lots in a study.

Merging is exact arithmetic of sums in disguise (Chan, Golub and LeVeque 1983, Am Stat 37:242-247, eq. 2.1): the centred
sum of squares of several groups is the sum of theirs and of n (mean - grand mean)^2. The difference of two large sums,
``E[x^2] - E[x]^2``, is never formed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from shared.errors import InputError
from shared.statistics.arrays import BoolArray, FloatArray, IntArray

TARGET_SUM = 1e4
"""Counts are scaled to this library size before log1p."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Moments of K groups of cells over G genes; NaN (nonzero: too) where a group does not know a gene.

    Attributes
    ----------
    cells : (K,) float
        Cells of each group.
    mean, m2 : (K, G) float
        Of log1p(1e4 x / library size): the mean, and the sum of squares centred on it.
    sum_expm1 : (K, G) float
        The sum of 1e4 x / library size.
    nonzero : (K, G) float
        Cells that express the gene.
    """

    cells: FloatArray
    mean: FloatArray
    m2: FloatArray
    sum_expm1: FloatArray
    nonzero: FloatArray

    def __post_init__(self) -> None:
        shape = (len(self.cells), *self.mean.shape[1:])
        found = {each.shape for each in (self.mean, self.m2, self.sum_expm1, self.nonzero)}
        if found != {shape}:
            raise InputError(f"moments: expected arrays of shape {shape}, found {sorted(found)}")

    @property
    def n_genes(self) -> int:
        """G."""
        return int(self.mean.shape[1])

    def of(self, groups: BoolArray | IntArray | slice) -> Self:
        """Return the moments of some groups."""
        return type(self)(
            cells=self.cells[groups],
            mean=self.mean[groups],
            m2=self.m2[groups],
            sum_expm1=self.sum_expm1[groups],
            nonzero=self.nonzero[groups],
        )

    def merged(self) -> "Merged":
        """Return the moments of all groups together, gene by gene over the groups that know the gene.

        A group without cells adds nothing. Without any cell the mean is NaN.
        """
        known = ~np.isnan(self.mean) & (self.cells[:, None] > 0)
        weights = np.where(known, self.cells[:, None], 0.0)
        cells = weights.sum(axis=0)
        total = np.where(known, weights * np.where(known, self.mean, 0.0), 0.0).sum(axis=0)
        mean = np.divide(total, cells, out=np.full(self.n_genes, np.nan), where=cells > 0)
        apart = np.where(known, self.mean - mean, 0.0)
        return Merged(
            cells=cells,
            mean=mean,
            m2=(np.where(known, self.m2, 0.0) + weights * apart**2).sum(axis=0),
            sum_expm1=np.where(known, self.sum_expm1, 0.0).sum(axis=0),
            nonzero=np.where(known, self.nonzero, 0.0).sum(axis=0),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Merged:
    """Moments of one group whose number of cells may differ from gene to gene; every array is (G,)."""

    cells: FloatArray
    mean: FloatArray
    m2: FloatArray
    sum_expm1: FloatArray
    nonzero: FloatArray

    @property
    def share(self) -> FloatArray:
        """The share of cells that express the gene; NaN without cells."""
        nothing = np.full(self.cells.shape, np.nan)
        return np.asarray(np.divide(self.nonzero, self.cells, out=nothing, where=self.cells > 0), dtype=np.float64)


def stacked(parts: Sequence[Moments]) -> Moments:
    """Return the groups of all parts, one after the other.

    Raises
    ------
    InputError
        If there is none, or they are over different numbers of genes.
    """
    if not parts or len({each.n_genes for each in parts}) != 1:
        raise InputError("moments: expected parts over the same genes, found none or different numbers of genes")
    return Moments(
        cells=np.concatenate([each.cells for each in parts]),
        mean=np.concatenate([each.mean for each in parts]),
        m2=np.concatenate([each.m2 for each in parts]),
        sum_expm1=np.concatenate([each.sum_expm1 for each in parts]),
        nonzero=np.concatenate([each.nonzero for each in parts]),
    )
