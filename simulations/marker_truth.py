r"""Moments of simulated lots without their cells: expression whose markers, and whose noise between lots, are known.

A cell of lot l and cluster k has for gene g, as in ``simulations.cells``, a gamma-Poisson count whose mean is its
library times

.. math::
    r_{lkg} \propto \exp(a_{kg} + b_{sg} + e_{lg} + \tau\, z_{lkg}), \quad b_{sg} \sim N(0, .10^2), \quad
    e_{lg} \sim N(0, .05^2), \quad z_{lkg} \sim N(0, 1)

where a is the cluster's programme and tau what a lot changes in one cluster alone: 0 in ``simulations.cells``. Mean,
variance and share of expressing cells of log1p(1e4 x / library) depend on the rate alone; they are had once from many
cells at each of a grid of rates, and a lot's moments are drawn around them, normal and chi-squared.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from coordinator.study_data import FloatArray, MarkerTable
from protocol.modules.markers import MarkersPlan
from shared.statistics.moments import TARGET_SUM
from simulations.cells import CellModel
from simulations.gene_panel import gene_panel
from simulations.truth import Model, SimulatedStudy

_CELLS_AT_A_RATE = 40_000
_RATES = np.geomspace(1e-7, 0.3, 90)  # shares of a cell's counts
_GRID_SEED = 20_231_209
_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class MarkerModel:
    """Beside the model of cells: ``interaction_sd`` is tau; with ``silent``, no gene is a marker of any cluster."""

    interaction_sd: float = 0.0
    silent: bool = False
    cells: CellModel = field(default_factory=CellModel)


def marker_table_of(
    study: SimulatedStudy, model: Model, plan: MarkersPlan, rng: np.random.Generator, markers: MarkerModel | None = None
) -> MarkerTable:
    """Return the moments of every lot and cluster of a study, as its sites would send them under profile ``open``.

    Clusters of fewer cells than the plan's minimum send none. Nothing is hidden for being expressed by few cells.
    """
    parameters = markers or MarkerModel()
    panel = gene_panel(
        n_clusters=len(study.clusters), driver_clusters=study.driver_clusters, n_genes=parameters.cells.n_genes
    )
    columns = [panel.symbols.index(gene) for gene in plan.genes]
    profiles = panel.log_profiles[:-1]
    if parameters.silent:
        profiles = np.tile(profiles.mean(axis=0), (len(profiles), 1))
    n_lots, n_clusters, n_genes = len(study.lots), len(study.clusters), len(columns)
    sites = sorted(set(study.sites))
    batch = parameters.cells.site_batch_sd * rng.standard_normal((len(sites), n_genes))
    logs = np.log(_closed(profiles))[:, columns][None] + batch[[sites.index(site) for site in study.sites], None, :]
    logs = logs + parameters.cells.lot_batch_sd * rng.standard_normal((n_lots, 1, n_genes))
    logs = logs + parameters.interaction_sd * rng.standard_normal((n_lots, n_clusters, n_genes))
    marker = [place for place, column in enumerate(columns) if column == panel.marker_index]
    shifts = np.array([model.tissue(tissue).marker_log_ratio for tissue in study.tissues])
    logs[:, :, marker] += shifts[:, None, None]
    rates = np.log(_RATES)
    table = _moments_at_rates(parameters.cells)
    mean, variance, scaled, share = (np.interp(logs, rates, table[part]) for part in range(4))
    sent = study.counts >= max(plan.minimum_cells, _FEWEST)
    cells = np.where(sent, study.counts, 0)
    n = np.maximum(cells, 2)[:, :, None].astype(np.float64)
    missing = np.where(sent[:, :, None], 0.0, np.nan)
    drawn = np.maximum(mean + np.sqrt(variance / n) * rng.standard_normal(mean.shape), 0.0)
    return MarkerTable(
        genes=plan.genes,
        cells=cells.astype(np.int64),
        mean=drawn + missing,
        m2=variance * rng.chisquare(n - 1.0, mean.shape) + missing,
        sum_expm1=scaled * n + missing,
        nonzero=rng.binomial(n.astype(np.int64), share).astype(np.float64) + missing,
        few=np.zeros(mean.shape, dtype=np.bool_),
        predictors=plan.predictors,
        high_clusters=(None,) * len(plan.predictors),
        high_low=np.full((n_lots, len(plan.predictors)), -1, dtype=np.int64),
        high_high=np.full((n_lots, len(plan.predictors)), -1, dtype=np.int64),
    )


def true_markers(n_clusters: int, driver_clusters: tuple[int, ...], genes: tuple[str, ...]) -> dict[str, list[str]]:
    """Return for each cluster the genes that its programme raises above the others' median, by more than .2 in ln."""
    panel = gene_panel(n_clusters=n_clusters, driver_clusters=driver_clusters)
    columns = [panel.symbols.index(gene) for gene in genes]
    profiles = np.log(_closed(panel.log_profiles[:-1]))[:, columns]
    raised = profiles - np.median(profiles, axis=0) > 0.2  # noqa: PLR2004 - half of the weakest programme
    return {
        f"cluster {cluster}": [gene for gene, up in zip(genes, raised[cluster], strict=True) if up]
        for cluster in range(n_clusters)
    }


def _closed(log_profiles: FloatArray) -> FloatArray:
    shares = np.exp(log_profiles)
    closed: FloatArray = shares / shares.sum(axis=1, keepdims=True)
    return closed


@lru_cache(maxsize=4)
def _moments_at_rates(cells: CellModel) -> FloatArray:
    """Return mean, variance, mean count per 10,000 and share of expressing cells at each rate, ``(4, n_rates)``."""
    rng = np.random.default_rng(_GRID_SEED)
    library = np.exp(np.log(cells.library_median) + cells.library_sd * rng.standard_normal(_CELLS_AT_A_RATE))
    spread = rng.standard_gamma(cells.gamma_shape, _CELLS_AT_A_RATE) / cells.gamma_shape
    counts = rng.poisson(np.outer(_RATES, library * spread))
    # A cell's counted library: its own gene's part is small, the rest is Poisson around the library.
    total = np.maximum(rng.poisson(library), 1)
    scaled = TARGET_SUM * counts / np.maximum(total, counts)
    logs = np.log1p(scaled)
    return np.array([logs.mean(axis=1), logs.var(axis=1), scaled.mean(axis=1), (counts > 0).mean(axis=1)])
