"""Which cells count: the study's quality limits, and the lot's medians over the cells that remain.

Rules:

1. A cell is removed by the first limit that it breaks, in the order: no counts, few counts, few genes, high
   mitochondrial share. So the numbers removed add up.
2. Medians are over the cells that remain, exact, and do not depend on their order.
3. A limit that the file cannot be held to (mitochondrial genes that nothing names) is an error, never skipped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.cell_limits import CellLimits, limits_of_counts
from shared.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class CellQuality:
    """What the limits look at, ``(n_cells,)`` each.

    Attributes
    ----------
    total_counts : ndarray of float64
        Over all genes of the file.
    n_genes : ndarray of int32
        Genes with a count.
    mitochondrial_counts : ndarray of float64 or None
        None where the file's names do not tell which genes are mitochondrial.
    counted : bool
        False for morphology: ``total_counts`` are then sums of features, known again by their median and no more.
    """

    total_counts: NDArray[np.float64]
    n_genes: NDArray[np.int32]
    mitochondrial_counts: NDArray[np.float64] | None
    counted: bool = True

    def only(self, keep: NDArray[np.bool_]) -> "CellQuality":
        """Return the quality of the kept cells ``(n_cells,)``."""
        if keep.all():  # the usual lot: no copy of 20 bytes a cell
            return self
        mitochondrial = self.mitochondrial_counts
        return CellQuality(
            total_counts=self.total_counts[keep],
            n_genes=self.n_genes[keep],
            mitochondrial_counts=None if mitochondrial is None else mitochondrial[keep],
            counted=self.counted,
        )


@dataclass(frozen=True, kw_only=True)
class RemovedCells:
    """How many cells each limit removed."""

    no_counts: int
    few_counts: int
    few_genes: int
    high_mitochondrial_share: int

    @property
    def total(self) -> int:
        """All cells removed."""
        return self.no_counts + self.few_counts + self.few_genes + self.high_mitochondrial_share


@dataclass(frozen=True, kw_only=True)
class QualityMedians:
    """Medians over the cells that remain; None where no cell remains (or, for the share, where it is not known)."""

    counts: float | None
    genes: float | None
    mitochondrial_share: float | None
    features: float | None = None  # of the sum of a cell's features, where there are no counts


def refuse_limits_of_counts(limits: CellLimits) -> None:
    """Raise where a study limits what morphology does not have.

    Raises
    ------
    InputError
        Naming the limits of counts, genes or mitochondrial share.
    """
    wrong = limits_of_counts(limits)
    if wrong:
        raise InputError(
            f"expected no limit of counts with an atlas of morphology, found {', '.join(wrong)}",
            hint="the study's coordinator leaves them out: features have neither counts nor genes",
        )


def apply_limits(cells: CellQuality, limits: CellLimits) -> tuple[NDArray[np.bool_], RemovedCells]:
    """Return which cells remain ``(n_cells,)``, and how many each limit removed.

    Raises
    ------
    InputError
        The plan limits the mitochondrial share and the file does not tell which genes are mitochondrial.
    """
    if not cells.counted:
        refuse_limits_of_counts(limits)
        every = np.ones(cells.total_counts.size, dtype=np.bool_)
        return every, RemovedCells(no_counts=0, few_counts=0, few_genes=0, high_mitochondrial_share=0)
    limits_share = limits.maximum_mitochondrial_share < 1
    if limits_share and cells.mitochondrial_counts is None:
        raise InputError(
            f"the study allows a mitochondrial share of {limits.maximum_mitochondrial_share:g}, and no gene of the "
            "file is known as mitochondrial",
            hint="name genes by symbol (MT-...) or by Ensembl id in var",
        )
    keep = np.ones(cells.total_counts.size, dtype=np.bool_)
    removed: list[int] = []
    high: NDArray[np.bool_] = np.zeros_like(keep)
    if limits_share and cells.mitochondrial_counts is not None:
        # Compared as counts: no quotient is rounded, and a cell without counts divides by nothing.
        high = cells.mitochondrial_counts > limits.maximum_mitochondrial_share * cells.total_counts
    for breaks in (
        cells.total_counts <= 0,
        cells.total_counts < limits.minimum_counts_per_cell,
        cells.n_genes < limits.minimum_genes_per_cell,
        high,
    ):
        removed.append(int(np.count_nonzero(keep & breaks)))
        keep &= ~breaks
    no_counts, few_counts, few_genes, high_share = removed
    return keep, RemovedCells(
        no_counts=no_counts, few_counts=few_counts, few_genes=few_genes, high_mitochondrial_share=high_share
    )


def medians(cells: CellQuality) -> QualityMedians:
    """Return the medians over all given cells, each of which has counts."""
    if cells.total_counts.size == 0:
        return QualityMedians(counts=None, genes=None, mitochondrial_share=None)
    if not cells.counted:
        features = float(np.median(cells.total_counts))
        return QualityMedians(counts=None, genes=None, mitochondrial_share=None, features=features)
    share = None
    if cells.mitochondrial_counts is not None:
        share = float(np.median(cells.mitochondrial_counts / cells.total_counts, overwrite_input=True))
    return QualityMedians(
        counts=float(np.median(cells.total_counts)), genes=float(np.median(cells.n_genes)), mitochondrial_share=share
    )
