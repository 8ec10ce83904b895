"""Markers of each cluster from the lots' moments, and marker-high shares as predictors of potency.

Rules
-----
- Discovery lots of the plan's cohorts take part; no potency is read for markers. The unit is the donor: its lots'
  differences are averaged, every lot weighing the same.
- The rest of a lot is its other clusters that sent moments. A cluster that sent none is in neither.
- A gene that only few of a cluster's cells express stands there as half the threshold of cells with one molecule each,
  in a library of the lot's median size: what it is, give or take, and never as absent.
- Benjamini-Hochberg within the cluster over its genes. Marker-high shares are a family of their own in each endpoint:
  the same rank engine and max-T as the clusters' shares, over the lots in which every one of them is known.
"""

from collections.abc import Sequence
from math import isnan

import numpy as np

from coordinator.study_data import FloatArray, IntArray, MarkerTable, StudyData
from coordinator.units import units_of
from protocol.modules.markers import MarkersPlan
from protocol.modules.markers_results import ClusterMarkers, MarkerPredictorRow, MarkerRow, MarkersResults
from protocol.plan import AnalysisPlan, Endpoint
from shared.errors import DesignError
from shared.statistics.arrays import BoolArray
from shared.statistics.association import associate
from shared.statistics.markers import (
    log2_fold_change,
    log2_fold_change_of_means,
    lot_differences,
    paired_test,
    welch_t,
)
from shared.statistics.moments import Moments
from shared.statistics.multiplicity import q_values
from shared.statistics.streams import named_seed


def analyse_markers(
    data: StudyData,
    plan: MarkersPlan | None,
    analysis: AnalysisPlan,
    endpoints: Sequence[Endpoint],
    rows: Sequence[int],
    *,
    threads: int = 2,
) -> MarkersResults | None:
    """Return the markers of every cluster over the lots of ``rows``; None where the plan does not ask for them.

    Parameters
    ----------
    data
        All lots.
    plan, analysis, endpoints
        What is asked, the error rate, and the potencies for the predictors.
    rows
        The discovery's lots.
    """
    table = data.markers
    if plan is None or table is None:
        return None
    used = [row for row in rows if np.any(table.cells[row] > 0)]
    clusters = tuple(_of_cluster(data, table, cluster, used, analysis) for cluster in range(len(data.clusters)))
    return MarkersResults(
        n_lots=len(used),
        n_lots_without=len(rows) - len(used),
        genes=len(plan.genes),
        minimum_cells=plan.minimum_cells,
        clusters=tuple(each for each in clusters if each.n_lots),
        predictors=tuple(
            row for endpoint in endpoints for row in _predictors(data, plan, analysis, endpoint, rows, threads)
        ),
    )


def groups_of(table: MarkerTable, rows: Sequence[int]) -> tuple[Moments, IntArray, IntArray]:
    """Return the moments of the groups (a cluster of a lot each) that sent any, their lots and clusters, (K,)."""
    lots, clusters = np.nonzero(table.cells[list(rows)] > 0)
    where = (np.asarray(rows, dtype=np.int64)[lots], clusters)
    moments = Moments(
        cells=table.cells[where].astype(np.float64),
        mean=table.mean[where],
        m2=table.m2[where],
        sum_expm1=table.sum_expm1[where],
        nonzero=table.nonzero[where],
    )
    return moments, lots.astype(np.int64), clusters.astype(np.int64)


def _of_cluster(
    data: StudyData, table: MarkerTable, cluster: int, rows: Sequence[int], analysis: AnalysisPlan
) -> ClusterMarkers:
    moments, lots, clusters = groups_of(table, rows)
    inside = clusters == cluster
    # The rest of the same lots: a lot without the cluster would put its own batch into one side only.
    outside = ~inside & np.isin(lots, lots[inside])
    differences = lot_differences(moments, lots, clusters, cluster)
    units = _unit_means(differences, [data.donors[row] for row in rows])
    name = data.clusters[cluster]
    test = paired_test(units, confidence=analysis.confidence, entropy=named_seed(analysis.seed, "markers", name))
    one, other = moments.of(inside).merged(), moments.of(outside).merged()
    cell_t, change, of_means = welch_t(one, other), log2_fold_change(one, other), log2_fold_change_of_means(one, other)
    q = _q_values(test.p)
    hidden = table.few[np.asarray(rows, dtype=np.int64)[lots[inside]], cluster].sum(axis=0) if inside.any() else ()
    n_lots = (~np.isnan(differences)).sum(axis=0)
    result = [
        MarkerRow(
            gene=gene,
            n_lots=int(n_lots[g]) if len(differences) else 0,
            n_units=int(test.n[g]),
            difference=_number(test.difference[g]),
            ci_low=_number(test.low[g]),
            ci_high=_number(test.high[g]),
            t=_number(test.t[g]),
            p_value=_number(test.p[g]),
            p_sign_flip=_number(test.p_sign_flip[g]),
            q_value=_number(q[g]),
            significant=bool(q[g] <= analysis.alpha),
            mean=_number(one.mean[g]),
            mean_rest=_number(other.mean[g]),
            share=_number(one.share[g]),
            share_rest=_number(other.share[g]),
            cell_t=_number(cell_t[g]),
            log2_fold_change=_number(change[g]),
            log2_fold_change_of_means=_number(of_means[g]),
            hidden=int(hidden[g]) if len(hidden) else 0,
        )
        for g, gene in enumerate(table.genes)
    ]
    return ClusterMarkers(
        cluster=name,
        n_lots=int(inside.sum()),
        cells=int(moments.cells[inside].sum()),
        rows=tuple(sorted(result, key=_best_first)),
    )


