"""Markers without cells: what a study asks for, and what of it leaves a site (SPEC 8.2).

Per lot, cluster and allowed gene a site sends moments that can be merged, never a cell.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from protocol.identifiers import Label
from protocol.message import Message

_Cells = Annotated[int, Field(ge=0, le=10**9)]


class MarkersPlan(Message):
    """Which genes, and from how many cells on.

    ``genes`` is the allow-list: of no other gene anything leaves. A lot's cluster of fewer than ``minimum_cells`` cells
    sends nothing.
    """

    genes: Annotated[tuple[Label, ...], Field(min_length=1, max_length=500)]
    minimum_cells: Annotated[int, Field(ge=20, le=10**6)] = 20

    @model_validator(mode="after")
    def _genes_are_distinct(self) -> Self:
        if len(set(self.genes)) != len(self.genes):
            raise ValueError("genes: expected distinct names, found one twice")
        return self


class ClusterMoments(Message):
    """Moments of one cluster of one lot over the plan's genes, each array in the order of ``MarkersPlan.genes``.

    Of log1p(1e4 x / library size): ``mean``, and ``m2`` the sum of squares centred on it; ``sum_expm1`` is the sum of
    1e4 x / library size; ``nonzero`` counts cells. A gene that the lot's file lacks is null in all four.
    """

    cluster: Annotated[int, Field(ge=0, le=255)]  # position in StudyPlan.atlas.clusters
    cells: _Cells
    mean: tuple[float | None, ...]
    m2: tuple[float | None, ...]
    sum_expm1: tuple[float | None, ...]
    nonzero: tuple[_Cells | None, ...]


class LotMarkers(Message):
    """The moments of every cluster of a lot that has enough cells; clusters in ascending order."""

    clusters: tuple[ClusterMoments, ...]
