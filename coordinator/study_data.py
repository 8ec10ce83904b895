"""The table that an analysis works on: one row a lot, from verified reports or from plain tables."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.modules.comparability import Arm
from protocol.modules.markers import MarkerPredictor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class LotQualityTable:
    """Medians over each lot's cells after QC; NaN where not reported. All ``(n_lots,)``."""

    median_counts: FloatArray
    median_genes: FloatArray
    median_mitochondrial_share: FloatArray
    gene_coverage: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class PotencyReplicates:
    """The raw values behind one endpoint: one tuple a lot, each of (run, replicates, reference replicates)."""

    runs: tuple[tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeTable:
    """Lot-level attributes: NaN where a lot lacks one, and where it is ``below`` the limit of detection."""

    names: tuple[str, ...]
    values: FloatArray  # (n_lots, n_attributes)
    below: BoolArray  # (n_lots, n_attributes)


@dataclass(frozen=True, kw_only=True, eq=False)
class MarkerTable:
    """Moments of the plan's G genes by lot and cluster; ``cells`` is 0 where a cluster sent none.

    NaN where the lot's file lacks the gene. Where ``few``, too few cells express it to tell more, and the numbers are
    what stands for them. ``high_clusters`` says of which cluster each of the P ``predictors`` counts marker-high cells
    (None: of the lot), between ``high_low`` and ``high_high``, -1 where that is not known.
    """

    genes: tuple[str, ...]
    cells: IntArray  # (n_lots, n_clusters)
    mean: FloatArray  # (n_lots, n_clusters, G) of log1p(1e4 x / library size)
    m2: FloatArray  # (n_lots, n_clusters, G) sum of squares centred on the mean
    sum_expm1: FloatArray  # (n_lots, n_clusters, G)
    nonzero: FloatArray  # (n_lots, n_clusters, G) cells
    few: BoolArray  # (n_lots, n_clusters, G)
    predictors: tuple[MarkerPredictor, ...] = ()
    high_clusters: tuple[int | None, ...] = ()
    high_low: IntArray  # (n_lots, P)
    high_high: IntArray  # (n_lots, P)


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyData:
    """Lots by clusters, with potency. Lots are sorted by (site, lot): no order of arrival shows.

    ``unassigned`` is not a column of the counts; it is a part of its own in the total. Suppressed counts are
    intervals: ``counts_low`` <= true count <= ``counts_high`` (equal where exact).
    """

    lots: tuple[str, ...]
    sites: tuple[str, ...]
    donors: tuple[str, ...]
    tissues: tuple[str, ...]
    cohorts: tuple[str, ...]
    clusters: tuple[str, ...]
    counts_low: IntArray  # (n_lots, n_clusters)
    counts_high: IntArray  # (n_lots, n_clusters)
    unassigned_low: IntArray  # (n_lots,)
    unassigned_high: IntArray  # (n_lots,)
    totals_low: IntArray  # (n_lots,) all cells after QC, unassigned included
    totals_high: IntArray  # (n_lots,)
    potency: Mapping[str, PotencyReplicates]  # by endpoint
    quality: LotQualityTable | None = None
    attributes: AttributeTable | None = None
    arms: tuple[Arm | None, ...] | None = None  # of the module comparability
    markers: MarkerTable | None = None
    counted: bool = True  # false where only shares were known: what depends on the number of cells is not defined
    noise_epsilon: FloatArray | None = None  # (n_lots,) of the noise on a lot's counts; NaN: none. None: no lot has any
