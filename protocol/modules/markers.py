"""Markers without cells: what a study asks for, and what of it leaves a site (SPEC 8.2).

Per lot, cluster and allowed gene a site sends moments that can be merged, never a cell. A moment that rests on a few
expressing cells would give these cells' values back, so it does not leave: of such a gene only that leaves.
"""

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from protocol.identifiers import Label
from protocol.message import Message

_Cells = Annotated[int, Field(ge=0, le=10**9)]
_Position = Annotated[int, Field(ge=0, le=499)]  # in MarkersPlan.genes

MOST_MOMENTS: Final = 3_600
"""Genes x clusters that a study may ask for: at their widest a report's moments then stay below its size limit."""


class MarkerPredictor(Message):
    """A share of cells that may follow potency: cells whose log1p(1e4 x / library size) is at least ``threshold``.

    Of the cells of ``cluster``, or, where that is null, of all the lot's cells after QC.
    """

    gene: Label
    cluster: Label | None = None
    threshold: Annotated[float, Field(gt=0, le=9)]

    @property
    def name(self) -> str:
        """How people name it."""
        return f"{self.gene} >= {self.threshold:g} in {self.cluster or 'the lot'}"

    @property
    def cells_text(self) -> str:
        """What the share is of, in words."""
        return f"{self.gene}-high cells in {self.cluster or 'the lot'}"


class MarkersPlan(Message):
    """Which genes, from how many cells on, and which shares of marker-high cells are tested against potency.

    ``genes`` is the allow-list: of no other gene anything leaves. A lot's cluster of fewer than ``minimum_cells`` cells
    sends nothing.
    """

    genes: Annotated[tuple[Label, ...], Field(min_length=1, max_length=500)]
    minimum_cells: Annotated[int, Field(ge=20, le=10**6)] = 20
    predictors: Annotated[tuple[MarkerPredictor, ...], Field(max_length=32)] = ()

    @model_validator(mode="after")
    def _genes_are_distinct(self) -> Self:
        if len(set(self.genes)) != len(self.genes):
            raise ValueError("genes: expected distinct names, found one twice")
        unknown = sorted({each.gene for each in self.predictors} - set(self.genes))
        if unknown:
            raise ValueError(f"predictors: expected genes of the allow-list, found {', '.join(unknown)}")
        # Two thresholds, or a cluster beside the whole lot, would give a small count back as their difference.
        whole = {each.gene for each in self.predictors if each.cluster is None}
        places = [(each.gene, each.cluster) for each in self.predictors]
        if len(set(places)) != len(places) or any(gene in whole and cluster for gene, cluster in places):
            raise ValueError("predictors: expected one threshold a gene and cluster, and the whole lot by itself")
        return self

    def misfit(self, clusters: tuple[str, ...]) -> str | None:
        """Return what does not fit an atlas's clusters, or None."""
        unknown = sorted({each.cluster for each in self.predictors if each.cluster} - set(clusters))
        if unknown:
            return f"modules.markers.predictors: not in the atlas: {', '.join(unknown)}"
        if len(self.genes) * len(clusters) > MOST_MOMENTS:
            return (
                f"modules.markers.genes: expected at most {MOST_MOMENTS // len(clusters)} genes at {len(clusters)} "
                f"clusters, or a report could not hold their moments; found {len(self.genes)}"
            )
        return None


class ClusterMoments(Message):
    """Moments of one cluster of one lot over the plan's genes, each array in the order of ``MarkersPlan.genes``.

    Of log1p(1e4 x / library size): ``mean``, and ``m2`` the sum of squares centred on it; ``sum_expm1`` is the sum of
    1e4 x / library size; ``nonzero`` counts cells. All three floats have 9 significant digits. A gene that the lot's
    file lacks is null in all four. So is a gene that only few cells express, and ``few`` holds its position. Where only
    few cells do not express a gene, ``nonzero`` alone is null.
    """

    cluster: Annotated[int, Field(ge=0, le=255)]  # position in StudyPlan.atlas.clusters
    cells: _Cells
    mean: tuple[float | None, ...]
    m2: tuple[float | None, ...]
    sum_expm1: tuple[float | None, ...]
    nonzero: tuple[_Cells | None, ...]
    few: tuple[_Position, ...] = ()


class HighCells(Message):
    """How many cells are marker-high, between ``low`` and ``high``: equal where nothing is hidden."""

    gene: Label
    cluster: Annotated[int, Field(ge=0, le=255)] | None
    threshold: Annotated[float, Field(gt=0, le=9)]
    low: _Cells
    high: _Cells

    @model_validator(mode="after")
    def _is_an_interval(self) -> Self:
        if self.low > self.high:
            raise ValueError("expected low <= high")
        return self


class LotMarkers(Message):
    """The moments of every cluster of a lot that may send them, ascending; and the plan's predictors, in its order."""

    clusters: tuple[ClusterMoments, ...]
    high_cells: tuple[HighCells, ...] = ()
