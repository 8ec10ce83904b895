"""Moments of the plan's genes from all cells in one place: numpy on dense columns, nothing of the sites' own pass."""

from collections.abc import Sequence

import anndata
import numpy as np
from numpy.typing import NDArray

from coordinator.study_data import FloatArray, MarkerTable
from protocol.modules.markers import MarkersPlan
from shared.statistics.moments import TARGET_SUM
from site_agent.cells.gene_names import IDENTIFIER_COLUMNS


def pooled_markers(
    cells: anndata.AnnData,
    plan: MarkersPlan,
    states: NDArray[np.int64],
    owner: NDArray[np.int64],
    lots: Sequence[int],
    clusters: Sequence[str],
) -> MarkerTable:
    """Return the moments of the lots numbered ``lots``; ``states`` (n,) are clusters of kept cells, -1 for no cluster.

    Cells that QC removed have the state -2.
    """
    library = np.asarray(cells.X.sum(axis=1), dtype=np.float64).ravel()
    scaled = TARGET_SUM * _columns(cells, plan.genes) / np.maximum(library, 1.0)[:, None]
    logs = np.log1p(scaled)
    shape = (len(lots), len(clusters), len(plan.genes))
    mean, m2, sum_expm1, nonzero = (np.full(shape, np.nan) for _ in range(4))
    counted = np.zeros(shape[:2], dtype=np.int64)
    high = np.full((len(lots), len(plan.predictors)), -1, dtype=np.int64)
    for row, lot in enumerate(lots):
        for cluster in range(len(clusters)):
            of_cluster = (owner == lot) & (states == cluster)
            n = int(of_cluster.sum())
            if n < plan.minimum_cells:
                continue
            at, counted[row, cluster] = (row, cluster), n
            values = logs[of_cluster]
            mean[at], m2[at] = values.mean(axis=0), ((values - values.mean(axis=0)) ** 2).sum(axis=0)
            sum_expm1[at] = scaled[of_cluster].sum(axis=0)
            nonzero[at] = np.where(np.isnan(values[0]), np.nan, (values > 0).sum(axis=0))
        for position, asked in enumerate(plan.predictors):
            chosen = (owner == lot) & (states > -2)  # noqa: PLR2004 - kept by QC
            if asked.cluster is not None:
                chosen &= states == clusters.index(asked.cluster)
            values = logs[chosen, plan.genes.index(asked.gene)]
            high[row, position] = -1 if np.isnan(values).any() else int((values >= asked.threshold).sum())
    return MarkerTable(
        genes=plan.genes,
        cells=counted,
        mean=mean,
        m2=m2,
        sum_expm1=sum_expm1,
        nonzero=nonzero,
        few=np.zeros(shape, dtype=np.bool_),
        predictors=plan.predictors,
        high_clusters=tuple(None if each.cluster is None else clusters.index(each.cluster) for each in plan.predictors),
        high_low=high,
        high_high=high,
    )


def largest_marker_difference(pooled: MarkerTable, federated: MarkerTable, rows: Sequence[tuple[int, int]]) -> float:
    """Return how far moments that left are from the pooled ones, relative; ``rows`` pairs pooled and federated lots.

    What a site hid is not compared; a cluster that left and is not in the pooled table counts as 1.
    """
    largest = 0.0
    for mine, theirs in rows:
        sent = federated.cells[theirs] > 0
        if (pooled.cells[mine][sent] != federated.cells[theirs][sent]).any():
            return 1.0
        for one, other in (
            (pooled.mean, federated.mean),
            (pooled.m2, federated.m2),
            (pooled.sum_expm1, federated.sum_expm1),
        ):
            told = sent[:, None] & ~federated.few[theirs] & ~np.isnan(other[theirs])
            size = np.maximum(np.abs(one[mine][told]), 1e-12)
            largest = max(largest, float((np.abs(one[mine][told] - other[theirs][told]) / size).max(initial=0.0)))
    return largest


def _columns(cells: anndata.AnnData, genes: Sequence[str]) -> FloatArray:
    """Return the counts of the genes, by symbol or identifier, (n, G); NaN where the cells lack the gene."""
    names = {str(name): place for place, name in enumerate(cells.var_names)}
    for column in IDENTIFIER_COLUMNS:
        if column in cells.var:
            identifiers = cells.var[column].astype(str).str.partition(".")[0]
            names.update({name: place for place, name in enumerate(identifiers) if name not in names})
    found = [names.get(gene) for gene in genes]
    result = np.full((cells.n_obs, len(genes)), np.nan)
    present = [place for place in found if place is not None]
    dense = cells.X[:, present].toarray()
    result[:, [place is not None for place in found]] = dense
    return result
