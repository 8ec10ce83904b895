"""A lot's composition: its cells mapped, held to the study's quality limits, and counted.

Rules:

1. A lot maps the same alone or with others. Lots that share a file are mapped in one pass over it, and no cell
   belongs to two lots.
2. Counts, unassigned and removed cells add up to the lot's cells.
3. Whether a lot may be reported is said as reasons, here; the release gate decides by them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocol.cell_limits import CellLimits
from shared.atlas.artefact import Atlas
from shared.errors import InputError
from site_agent.cells.cell_mapping import CellMapping
from site_agent.cells.cell_source import CellSource
from site_agent.cells.mapping import Progress, map_source, thread_count
from site_agent.cells.morphology import control_cells, is_morphology
from site_agent.cells.quality import QualityMedians, RemovedCells, apply_limits, medians
from site_agent.cells.reading import open_cells

if TYPE_CHECKING:
    from protocol.modules.markers import MarkersPlan
    from site_agent.cells.lots import Lot, SiteLots
    from site_agent.cells.marker_moments import LotCells, LotMoments

CELLS_DIAGNOSED = 5_000


class WithheldReason(StrEnum):
    """Why a lot is not reported at all, by the study's quality limits."""

    TOO_FEW_CELLS = "too-few-cells"
    LOW_GENE_COVERAGE = "low-gene-coverage"


@dataclass(frozen=True, kw_only=True, eq=False)
class LotMapping:
    """One lot's composition.

    Attributes
    ----------
    clusters : tuple of str
        Of the atlas.
    counts : ndarray of int64, ``(n_clusters,)``
        Cells after QC in each cluster.
    unassigned : int
        Cells after QC in none.
    cells, cells_after_qc : int
        Of the lot, before and after the limits.
    removed : RemovedCells
        By each limit.
    medians : QualityMedians
        Over the cells after QC.
    gene_coverage : float
        Share of the atlas's genes that the file has.
    mapping : CellMapping
        The file's cells, shared by the lots of one file.
    kept : ndarray of bool, ``(mapping.n_cells,)``
        Which of them are this lot's, after QC.
    markers : LotMoments or None
        Moments of the genes that a study asks for.
    """

    clusters: tuple[str, ...]
    counts: NDArray[np.int64]
    unassigned: int
    cells: int
    cells_after_qc: int
    removed: RemovedCells
    medians: QualityMedians
    gene_coverage: float
    mapping: CellMapping
    kept: NDArray[np.bool_]
    markers: "LotMoments | None" = None

    def withheld(self, limits: CellLimits) -> tuple[WithheldReason, ...]:
        """Return why the limits withhold the lot; empty where it may be reported."""
        reasons = {
            WithheldReason.TOO_FEW_CELLS: self.cells_after_qc < limits.minimum_cells_per_lot,
            WithheldReason.LOW_GENE_COVERAGE: self.gene_coverage < limits.minimum_gene_coverage,
        }
        return tuple(reason for reason, holds in reasons.items() if holds)


def summarise_lot(mapping: CellMapping, limits: CellLimits, *, of_lot: NDArray[np.bool_] | None = None) -> LotMapping:
    """Return the composition of mapped cells, or of those of one lot.

    Parameters
    ----------
    mapping : CellMapping
        The mapped cells.
    limits : CellLimits
        Of the study plan.
    of_lot : ndarray of bool, ``(mapping.n_cells,)``, optional
        Which cells are the lot's; all where not given.

    Raises
    ------
    InputError
        As ``apply_limits``.
    """
    members = np.ones(mapping.n_cells, dtype=np.bool_) if of_lot is None else of_lot
    quality = mapping.quality.only(members)
    keep, removed = apply_limits(quality, limits)
    kept = members.copy()
    kept[members] = keep
    counts, unassigned = mapping.counts(kept)
    return LotMapping(
        clusters=mapping.clusters,
        counts=counts,
        unassigned=unassigned,
        cells=int(members.sum()),
        cells_after_qc=int(keep.sum()),
        removed=removed,
        medians=medians(quality.only(keep)),
        gene_coverage=mapping.gene_coverage,
        mapping=mapping,
        kept=kept,
    )


