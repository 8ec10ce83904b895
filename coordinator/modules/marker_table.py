"""The table of moments from verified reports: what stands where a site hid a gene that few cells express."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from coordinator.study_data import FloatArray, MarkerTable
from protocol.modules.markers import ClusterMoments
from protocol.plan import StudyPlan
from protocol.report import LotReport
from shared.statistics.markers import few_cells

FEWEST_EXPRESSING: Final = 10
"""A site hides moments that rest on fewer expressing cells than this, or than its own threshold (SPEC 8.2)."""

_NOTHING: Final = (0, 10**9)


def marker_table(plan: StudyPlan, reports: Sequence[LotReport]) -> MarkerTable | None:
    """Return the moments of the reports, one row each; None where the plan does not ask for markers."""
    asked = plan.modules.markers
    if asked is None:
        return None
    genes, names = asked.genes, plan.atlas.clusters
    shape = (len(reports), len(names), len(genes))
    cells = np.zeros(shape[:2], dtype=np.int64)
    mean, m2, sum_expm1, nonzero = (np.full(shape, np.nan) for _ in range(4))
    few = np.zeros(shape, dtype=np.bool_)
    high = np.full((2, len(reports), len(asked.predictors)), -1, dtype=np.int64)
    for row, report in enumerate(reports):
        if report.markers is None:
            continue
        threshold = max(FEWEST_EXPRESSING, report.disclosure.small_count_threshold)
        for sent in report.markers.clusters:
            if not sent.cells:
                continue
            at = (row, sent.cluster)
            cells[at] = sent.cells
            mean[at], m2[at], sum_expm1[at] = (_floats(part) for part in (sent.mean, sent.m2, sent.sum_expm1))
            nonzero[at] = _nonzero(sent, threshold)
            hidden = list(sent.few)
            few[row, sent.cluster, hidden] = True
            stand_in = few_cells(np.array([float(sent.cells)]), threshold, report.quality.median_counts or 0.0)
            for part, value in zip((mean, m2, sum_expm1), stand_in, strict=True):
                part[row, sent.cluster, hidden] = value[0]
            nonzero[row, sent.cluster, hidden] = threshold / 2
        for position, each in enumerate(report.markers.high_cells):
            if (each.low, each.high) != _NOTHING:
                high[:, row, position] = each.low, each.high
    return MarkerTable(
        genes=genes,
        cells=cells,
        mean=mean,
        m2=m2,
        sum_expm1=sum_expm1,
        nonzero=nonzero,
        few=few,
        predictors=asked.predictors,
        high_clusters=tuple(None if each.cluster is None else names.index(each.cluster) for each in asked.predictors),
        high_low=high[0],
        high_high=high[1],
    )


def _floats(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _nonzero(sent: ClusterMoments, threshold: int) -> FloatArray:
    """Return the expressing cells; where only few do not express a gene, half the threshold less than all."""
    told = _floats([None if value is None else float(value) for value in sent.nonzero])
    nearly_all = np.isnan(told) & ~np.isnan(_floats(sent.mean))
    return np.where(nearly_all, sent.cells - threshold / 2, told)
