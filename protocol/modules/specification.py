"""A specification for release: what a study declares (SPEC 8.5)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from protocol.identifiers import EndpointSlug, Label
from protocol.message import Message
from protocol.modules.markers import MarkerPredictor


class MarkerPlace(Message):
    """Which of the plan's marker predictors: a gene has one in a cluster, or one in the whole lot (null)."""

    gene: Label
    cluster: Label | None = None

    def names(self, predictor: MarkerPredictor) -> bool:
        """Return whether this is the one."""
        return (self.gene, self.cluster) == (predictor.gene, predictor.cluster)

    @property
    def text(self) -> str:
        """How people name it."""
        return f"{self.gene} in {self.cluster or 'the lot'}"


class SpecificationPlan(Message):
    """Which potency a released lot must reach, and with what certainty.

    ``limit`` is in potency as the endpoint is analysed (relative to the reference standard, or in the endpoint's unit).
    ``cluster`` absent means the lead of the discovery, where it was found; with ``marker`` it is the share of cells
    that the plan's marker predictor counts.
    """

    endpoint: EndpointSlug
    limit: Annotated[float, Field(gt=0)]
    cluster: Label | None = None
    marker: MarkerPlace | None = None
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95

    @model_validator(mode="after")
    def _asks_for_one_share(self) -> Self:
        if self.cluster is not None and self.marker is not None:
            raise ValueError("expected a cluster or a marker, found both")
        return self

    def misfit(self, clusters: tuple[str, ...], predictors: tuple[MarkerPredictor, ...]) -> str | None:
        """Return what does not fit an atlas's clusters and a plan's marker predictors, or None."""
        if self.cluster is not None and self.cluster not in clusters:
            return f"modules.specification.cluster: not in the atlas: {self.cluster}"
        if self.marker is not None and not any(self.marker.names(each) for each in predictors):
            known = ", ".join(each.name for each in predictors) or "none"
            return (
                f"modules.specification.marker: expected a predictor of modules.markers ({known}), found "
                f"{self.marker.text}"
            )
        return None
