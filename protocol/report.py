"""The lot report: all that ever leaves a site about a lot."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from protocol.identifiers import Digest, EndpointSlug, Label, LotPseudonym, Period, SiteSlug, Slug, StudySlug
from protocol.message import Message
from protocol.modules.attributes import AttributeValue
from protocol.modules.comparability import Arm
from protocol.modules.markers import LotMarkers
from protocol.plan import Profile

_Cells = Annotated[int, Field(ge=0, le=10**9)]
_Positive = Annotated[float, Field(gt=0)]
Epsilon = Annotated[float, Field(ge=0.001, le=10)]
"""What one report costs of a lot's budget: below the least noise drowns all, above the most it hides nothing."""


class Count(Message):
    """A number of cells, exact or suppressed to an interval (both ends included).

    On the wire an exact count is an integer and a suppressed one is ``[low, high]``.
    """

    low: _Cells
    high: _Cells

    @classmethod
    def exactly(cls, cells: int) -> Self:
        """Return the exact count ``cells``."""
        return cls(low=cells, high=cells)

    @property
    def is_exact(self) -> bool:
        """Whether nothing is hidden."""
        return self.low == self.high

    @model_validator(mode="before")
    @classmethod
    def _from_wire(cls, value: Any) -> Any:  # noqa: ANN401 - a validator sees whatever came
        if type(value) is int:
            return {"low": value, "high": value}
        if isinstance(value, list | tuple):
            if len(value) != 2 or not all(type(end) is int for end in value) or value[0] == value[1]:  # noqa: PLR2004
                raise ValueError("expected an integer, or [low, high] with low < high")
            return {"low": value[0], "high": value[1]}
        return value

    @model_validator(mode="after")
    def _is_an_interval(self) -> Self:
        if self.low > self.high:
            raise ValueError("expected low <= high")
        return self

    @model_serializer
    def _to_wire(self) -> int | list[int]:
        return self.low if self.is_exact else [self.low, self.high]


class PotencySeries(Message):
    """One run's replicates of one endpoint, with the reference standard's replicates of the same run."""

    endpoint: EndpointSlug
    assay: Label
    unit: Label
    run: Label
    replicates: Annotated[tuple[_Positive, ...], Field(min_length=1, max_length=24)]
    reference_replicates: Annotated[tuple[_Positive, ...], Field(max_length=24)] = ()


class LotQuality(Message):
    """Quality of the lot's cells, as medians over cells after QC; shares are in 0..1.

    Counts and genes are null under an atlas of morphology, whose features are neither; the coverage is of its features.
    """

    median_counts: Annotated[float, Field(ge=0)] | None
    median_genes: Annotated[float, Field(ge=0)] | None
    median_mitochondrial_share: Annotated[float, Field(ge=0, le=1)] | None
    gene_coverage: Annotated[float, Field(ge=0, le=1)]


class Software(Message):
    """Versions of what computed the report."""

    crosslot: Label
    mapper: Label


class CountNoise(Message):
    """Noise on the counts, drawn before anything of them was hidden or rounded (SPEC 5.13).

    Each count bears discrete Laplace noise of scale 2 / epsilon, and is 0 where that would make it negative.
    """

    mechanism: Literal["discrete-laplace"] = "discrete-laplace"
    epsilon: Epsilon


class Disclosure(Message):
    """The granularity that was asked for and the one that was returned."""

    requested: Profile
    applied: Profile
    small_count_threshold: Annotated[int, Field(ge=0)]
    policy_sha256: Digest
    noise: CountNoise | None = None


class LotReport(Message):
    """Composition and potency of one lot under a study's atlas (SPEC 4).

    ``counts`` follows the order of ``StudyPlan.atlas.clusters``. ``padding`` is spaces: it makes the size of the
    payload independent of the number of cells (SPEC 4.6).
    """

    schema_id: Literal["crosslot.lot-report/1"] = Field(default="crosslot.lot-report/1", alias="schema")
    study: StudySlug
    plan_sha256: Digest
    atlas_sha256: Digest
    site: SiteSlug
    lot: LotPseudonym
    donor: LotPseudonym
    version: Annotated[int, Field(ge=1, le=10_000)] = 1
    cohort: Slug
    tissue: Label
    product: Label
    passage: Annotated[int, Field(ge=0, le=1_000)] | None
    condition: Label
    period: Period | None = None
    cells_after_qc: Count
    counts: Annotated[tuple[Count, ...], Field(min_length=2, max_length=256)]
    unassigned: Count
    quality: LotQuality
    potency: Annotated[tuple[PotencySeries, ...], Field(min_length=1, max_length=64)]
    arm: Arm | None = None  # asked by the module comparability
    attributes: Annotated[tuple[AttributeValue, ...], Field(max_length=256)] = ()
    markers: LotMarkers | None = None
    software: Software
    disclosure: Disclosure
    padding: Annotated[str, Field(pattern=r"^ *$", max_length=262_144)] = ""
