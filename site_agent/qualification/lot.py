"""A new lot's cells mapped onto the specification's atlas: the facts that a specification asks for.

The same mapping, limits and diagnostics as in a study, and the same count of marker-high cells; nothing is written and
nothing leaves.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, norm

from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.modules.signed_specification import Specification
from shared.atlas.artefact import Atlas
from shared.atlas.proportions import Composition
from site_agent.cells.cell_source import CellSource
from site_agent.cells.diagnostics import WarningCode, diagnose
from site_agent.cells.lot_mapping import LotMapping, diagnosed_cells, lot_cells, summarise_lot
from site_agent.cells.lots import CellFilter
from site_agent.cells.mapping import Progress, map_source, thread_count
from site_agent.cells.marker_moments import marker_moments
from site_agent.cells.reading import open_cells
from site_agent.qualification.judgement import LotFacts

_BLOCK = 2**20


@dataclass(frozen=True, kw_only=True)
class LotFile:
    """Which cells are the lot's: a file, filters on its obs columns, and the layer of its counts."""

    path: Path
    where: Sequence[CellFilter] = ()
    layer: str | None = None


def facts_of(
    cells: LotFile,
    atlas: Atlas,
    specification: Specification,
    *,
    tissue: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> LotFacts:
    """Return what a lot's cells say to a specification.

    Parameters
    ----------
    cells : LotFile
        The lot.
    atlas : Atlas
        The one that the specification names.
    tissue : str, optional
        As the site says it.
    threads, progress : optional
        As ``map_source``.

    Raises
    ------
    InputError
        The file cannot be read or mapped.
    """
    with open_cells(cells.path, cells.layer) as source:
        source.require_distinct_cells()
        rows = source.rows_where([(each.column, each.value) for each in cells.where])
        owner = np.zeros(source.n_cells, dtype=np.int32) if rows is None else rows.astype(np.int32) - 1
        mapping = map_source(
            source,
            atlas,
            rows=rows,
            latent_rows=diagnosed_cells(owner, 1),
            threads=threads,
            progress=progress,
        )
        lot = summarise_lot(mapping, specification.quality)
        marker = specification.basis.marker
        counted = None if marker is None else _marker_high(source, atlas, marker, lot, threads)
    found = diagnose(atlas, lot)
    share = _share_of_cluster(lot, found.composition, specification) if counted is None else counted
    total = lot.cells_after_qc
    codes = {each.code for each in found.warnings}
    # The share of the whole lot's cells hangs on no cluster: how the clusters' shares are counted is then a doubt only.
    by_cluster = marker is None or marker.cluster is not None
    decisive = {WarningCode.SENSITIVE_SHARES, WarningCode.NO_INTERVALS} if by_cluster else {WarningCode.NO_INTERVALS}
    return LotFacts(
        cells=total,
        gene_coverage=lot.gene_coverage,
        share=share.value,
        share_low=share.low,
        share_high=share.high,
        interval_confidence=share.confidence,
        unassigned_share=lot.unassigned / total if total else 0.0,
        shares_are_sensitive=by_cluster and WarningCode.SENSITIVE_SHARES in codes,
        doubts=tuple(each.sentence for each in found.warnings if each.code not in decisive),
        tissue=tissue,
        has_gene=share.has_gene,
        cells_of_share=share.cells,
    )


@dataclass(frozen=True, kw_only=True)
class _Share:
    """A share and its interval; ``cells`` are those that it is of."""

    value: float
    low: float | None
    high: float | None
    cells: int
    confidence: float
    has_gene: bool = True


def _share_of_cluster(lot: LotMapping, found: Composition, specification: Specification) -> _Share:
    column, total = lot.clusters.index(str(specification.basis.cluster)), lot.cells_after_qc
    share = int(lot.counts[column]) / total if total else 0.0
    low, high = _interval(found, column, share, total)
    return _Share(value=share, low=low, high=high, cells=total, confidence=found.confidence)


def _marker_high(
    source: CellSource,
    atlas: Atlas,
    marker: MarkerPredictor,
    lot: LotMapping,
    threads: int | None,
    *,
    confidence: float = 0.9,
) -> _Share:
    """Return the share of the cells that a marker counts, as a study counts them, by a second pass over the file.

    Its interval is Wilson's: that of counting so many cells.
    """
    plan = MarkersPlan(genes=(marker.gene,), predictors=(marker,))
    found = marker_moments(source, atlas, plan, [lot_cells(lot)], threads=thread_count(threads))[0].high_cells[:, 0]
    column = None if marker.cluster is None else lot.clusters.index(marker.cluster)
    cells = lot.cells_after_qc if column is None else int(lot.counts[column])
    has_gene = bool((found >= 0).all())
    if not has_gene or not cells:
        return _Share(value=float("nan"), low=None, high=None, cells=cells, confidence=confidence, has_gene=has_gene)
    high = int(found.sum()) if column is None else int(found[column])
    interval = binomtest(high, cells).proportion_ci(confidence, method="wilson")
    return _Share(
        value=high / cells, low=float(interval.low), high=float(interval.high), cells=cells, confidence=confidence
    )


def _interval(found: Composition, column: int, share: float, total: int) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of a share for the whole lot: the error of mapping, and that of counting ``total`` cells.

    The two are independent, so their squares add. The composition's own interval holds the first only: it is about the
    cells that were mapped.
    """
    low, high = float(found.low[column]), float(found.high[column])
    if not total or not np.isfinite([low, high]).all():
        return None, None
    quantile = float(norm.ppf(0.5 + found.confidence / 2))
    half = hypot((high - low) / 2, quantile * sqrt(share * (1 - share) / total))
    return max(share - half, 0.0), min(share + half, 1.0)


def file_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a lot's file; None where it is a folder."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
