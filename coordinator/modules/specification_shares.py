"""The share that a specification is about, in every lot: a cluster's, or that of the cells that a marker counts.

Rules: a suppressed count is an interval. A marker's share is of the cells of its cluster (or of the lot), whose number
must be known and at least the plan's least number of cells for markers: of fewer it says little. Without it a lot has
no share.
"""

from dataclasses import dataclass

import numpy as np

from coordinator.study_data import BoolArray, FloatArray, StudyData
from coordinator.units import Units
from protocol.modules.markers import MarkerPredictor


@dataclass(frozen=True, kw_only=True, eq=False)
class LotShares:
    """The share in every lot.

    Attributes
    ----------
    cluster : str or None
        Whose share it is; None for a marker's.
    marker : MarkerPredictor or None
        Whose cells are counted; None for a cluster's share.
    low, middle, high : (n_lots,) float
        The share where the count is lowest, in the middle, highest; NaN where not known.
    suppressed : (n_lots,) bool
        Where the count is hidden.
    column : int or None
        Of the cluster.
    """

    cluster: str | None
    marker: MarkerPredictor | None
    low: FloatArray
    middle: FloatArray
    high: FloatArray
    suppressed: BoolArray
    column: int | None

    @property
    def name(self) -> str:
        """What the share is of, in words."""
        return str(self.cluster) if self.marker is None else self.marker.cells_text

    @property
    def counted_text(self) -> str:
        """Which cells are counted among which, in words that follow a percentage."""
        if self.marker is None:
            return f"of a lot's cells in {self.cluster}"
        among = "" if self.marker.cluster is None else f" in {self.marker.cluster}"
        high = f"{self.marker.gene}-high cells (log1p of counts per 10,000 is {self.marker.threshold:g} or more)"
        return f"{high} among a lot's cells{among}"

    @property
    def known(self) -> BoolArray:
        """Where the share is known, (n_lots,)."""
        return ~np.isnan(self.middle)

    def of_units(self, units: Units) -> "UnitShares":
        """Return the shares of units, whose lots must all have one."""
        middle = units.parts[:, self.column] if self.column is not None else _means(self.middle, units)
        return UnitShares(
            low=_means(self.low, units),
            middle=middle,
            high=_means(self.high, units),
            suppressed_lots=int(self.suppressed[units.rows].sum()),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitShares:
    """The units' shares at the middle, and at the ends, of what suppression leaves open; each ``(n,)``."""

    low: FloatArray
    middle: FloatArray
    high: FloatArray
    suppressed_lots: int

    def readings(self, potency: FloatArray, *, rises: bool) -> tuple[FloatArray, ...]:
        """Return the readings that a threshold must stand: all at the middle, low, high, and the weakest."""
        if not self.suppressed_lots:
            return (self.middle,)
        potent = potency >= np.median(potency)
        weakest = np.where(potent == rises, self.low, self.high)
        return self.middle, self.low, self.high, weakest


def shares_of_cluster(data: StudyData, cluster: str) -> LotShares:
    """Return the share of a cluster among all cells after QC."""
    column = data.clusters.index(cluster)
    low, high = data.counts_low[:, column], data.counts_high[:, column]
    least = low / np.maximum(data.totals_high, 1)
    most = np.minimum(high / np.maximum(data.totals_low, 1), 1.0)
    return LotShares(
        cluster=cluster,
        marker=None,
        low=least,
        middle=(least + most) / 2.0,
        high=most,
        suppressed=np.not_equal(low, high),
        column=column,
    )


def shares_of_marker(data: StudyData, marker: MarkerPredictor, *, minimum_cells: int) -> LotShares:
    """Return the share of a predictor's marker-high cells; known nowhere where the study did not count them."""
    n = len(data.lots)
    low, high = np.full(n, np.nan), np.full(n, np.nan)
    if data.markers is not None and marker in data.markers.predictors:
        position = data.markers.predictors.index(marker)
        cluster = data.markers.high_clusters[position]
        least = data.totals_low if cluster is None else data.counts_low[:, cluster]
        most = data.totals_high if cluster is None else data.counts_high[:, cluster]
        bounds = (data.markers.high_low[:, position], data.markers.high_high[:, position])
        known = (bounds[0] >= 0) & (least == most) & (least >= minimum_cells)
        low[known] = bounds[0][known] / least[known]
        high[known] = np.minimum(bounds[1][known] / least[known], 1.0)
    return LotShares(
        cluster=None,
        marker=marker,
        low=low,
        middle=(low + high) / 2.0,
        high=high,
        suppressed=low < high,
        column=None,
    )


def _means(shares: FloatArray, units: Units) -> FloatArray:
    return np.array([shares[members].mean() for members in units.lots], dtype=np.float64)
