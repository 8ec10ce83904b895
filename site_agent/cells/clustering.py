"""Unsupervised clusters of a pooled reference, as the model study made them, but reproducible.

Rules.
1. Equal weight of lots: no lot gives more cells than the smallest (or than ``cells_per_lot``).
2. The field's usual path: log counts, variable genes over lots, scaling, principal components, neighbours, Leiden
   (scanpy and igraph).
3. Leiden depends on its start. Of several converged starts the partition of the highest modularity is taken, and each
   cluster carries how well the other starts agree with it (mean best Jaccard index, 1 is perfect).
4. Clusters are numbered from the largest, with leading zeros, so that the order of names is the order of sizes.
"""

import random
from dataclasses import dataclass
from typing import Any, Final

import igraph
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from shared.atlas.features import Counts
from shared.errors import DesignError

IntArray = NDArray[np.int64]

_STARTS: Final = 10
_ITERATIONS_AT_ONCE: Final = 5
_ROUNDS: Final = 20  # igraph's own "until converged" can fail to end when started from a partition
_NEIGHBOURS: Final = 15
_COMPONENTS: Final = 30
_GENES: Final = 2_000
_FEWEST_CELLS_PER_LOT: Final = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class Clustering:
    """The chosen cells of a reference and their clusters."""

    cells: IntArray  # (n,) rows of the reference, rising
    labels: tuple[str, ...]  # (n,)
    stability: tuple[float, ...]  # (n_clusters,) in the order of the clusters' names
    modularity: float
    cells_per_lot: int


def equal_cells_per_lot(lots: NDArray[np.str_], *, cells_per_lot: int | None, seed: int) -> tuple[IntArray, int]:
    """Return rows with at most equally many cells of each lot, and that limit.

    Without ``cells_per_lot`` the limit is the size of the smallest lot, but at least 500: a tiny lot shall not throw
    away the others' cells.
    """
    names, sizes = np.unique(lots, return_counts=True)
    limit = cells_per_lot if cells_per_lot is not None else max(int(sizes.min()), _FEWEST_CELLS_PER_LOT)
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(lots == name))[:limit] for name in names]
    return np.sort(np.concatenate(rows)).astype(np.int64), limit


def cluster_cells(
    counts: Counts, lots: NDArray[np.str_], *, resolution: float, seed: int, cells_per_lot: int | None = None
) -> Clustering:
    """Return Leiden clusters of the pooled cells.

    Parameters
    ----------
    counts : CSR (n_cells, n_genes)
    lots : (n_cells,) str
    resolution : float
        Higher gives more clusters.

    Raises
    ------
    DesignError
        The cells fall into one cluster only.
    """
    rows, limit = equal_cells_per_lot(lots, cells_per_lot=cells_per_lot, seed=seed)
    graph, weights = _neighbour_graph(counts[rows], lots[rows], seed)
    partitions = [_leiden(graph, weights, resolution, seed=seed * _STARTS + start) for start in range(_STARTS)]
    scores = [graph.modularity(list(found), weights=weights, resolution=resolution) for found in partitions]
    best = int(np.argmax(scores))
    sizes = np.bincount(partitions[best])
    if len(sizes) < 2:  # noqa: PLR2004 - a composition has two parts
        raise DesignError(
            "too-few-clusters",
            f"clustering: at resolution {resolution:g} all cells fall into one cluster",
            hint="raise the resolution, or give labels",
        )
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    labels = rank[partitions[best]]
    others = [found for start, found in enumerate(partitions) if start != best]
    width = len(str(len(sizes) - 1))
    return Clustering(
        cells=rows,
        labels=tuple(f"{label:0{width}d}" for label in labels),
        stability=tuple(
            float(np.mean([_best_jaccard(labels == c, found) for found in others])) for c in range(len(sizes))
        ),
        modularity=float(scores[best]),
        cells_per_lot=limit,
    )


def _neighbour_graph(counts: Counts, lots: NDArray[np.str_], seed: int) -> tuple[Any, list[float]]:
    """Return scanpy's neighbour graph as igraph's, with the weights of its edges."""
    import anndata  # noqa: PLC0415 - seconds to load, for building only
    import scanpy  # noqa: PLC0415 - the same

    cells = anndata.AnnData(sp.csr_matrix(counts, dtype=np.float32))
    cells.obs["lot"] = lots.astype(str)
    cells.obs["lot"] = cells.obs["lot"].astype("category")
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    cells = cells[:, np.asarray(cells.X.sum(axis=0)).ravel() > 0].copy()
    scanpy.pp.highly_variable_genes(cells, n_top_genes=min(_GENES, cells.n_vars), batch_key="lot")
    cells = cells[:, cells.var["highly_variable"].to_numpy()].copy()
    cells.X = cells.X.toarray()
    scanpy.pp.scale(cells, max_value=10)
    components = min(_COMPONENTS, cells.n_vars - 1, cells.n_obs - 1)
    scanpy.pp.pca(cells, n_comps=components, random_state=seed)
    scanpy.pp.neighbors(cells, n_neighbors=min(_NEIGHBOURS, cells.n_obs - 1), random_state=seed)
    upper = sp.triu(cells.obsp["connectivities"], k=1).tocoo()
    graph = igraph.Graph(n=cells.n_obs, edges=np.column_stack([upper.row, upper.col]).tolist())
    return graph, upper.data.astype(float).tolist()


def _leiden(graph: Any, weights: list[float], resolution: float, *, seed: int) -> IntArray:  # noqa: ANN401 - igraph ships no types
    """Return one converged partition."""
    igraph.set_random_number_generator(random.Random(seed))  # noqa: S311 - a reproducible start, no secret
    try:
        membership: list[int] | None = None
        for _ in range(_ROUNDS):
            found = graph.community_leiden(
                objective_function="modularity",
                weights=weights,
                resolution=resolution,
                n_iterations=_ITERATIONS_AT_ONCE,
                initial_membership=membership,
            ).membership
            if membership is not None and found == membership:
                break
            membership = found
        return np.unique(np.asarray(membership), return_inverse=True)[1].astype(np.int64)
    finally:
        igraph.set_random_number_generator(random)


def _best_jaccard(inside: NDArray[np.bool_], partition: IntArray) -> float:
    """Return the Jaccard index of a cluster with the most similar cluster of another partition."""
    common = np.bincount(partition[inside], minlength=int(partition.max()) + 1)
    union = inside.sum() + np.bincount(partition) - common
    return float((common / union).max())
