"""Comparability after a change of process: what a study declares (SPEC 8.4). ICH Q5E asks the question."""

from enum import StrEnum
from math import log
from typing import Annotated

from pydantic import Field

from protocol.identifiers import EndpointSlug
from protocol.message import Message
from shared.comparability.findings import Criteria


class Arm(StrEnum):
    """On which side of the change a lot was made."""

    BEFORE = "before"
    AFTER = "after"


class ComparabilityPlan(Message):
    """Margins and rates, fixed before the first report is read.

    ``margin_fold`` is the fold of potency that counts as alike; without ``justification`` it is a placeholder and said
    to be one. ``part_margin`` is on the scale of centred log ratios; ``quality_range_sd`` is k of mean +- k SD, and
    ``quality_range_share`` the share of the lots after that must lie within. ``lot_sd`` is the SD between lots, of log
    potency, that the study is planned with; absent: that of the lots before. The last four are the limits beyond which
    the method is inadequate: the CV of replicates of one run, the fold by which the reference standard's level moved
    between the arms, the least gene coverage of a lot, and by how much the share of unassigned cells grew.
    """

    endpoint: EndpointSlug
    change: Annotated[str, Field(min_length=1, max_length=500)]
    margin_fold: Annotated[float, Field(gt=1, le=10)] = 1.5
    justification: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    part_margin: Annotated[float, Field(gt=0, le=5)] = log(2.0)
    quality_range_sd: Annotated[float, Field(gt=0, le=6)] = 3.0
    quality_range_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    minimum_power: Annotated[float, Field(gt=0, lt=1)] = 0.5
    lot_sd: Annotated[float, Field(gt=0, le=5)] | None = None
    maximum_replicate_cv: Annotated[float, Field(gt=0, le=2)] = 0.3
    maximum_reference_fold: Annotated[float, Field(gt=1, le=100)] = 2.0
    minimum_gene_coverage: Annotated[float, Field(ge=0, le=1)] = 0.7
    maximum_unassigned_excess: Annotated[float, Field(gt=0, le=1)] = 0.1

    @property
    def criteria(self) -> Criteria:
        """The same, as the comparison takes it."""
        return Criteria(**self.model_dump(exclude={"endpoint"}))