def map_site_lots(
    site: "SiteLots",
    atlas: Atlas,
    limits: CellLimits,
    *,
    lots: Sequence[str] | None = None,
    markers: "MarkersPlan | None" = None,
    threads: int | None = None,
    progress: "Callable[[Lot], Progress | None] | None" = None,
) -> "Iterator[tuple[Lot, LotMapping]]":
    """Yield the lots of a site with their composition, file by file.

    Parameters
    ----------
    site : SiteLots
        A site folder that was read without a problem.
    atlas : Atlas
        The study's.
    limits : CellLimits
        The study's.
    lots : sequence of str, optional
        Only these.
    markers : MarkersPlan, optional
        Which genes' moments to take, in a second pass over each file.
    progress : callable, optional
        Given the first lot of a file, returns the progress callback of that file's pass.

    Raises
    ------
    InputError
        A file cannot be read or mapped, or two lots share cells.
    """
    if markers is not None and is_morphology(atlas):
        raise InputError("expected no module markers with an atlas of morphology", hint="features are no genes")
    wanted = [lot for lot in site.lots if lots is None or lot.lot in lots]
    files: dict[tuple[Path, str | None], list[Lot]] = {}
    for lot in wanted:
        files.setdefault((lot.file, lot.layer), []).append(lot)
    for (file, layer), together in files.items():
        with open_cells(file, layer) as source:
            source.require_distinct_cells()
            owner = cell_owners(source, together)
            if is_morphology(atlas):
                owner[control_cells(source, atlas)] = -1  # the cells of control wells are of no lot
            mapping = map_source(
                source,
                atlas,
                rows=None if (owner >= 0).all() else owner >= 0,
                latent_rows=diagnosed_cells(owner, len(together)),
                threads=threads,
                progress=None if progress is None else progress(together[0]),
            )
            mapped_owner = owner if mapping.rows is None else owner[mapping.rows]
            summaries = (
                summarise_lot(mapping, limits, of_lot=np.equal(mapped_owner, number)) for number in range(len(together))
            )
            found = None if markers is None else _with_moments(source, atlas, markers, list(summaries), threads)
        yield from zip(together, summaries if found is None else found, strict=True)


def _with_moments(
    source: CellSource, atlas: Atlas, markers: "MarkersPlan", lots: Sequence[LotMapping], threads: int | None
) -> list[LotMapping]:
    from site_agent.cells.marker_moments import marker_moments  # noqa: PLC0415 - as below

    cells = [lot_cells(lot) for lot in lots]
    moments = marker_moments(source, atlas, markers, cells, threads=thread_count(threads))
    return [replace(lot, markers=found) for lot, found in zip(lots, moments, strict=True)]


def lot_cells(lot: LotMapping) -> "LotCells":
    """Return which of the file's cells are the lot's after QC, for a second pass over it."""
    from site_agent.cells.marker_moments import LotCells  # noqa: PLC0415 - knows the study plan, whose models load slowly

    return LotCells(
        rows=np.flatnonzero(lot.kept) if lot.mapping.rows is None else lot.mapping.rows[lot.kept],
        labels=lot.mapping.label[lot.kept],
        libraries=lot.mapping.quality.total_counts[lot.kept],
    )


def cell_owners(source: CellSource, lots: "Sequence[Lot]") -> NDArray[np.int32]:
    """Return for each cell which of ``lots`` it belongs to ``(n_cells,)``; -1 for none.

    Raises
    ------
    InputError
        A filter names no column or no cell, or a cell would belong to two lots.
    """
    owner = np.full(source.n_cells, -1, dtype=np.int32)
    for number, lot in enumerate(lots):
        rows = source.rows_where([(each.column, each.value) for each in lot.where])
        if rows is None:
            rows = np.ones(source.n_cells, dtype=np.bool_)
        taken = owner[rows & (owner >= 0)]
        if taken.size:
            other = lots[int(taken[0])]
            raise InputError(
                f"lots.csv, rows {other.row} and {lot.row}: {taken.size} cells of {source.path.name} belong to both "
                f"{other.lot!r} and {lot.lot!r}",
                hint="narrow the column 'where' until each cell belongs to one lot",
            )
        owner[rows] = number
    return owner


def diagnosed_cells(owner: NDArray[np.int32], n_lots: int, *, per_lot: int = CELLS_DIAGNOSED) -> NDArray[np.bool_]:
    """Return which cells of a file to look at ``(n_cells,)``: up to ``per_lot`` of each lot, evenly spaced.

    Parameters
    ----------
    owner : ndarray of int, ``(n_cells,)``
        The number of each cell's lot, -1 for none.
    """
    chosen = np.zeros(owner.size, dtype=np.bool_)
    for lot in range(n_lots):
        rows = np.flatnonzero(owner == lot)
        chosen[rows[_evenly_spaced(rows.size, per_lot)]] = True
    return chosen


def diagnosed_of_one_lot(
    n_cells: int, rows: NDArray[np.bool_] | None, *, per_lot: int = CELLS_DIAGNOSED
) -> NDArray[np.bool_]:
    """Return ``diagnosed_cells`` of a file of one lot: all cells, or those of ``rows`` ``(n_cells,)``.

    Nothing of the size of a number for each cell is made where the lot is the whole file.
    """
    chosen = np.zeros(n_cells, dtype=np.bool_)
    if rows is None:
        chosen[_evenly_spaced(n_cells, per_lot)] = True
    else:
        places = np.flatnonzero(rows)
        chosen[places[_evenly_spaced(places.size, per_lot)]] = True
    return chosen


def _evenly_spaced(n: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, n - 1, min(most, n)).astype(np.int64)
