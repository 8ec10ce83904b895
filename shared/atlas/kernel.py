"""Cells to clusters in one pass over the counts of a block: the only code that maps.

Rules.
1. A cell's result depends on that cell and the atlas alone. Every sum over genes is exact (weights and log counts are
   rounded once to a grid on which no sum can round again), so neither the order of genes, nor blocks, threads or the
   make of the processor can change a bit. ``log1p`` and ``exp`` are written out in IEEE operations for the same reason.
2. Counts are checked in the same pass. The first row that is no row of counts ends the block with its
   :class:`Validity`; no label of such a block may be used.
3. A cell is unassigned (label -1) if its energy lies above the novelty threshold of its best cluster and no cluster is
   confident of it (``NoveltySettings``). So is a cell without any count.

The compiled part holds no lock of Python: any number of threads map at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.compiled import IS_WIDE, LANES, LOG_GRID, MITOCHONDRIAL, Cells, Rows, Tables, map_rows
from shared.atlas.genes import GeneMatch
from shared.errors import InternalError
from shared.native.library import address

UNASSIGNED: Final = -1


class Validity(IntEnum):
    """Why a block is, or is not, a block of counts."""

    VALID = 0
    NOT_FINITE = 1
    NEGATIVE = 2
    NOT_INTEGER = 3
    TOO_LARGE = 4
    INDEX_OUT_OF_RANGE = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelTables:
    """An atlas laid out for one file's genes. G genes, d dimensions, C clusters; all float64 unless said."""

    slots: NDArray[np.int32]  # (n_file_genes,) 0, or atlas gene + 1, plus the mitochondrial bit
    has_slot: NDArray[np.uint8]  # (n_file_genes,) 1 where the slot is not 0: a table small enough for the first cache
    weights: NDArray[np.float32]  # (G, d rounded up to whole LANES), on a grid
    offset: NDArray[np.float64]  # (d,) gene_means @ weights over the genes that the file has
    caps: NDArray[np.float64]  # (G,), on a grid
    coefficients: NDArray[np.float64]  # (d, C)
    intercepts: NDArray[np.float64]  # (C,)
    thresholds: NDArray[np.float64]  # (C,)
    means: NDArray[np.float64]  # (C, d)
    inverse_spreads: NDArray[np.float64]  # (C, d)
    inverse_temperature: float
    novelty_settings: tuple[float, float, float, float]  # temperature, weights of energy and distance, confidence
    target_sum: float

    @property
    def n_dimensions(self) -> int:
        """Dimensions of a latent point."""
        return len(self.coefficients)

    @cached_property
    def compiled(self) -> Tables:
        """The same for the compiled part, which reads these very arrays: they are kept as long as this is."""
        (d, C), G, n_file_genes = self.coefficients.shape, len(self.caps), len(self.slots)
        width = -(-d // LANES) * LANES
        if n_file_genes and not 0 <= int((self.slots & (MITOCHONDRIAL - 1)).max()) <= G:
            raise InternalError(f"expected slots of {G} genes, found {int((self.slots & (MITOCHONDRIAL - 1)).max())}")
        return Tables(
            address(self.slots, np.int32, [n_file_genes]),
            address(self.has_slot, np.uint8, [n_file_genes]),
            address(self.weights, np.float32, [G, width]),
            address(self.offset, np.float64, [d]),
            address(self.caps, np.float64, [G]),
            address(self.coefficients, np.float64, [d, C]),
            address(self.intercepts, np.float64, [C]),
            address(self.thresholds, np.float64, [C]),
            address(self.means, np.float64, [C, d]),
            address(self.inverse_spreads, np.float64, [C, d]),
            *(n_file_genes, G, d, width, C),
            *(self.inverse_temperature, self.target_sum, *self.novelty_settings),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MappedBlock:
    """What the kernel says of n cells. Nothing but ``validity`` and ``first_bad_row`` may be used unless VALID."""

    validity: Validity
    first_bad_row: int  # -1 when valid
    label: NDArray[np.int32]  # (n,) cluster, or -1: unassigned
    best: NDArray[np.int32]  # (n,) best cluster even if unassigned; -1 only for a cell without counts
    confidence: NDArray[np.float32]  # (n,) calibrated probability of the best cluster, in steps of 1e-4
    energy: NDArray[np.float32]  # (n,) novelty (shared.atlas.novelty); infinite for a cell without counts
    total_counts: NDArray[np.float64]  # (n,) over all genes of the file
    n_genes: NDArray[np.int32]  # (n,) genes with a count
    mito_counts: NDArray[np.float64]  # (n,)
    latent: NDArray[np.float32] | None  # (n, d)


def prepare(atlas: Atlas, gene_match: GeneMatch, mito_mask: NDArray[np.bool_] | None = None) -> KernelTables:
    """Lay an atlas out for the genes of one file.

    Parameters
    ----------
    mito_mask : (n_file_genes,) bool, optional
        Which of the file's genes are mitochondrial.
    """
    slots = (gene_match.gene_map + 1).astype(np.int32)
    if mito_mask is not None:
        if mito_mask.shape != slots.shape:
            raise InternalError(f"expected a mitochondrial mask of shape {slots.shape}, found {mito_mask.shape}")
        slots |= np.where(mito_mask, MITOCHONDRIAL, 0).astype(np.int32)
    present = np.unique(gene_match.gene_map[gene_match.gene_map >= 0])
    caps = np.minimum(atlas.caps.astype(np.float64), math.log1p(atlas.target_sum))
    weights = _on_grid(atlas.weights.astype(np.float64), largest_log_count=float(caps.max(initial=1.0)))
    means = np.floor(atlas.gene_means.astype(np.float64) * LOG_GRID + 0.5) / LOG_GRID
    novelty = atlas.card.novelty
    return KernelTables(
        slots=slots,
        has_slot=(slots != 0).astype(np.uint8),
        weights=_in_lanes(weights.astype(np.float32)),  # exact on this grid, and half the bytes to fetch for each gene
        # A sum, not a product of matrices: exact on the grid, and no thread of a BLAS is left spinning.
        offset=(means[present, None] * weights[present]).sum(axis=0),
        caps=np.floor(caps * LOG_GRID) / LOG_GRID,
        coefficients=np.ascontiguousarray(atlas.coefficients, dtype=np.float64),
        intercepts=atlas.intercepts.astype(np.float64),
        thresholds=atlas.novelty_thresholds.astype(np.float64),
        means=atlas.class_means.astype(np.float64),
        inverse_spreads=1.0 / atlas.class_spreads.astype(np.float64),
        novelty_settings=(novelty.temperature, novelty.energy_weight, novelty.distance_weight, novelty.confidence),
        inverse_temperature=1.0 / atlas.card.temperature,
        target_sum=atlas.target_sum,
    )


def _in_lanes(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.pad(weights, ((0, 0), (0, -weights.shape[1] % LANES))))


def _on_grid(weights: NDArray[np.float64], *, largest_log_count: float) -> NDArray[np.float64]:
    """Round weights so coarsely that a sum over all genes of log count times weight is exact in float64.

    Every rounded weight is exact in float32 too.

    With log counts below 2^a on a grid of 2^-18, weights below 2^b and at most 2^g genes, a sum stays below
    2^(a + b + g); it is exact if the grid of the products is at least 2^(a + b + g - 53).
    """
    a = math.ceil(math.log2(largest_log_count)) if largest_log_count > 1 else 0
    b = math.ceil(math.log2(max(float(np.abs(weights).max(initial=0.0)), 1e-30)))
    g = math.ceil(math.log2(max(len(weights), 2))) + 1  # one bit more: the sum is then compared with the offset
    grid = 2.0 ** (b - min(53 - 18 - a - g, 24))
    return np.ascontiguousarray(np.rint(weights / grid) * grid)


def map_block(
    tables: KernelTables,
    indptr: NDArray[np.int64],
    indices: NDArray[np.integer[Any]],
    data: NDArray[np.number[Any]],
    *,
    with_latent: bool = False,
    is_wide: bool = IS_WIDE,
) -> MappedBlock:
    """Map the n rows of a CSR block of counts.

    Parameters
    ----------
    indptr : (n + 1,) int64
        ``indptr - indptr[0]`` are positions in ``indices`` and ``data``, which begin at the block's first row.
    indices : int32 or int64
        The file's genes. A row may be in any order and may name a gene twice: the counts are then added.
    data : float32, float64 or integers
        The counts.
    with_latent : bool
        Whether to return the latent points.
    is_wide : bool
        Use the processor's wider instructions, where it has them. The result is the same to the last bit.

    Raises
    ------
    InternalError
        ``indptr`` does not fit ``indices`` and ``data``. Files are checked before (``site_agent.cells``).
    """
    n, length = len(indptr) - 1, len(data)
    if n < 0 or len(indices) != length or (np.diff(indptr) < 0).any() or int(indptr[-1] - indptr[0]) > length:
        raise InternalError("expected indptr to rise within the block's data")
    if data.dtype != np.float32:
        data = data.astype(np.float64, copy=False)  # exact for every count; two dtypes to compile, not ten
    if indices.dtype != np.int32:  # what does not fit is out of range either way
        indices = indices.clip(-1, np.iinfo(np.int32).max).astype(np.int32)
    indptr = np.require(indptr, requirements=["C", "A"])
    indices, data = np.require(indices, requirements=["C", "A"]), np.require(data, requirements=["C", "A"])
    rows = Rows(
        address(indptr, np.int64, [n + 1]),
        address(indices, np.int32, [length]),
        address(data, data.dtype.type, [length]),
        *(n, length, data.dtype == np.float64),
    )
    return mapped_by(
        lambda cells: map_rows(tables.compiled, rows, cells, is_wide=is_wide), tables, n, with_latent=with_latent
    )


def mapped_by(
    fill: Callable[[Cells], tuple[int, int]], tables: KernelTables, n: int, *, with_latent: bool
) -> MappedBlock:
    """Return what compiled code says of n cells: ``fill`` writes into the room it is given; it returns code and row."""
    d = tables.n_dimensions
    label, best, n_genes = (np.empty(n, dtype=np.int32) for _ in range(3))
    confidence, energy = (np.empty(n, dtype=np.float32) for _ in range(2))
    total, mito = (np.empty(n, dtype=np.float64) for _ in range(2))
    latent = np.empty((n, d), dtype=np.float32) if with_latent else None
    written = (label, best, confidence, energy, total, mito, n_genes)
    code, row = fill(Cells(*(array.ctypes.data for array in written), None if latent is None else latent.ctypes.data))
    return MappedBlock(
        validity=Validity(code),
        first_bad_row=row,
        label=label,
        best=best,
        confidence=confidence,
        energy=energy,
        total_counts=total,
        n_genes=n_genes,
        mito_counts=mito,
        latent=latent,
    )
