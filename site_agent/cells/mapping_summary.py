"""What ``summary.json`` says of a mapped lot: where its cells went, its shares, and how far they may be trusted."""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.cell_limits import CellLimits, PlainLimits
from shared.atlas.card import Finite, Part, Share, Spread
from site_agent.cells.cell_mapping import UNASSIGNED_NAME
from site_agent.cells.diagnostics import LotDiagnostics
from site_agent.cells.lot_mapping import LotMapping


class ClusterShare(Part, frozen=True, kw_only=True):
    """One cluster's cells, and its share of all cells after QC; null where no cell remains.

    ``low`` and ``high`` bound the share with the summary's confidence; null where the atlas could not calibrate them.
    ``em_share`` is the share of assigned cells by EM, and ``shift`` the distance from the atlas's cells.
    """

    cluster: str
    cells: int
    share: Share | None
    low: Share | None = None
    high: Share | None = None
    em_share: Share | None = None
    shift: Spread | None = None


class RemovedSummary(Part, frozen=True, kw_only=True):
    """Cells removed, by the first limit that each broke."""

    no_counts: int
    few_counts: int
    few_genes: int
    high_mitochondrial_share: int


class CellsSummary(Part, frozen=True, kw_only=True):
    """Where the lot's cells went."""

    in_file: int
    of_lot: int
    after_qc: int
    removed: RemovedSummary


class QualitySummary(Part, frozen=True, kw_only=True):
    """Medians over cells after QC, null where not known, and the share of the atlas's genes that the file has."""

    median_counts: Finite | None
    median_genes: Finite | None
    median_mitochondrial_share: Finite | None
    gene_coverage: Share


class WarningSummary(Part, frozen=True, kw_only=True):
    """One reason to doubt the lot's composition."""

    code: str
    sentence: str


class TrustSummary(Part, frozen=True, kw_only=True):
    """How far the composition may be trusted (``site_agent.cells.diagnostics``); null where it cannot be said."""

    interval_confidence: Finite
    unassigned_expected: Share | None
    unassigned_p_value: Share | None
    em_gap: Share | None
    cells_diagnosed: int
    warnings: tuple[WarningSummary, ...]


class MappingSummary(Part, frozen=True, kw_only=True):
    """What ``summary.json`` holds."""

    schema_id: Literal["crosslot.mapping-summary/1"] = msgspec.field(
        default="crosslot.mapping-summary/1", name="schema"
    )
    atlas: str
    atlas_sha256: str
    file: str
    matrix: str
    where: tuple[str, ...]
    cells: CellsSummary
    clusters: tuple[ClusterShare, ...]
    unassigned: ClusterShare
    quality: QualitySummary
    trust: TrustSummary
    limits: PlainLimits
    withheld: tuple[str, ...]


def summary_of(
    lot: LotMapping,
    found: LotDiagnostics,
    limits: CellLimits,
    *,
    atlas_sha256: str,
    where: tuple[str, ...] = (),
) -> MappingSummary:
    """Return the summary of one lot.

    Parameters
    ----------
    lot, found : LotMapping, LotDiagnostics
        The lot, and how far it may be trusted.
    limits : CellLimits
        That it was held to.
    atlas_sha256 : str
        Of the atlas's exact bytes.
    where : tuple of str
        The filters, as ``column=value``.

    Raises
    ------
    TypeError, ValueError
        A value is not of its annotated kind or breaks its rule: a fault of this house, not of the file.
    """
    removed, quality = lot.removed, lot.medians

    def share(cells: int) -> float | None:
        return cells / lot.cells_after_qc if lot.cells_after_qc else None

    columns = (
        lot.counts.tolist(),
        _nullable(found.composition.low),
        _nullable(found.composition.high),
        _nullable(np.clip(found.em_shares, 0.0, 1.0)),
        _nullable(found.shifts),
    )
    summary = MappingSummary(
        atlas=lot.mapping.atlas_name,
        atlas_sha256=atlas_sha256,
        file=lot.mapping.path.name,
        matrix=lot.mapping.matrix_name,
        where=where,
        cells=CellsSummary(
            in_file=lot.mapping.n_cells_in_file,
            of_lot=lot.cells,
            after_qc=lot.cells_after_qc,
            removed=RemovedSummary(
                no_counts=removed.no_counts,
                few_counts=removed.few_counts,
                few_genes=removed.few_genes,
                high_mitochondrial_share=removed.high_mitochondrial_share,
            ),
        ),
        clusters=tuple(
            ClusterShare(cluster=name, cells=cells, share=share(cells), low=low, high=high, em_share=em, shift=shift)
            for name, cells, low, high, em, shift in zip(lot.clusters, *columns, strict=True)
        ),
        unassigned=ClusterShare(cluster=UNASSIGNED_NAME, cells=lot.unassigned, share=share(lot.unassigned)),
        quality=QualitySummary(
            median_counts=quality.counts,
            median_genes=quality.genes,
            median_mitochondrial_share=quality.mitochondrial_share,
            gene_coverage=lot.gene_coverage,
        ),
        trust=TrustSummary(
            interval_confidence=found.composition.confidence,
            unassigned_expected=found.excess.expected_share,
            unassigned_p_value=found.excess.p_value,
            em_gap=found.em_gap,
            cells_diagnosed=found.cells,
            warnings=tuple(WarningSummary(code=each.code.value, sentence=each.sentence) for each in found.warnings),
        ),
        limits=PlainLimits(
            minimum_cells_per_lot=limits.minimum_cells_per_lot,
            minimum_counts_per_cell=limits.minimum_counts_per_cell,
            minimum_genes_per_cell=limits.minimum_genes_per_cell,
            maximum_mitochondrial_share=limits.maximum_mitochondrial_share,
            minimum_gene_coverage=limits.minimum_gene_coverage,
        ),
        withheld=tuple(reason.value for reason in lot.withheld(limits)),
    )
    return summary.checked()


def _nullable(values: NDArray[np.float64]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]
