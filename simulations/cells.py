r"""Cells of a simulated lot: counts level to gamma-Poisson counts of genes.

A cell c of cluster k, of lot l made at site s, has for gene g

.. math::
    \lambda_{cg} = L_c\, \frac{\exp(a_{kg} + b_{sg} + e_{lg} + h_c\, 1[g \in \text{MT}])}{\sum_{g'} \exp(\dots)}\,
    \gamma_{cg}, \qquad X_{cg} \sim \text{Poisson}(\lambda_{cg})

with library size :math:`\ln L_c \sim N(\ln 1800 + \text{depth}_s, .35^2)`, the cluster's programme a, a batch effect
of the site :math:`b_{sg} \sim N(0, .10^2)` and of the lot :math:`e_{lg} \sim N(0, .05^2)`, a cell's own mitochondrial
content :math:`h_c \sim N(0, .35^2)`, and :math:`\gamma_{cg} \sim \text{Gamma}(4)/4`. Unassigned cells are of a state
that no cluster holds. In a tissue whose marker is silent, LRRC75A is shifted by the tissue's ``marker_log_ratio`` in
every cell.

A lot's cells depend on the study's seed and on the lot alone: neither on the order of drawing nor on the other lots.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from simulations.gene_panel import GenePanel, gene_panel
from simulations.truth import Model, SimulatedStudy

FloatArray = NDArray[np.float64]
_SITE_STREAM = 0
_LOT_STREAM = 1
_SMALL_MEAN = 12.0


@dataclass(frozen=True, kw_only=True)
class CellModel:
    """The parameters of the cells; standard deviations are on the scale of natural logarithms."""

    n_genes: int = 1_200
    library_median: float = 1_800.0
    library_sd: float = 0.35
    site_depth_sd: float = 0.15
    site_batch_sd: float = 0.10
    lot_batch_sd: float = 0.05
    mitochondrial_sd: float = 0.35
    gamma_shape: float = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LotOfCells:
    """All that is needed to draw the cells of one lot, whenever and wherever."""

    lot: str
    site: str
    clusters: tuple[str, ...]
    cells_per_state: tuple[int, ...]  # (n_clusters + 1,), the unassigned last
    driver_clusters: tuple[int, ...]
    marker_log_ratio: float
    site_seed: np.random.SeedSequence
    lot_seed: np.random.SeedSequence
    cell_model: CellModel


def lots_of_cells(
    study: SimulatedStudy, model: Model, *, seed: int | Sequence[int], cell_model: CellModel | None = None
) -> tuple[LotOfCells, ...]:
    """Return one entry a lot of the study, in its order; nothing is drawn yet.

    Parameters
    ----------
    study : SimulatedStudy
        The counts level.
    model : Model
        What the study was drawn from; says which tissue's marker is silent.
    seed : int or sequence of int
        Of the cells; the study's own seed may serve.
    cell_model : CellModel, optional
        The parameters of the cells.
    """
    site_number = {site: number for number, site in enumerate(sorted(set(study.sites)))}
    return tuple(
        LotOfCells(
            lot=study.lots[index],
            site=study.sites[index],
            clusters=study.clusters,
            cells_per_state=(*study.counts[index].tolist(), int(study.unassigned[index])),
            driver_clusters=study.driver_clusters,
            marker_log_ratio=model.tissue(study.tissues[index]).marker_log_ratio,
            site_seed=np.random.SeedSequence(seed, spawn_key=(_SITE_STREAM, site_number[study.sites[index]])),
            lot_seed=np.random.SeedSequence(seed, spawn_key=(_LOT_STREAM, index)),
            cell_model=cell_model or CellModel(),
        )
        for index in range(len(study.lots))
    )


def _poisson_csr(rng: np.random.Generator, means: NDArray[np.float32]) -> sparse.csr_matrix:
    """Draw Poisson counts with the given means, ``(n_cells, n_genes)``, straight into CSR.

    By inversion: a uniform is walked up the cumulative distribution, and only where it is not yet reached. Half of
    the entries are zero and settled by one comparison, which is several times faster than a draw for each. Large
    means, where exp(-mean) loses its digits, are drawn by numpy.
    """
    uniform = rng.random(size=means.shape, dtype=np.float32)
    probability = np.exp(-means)
    counted = uniform > probability
    rows_end = np.concatenate([[0], np.cumsum(counted.sum(axis=1))])
    where = np.flatnonzero(counted)
    mean, left = means.ravel()[where], uniform.ravel()[where] - probability.ravel()[where]
    probability = probability.ravel()[where]
    counts = np.ones(len(where), dtype=np.int32)

    large = mean > _SMALL_MEAN
    # Zero is excluded already; at such means it has a probability below 1e-5.
    counts[large] = np.maximum(rng.poisson(mean[large].astype(np.float64)), 1)
    open_entries = np.flatnonzero(~large)
    mean, left, probability = mean[open_entries], left[open_entries], probability[open_entries]
    step = 0
    while len(open_entries):
        step += 1
        probability = probability * mean / np.float32(step)
        left = left - probability
        # A term that no longer counts in float32 ends the walk: the tail beyond it is below the uniform's resolution.
        going_on = (left > 0) & ((probability > np.float32(1e-9)) | (mean > step))
        open_entries = open_entries[going_on]
        mean, left, probability = mean[going_on], left[going_on], probability[going_on]
        counts[open_entries] = step + 1
    columns = (where % means.shape[1]).astype(np.int32)
    return sparse.csr_matrix((counts, columns, rows_end.astype(np.int32)), shape=means.shape)


def _draw(lot: LotOfCells, panel: GenePanel) -> tuple[sparse.csr_matrix, NDArray[np.int64]]:
    parameters = lot.cell_model
    site_rng, rng = np.random.default_rng(lot.site_seed), np.random.default_rng(lot.lot_seed)
    depth = parameters.site_depth_sd * site_rng.standard_normal()
    batch = parameters.site_batch_sd * site_rng.standard_normal(parameters.n_genes)
    batch += parameters.lot_batch_sd * rng.standard_normal(parameters.n_genes)
    batch[panel.marker_index] += lot.marker_log_ratio

    states = np.repeat(np.arange(len(lot.cells_per_state)), lot.cells_per_state)
    rng.shuffle(states)
    n_cells = len(states)
    profiles = np.exp(panel.log_profiles + batch)
    profiles /= profiles.sum(axis=1, keepdims=True)
    library = np.exp(np.log(parameters.library_median) + depth + parameters.library_sd * rng.standard_normal(n_cells))
    mitochondrial = np.exp(parameters.mitochondrial_sd * rng.standard_normal(n_cells))
    share = profiles[:, panel.mitochondrial].sum(axis=1)[states]
    scale = library / (1 + share * (mitochondrial - 1))

    means = profiles.astype(np.float32)[states]
    means *= scale.astype(np.float32)[:, np.newaxis]
    means[:, panel.mitochondrial] *= mitochondrial.astype(np.float32)[:, np.newaxis]
    gamma = rng.standard_gamma(parameters.gamma_shape, size=means.shape, dtype=np.float32)
    means *= gamma / np.float32(parameters.gamma_shape)
    return _poisson_csr(rng, means), states


def simulated_anndata(lot: LotOfCells, *, labels: bool = False) -> anndata.AnnData:
    """Draw the cells of one lot, in random order.

    Parameters
    ----------
    lot : LotOfCells
        Which lot.
    labels : bool
        Whether ``obs['label']`` tells each cell's cluster ("unassigned" for the others): the owner's labels of an
        atlas.

    Returns
    -------
    anndata.AnnData
        ``X`` is CSR int32, ``(n_cells, n_genes)``; ``var`` is indexed by symbol and holds ``gene_ids``; ``obs`` holds
        ``lot``.
    """
    panel = gene_panel(
        n_clusters=len(lot.clusters), driver_clusters=lot.driver_clusters, n_genes=lot.cell_model.n_genes
    )
    counts, states = _draw(lot, panel)
    names = [f"{lot.lot}-cell-{number:05d}" for number in range(1, len(states) + 1)]
    observations = pd.DataFrame({"lot": pd.Categorical([lot.lot] * len(states))}, index=names)
    if labels:
        categories = np.array([*lot.clusters, "unassigned"])
        observations["label"] = pd.Categorical(categories[states], categories=categories)
    variables = pd.DataFrame({"gene_ids": list(panel.identifiers)}, index=list(panel.symbols))
    return anndata.AnnData(X=counts, obs=observations, var=variables)


def cells_of_lots(lots: Sequence[LotOfCells], *, labels: bool = False) -> anndata.AnnData:
    """Draw several lots into one object, as the owner of a reference holds them."""
    return anndata.concat([simulated_anndata(lot, labels=labels) for lot in lots], merge="same")
