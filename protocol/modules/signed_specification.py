"""The signed specification: what a site holds its new lots against, without asking anyone (SPEC 8.5).

It names the plan, the atlas and the results that it follows from, and the limits within which it speaks.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocol.identifiers import Digest, Instant, Label, StudySlug
from protocol.message import Message
from protocol.modules.specification_results import SpecificationOutcome, SpecificationResults
from protocol.plan import AtlasReference, QualityLimits


class Specification(Message):
    """A threshold of a share for release, with its basis; version 1 is the first of a study.

    The share is a cluster's, or that of marker-high cells: ``basis`` then holds gene, cluster and threshold.
    ``quality`` are the limits that the study held its lots to: a lot outside them cannot be judged. ``supersedes`` is
    the hash of the payload of the version before.
    """

    schema_id: Literal["crosslot.specification/1"] = Field(default="crosslot.specification/1", alias="schema")
    version: Annotated[int, Field(ge=1, le=9_999)]
    supersedes: Digest | None = None
    issued: Instant
    study: StudySlug
    title: Annotated[str, Field(min_length=1, max_length=200)]
    plan_sha256: Digest
    results_sha256: Digest
    atlas: AtlasReference
    assay: Label
    unit: Label
    scale: str
    quality: QualityLimits
    basis: SpecificationResults

    @model_validator(mode="after")
    def _the_basis_has_a_threshold(self) -> Self:
        basis = self.basis
        if basis.outcome is SpecificationOutcome.NONE or None in {basis.threshold, basis.side}:
            raise ValueError("basis: expected a threshold with its side, found none")
        if (basis.cluster is None) == (basis.marker is None):
            raise ValueError("basis: expected a cluster or a marker, found both or none")
        if basis.seen is None or basis.line is None:
            raise ValueError("basis: expected the range seen and the line, found none")
        cluster = basis.cluster if basis.marker is None else basis.marker.cluster
        if cluster is not None and cluster not in self.atlas.clusters:
            raise ValueError("basis: expected a cluster of the atlas, found another")
        if basis.envelope is not None:
            raise ValueError("basis.envelope: a specification holds no other")
        if (self.version == 1) != (self.supersedes is None):
            raise ValueError("supersedes: expected the version before from version 2 on, and none in version 1")
        return self