def _best_first(row: MarkerRow) -> tuple[bool, float, str]:
    is_marker = row.significant and (row.difference or 0.0) > 0
    order = row.difference if is_marker else row.t
    return not is_marker, np.inf if order is None else -order, row.gene


def _unit_means(differences: FloatArray, donors: Sequence[str]) -> FloatArray:
    """Return the mean difference of each donor's lots, (n_donors, G); NaN where no lot of it knows the gene."""
    names = sorted(set(donors))
    member = np.array([names.index(donor) for donor in donors], dtype=np.int64)[: len(differences)]
    result = np.full((len(names), differences.shape[1]), np.nan)
    for unit in range(len(names)):
        values = differences[member == unit]
        known = ~np.isnan(values)
        n = known.sum(axis=0)
        result[unit] = np.divide(np.where(known, values, 0.0).sum(axis=0), n, out=np.full(len(n), np.nan), where=n > 0)
    return result


def _q_values(p: FloatArray) -> FloatArray:
    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    q[tested] = q_values(p[tested])
    return q


def _number(value: float) -> float | None:
    # An infinite t, of differences that are all equal, has no number in a message.
    return float(value) if np.isfinite(value) else None


def marker_shares(data: StudyData, table: MarkerTable) -> tuple[FloatArray, BoolArray]:
    """Return each lot's share of marker-high cells in percent of 1, (n_lots, P), and where it is known at all.

    A hidden number stands at the middle of its interval. Where the number of all cells is hidden, nothing is known.
    """
    shares = np.full(table.high_low.shape, np.nan)
    for position, cluster in enumerate(table.high_clusters):
        low = data.totals_low if cluster is None else data.counts_low[:, cluster]
        high = data.totals_high if cluster is None else data.counts_high[:, cluster]
        known = (table.high_low[:, position] >= 0) & (low == high) & (low > 0)
        middle = (table.high_low[:, position] + table.high_high[:, position]) / 2.0
        shares[known, position] = middle[known] / low[known]
    return shares, ~np.isnan(shares)


def _predictors(
    data: StudyData,
    plan: MarkersPlan,
    analysis: AnalysisPlan,
    endpoint: Endpoint,
    rows: Sequence[int],
    threads: int,
) -> list[MarkerPredictorRow]:
    if not plan.predictors or data.markers is None:
        return []
    shares, known = marker_shares(data, data.markers)
    complete = [row for row in rows if known[row].all()]
    units, _ = units_of(data, complete, endpoint, analysis.strata, ())
    x = np.array([shares[lots].mean(axis=0) for lots in units.lots]).reshape(len(units.lots), len(plan.predictors))
    empty = [
        MarkerPredictorRow(
            endpoint=endpoint.endpoint,
            gene=each.gene,
            cluster=each.cluster,
            threshold=each.threshold,
            n_lots=units.n_lots,
            rho=None,
            p_value=None,
            p_adjusted=None,
            ci_low=None,
            ci_high=None,
            significant=False,
        )
        for each in plan.predictors
    ]
    try:
        answer = associate(
            x,
            units.potency,
            units.strata,
            tail=analysis.alternative.value,
            alpha=analysis.alpha,
            confidence=analysis.confidence,
            draws=analysis.draws,
            entropy=named_seed(analysis.seed, endpoint.endpoint, "marker-high"),
            threads=threads,
        )
    except DesignError as error:
        return [row.model_copy(update={"reason_code": error.code}) for row in empty]
    return [
        empty[k].model_copy(
            update={
                "rho": _number(answer.rho[k]),
                "p_value": float(answer.p[k]),
                "p_adjusted": float(answer.p_adjusted[k]),
                "ci_low": _number(answer.low[k]),
                "ci_high": _number(answer.high[k]),
                "significant": bool(answer.p_adjusted[k] <= analysis.alpha) and not isnan(answer.rho[k]),
            }
        )
        for k in answer.order()
    ]
