"""The study plan: a signed document, no code. It fixes the question before the first report is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from protocol.cell_limits import DEFAULT_LIMITS
from protocol.identifiers import Digest, EndpointSlug, Label, Period, SiteSlug, Slug, StudySlug
from protocol.message import Message
from protocol.modules.asked import Modules


class Alternative(StrEnum):
    """The direction of a test; the same words as scipy."""

    TWO_SIDED = "two-sided"
    GREATER = "greater"
    LESS = "less"


class Strata(StrEnum):
    """What a permutation may not cross."""

    SITE_AND_TISSUE = "site-and-tissue"
    SITE = "site"
    TISSUE = "tissue"
    NONE = "none"


class CohortRole(StrEnum):
    """What a cohort is for. Validation tests only what discovery named."""

    DISCOVERY = "discovery"
    VALIDATION = "validation"


class Normalisation(StrEnum):
    """How replicates become one potency: relative to the run's reference standard, or as they are."""

    RUN_REFERENCE = "run-reference"
    NONE = "none"


class Profile(StrEnum):
    """A named set of disclosure thresholds (DISCLOSURE: what each buys)."""

    OPEN = "open"
    STANDARD = "standard"
    STRICT = "strict"


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What a profile sets unless the site or the study says otherwise.

    A count of 1 to ``small_count_threshold - 1`` is hidden; 0 hides nothing.
    """

    minimum_cells_per_lot: int
    small_count_threshold: int
    minimum_lots_per_site: int


PROFILE_THRESHOLDS: Final[Mapping[Profile, Thresholds]] = MappingProxyType(
    {
        Profile.OPEN: Thresholds(minimum_cells_per_lot=50, small_count_threshold=0, minimum_lots_per_site=1),
        Profile.STANDARD: Thresholds(minimum_cells_per_lot=500, small_count_threshold=5, minimum_lots_per_site=2),
        Profile.STRICT: Thresholds(minimum_cells_per_lot=500, small_count_threshold=10, minimum_lots_per_site=2),
    }
)
"""The thresholds of each profile (SPEC 5.1)."""


class AtlasReference(Message):
    """The atlas a study maps onto: its exact bytes by hash, its clusters in their order."""

    name: Label
    sha256: Digest
    clusters: Annotated[tuple[Label, ...], Field(min_length=2, max_length=256)]


class Endpoint(Message):
    """A potency endpoint: one assay, one unit, one family of tests.

    ``decimals`` is the assay's declared precision: potency leaves a site rounded to it.
    """

    endpoint: EndpointSlug
    assay: Label
    unit: Label
    normalisation: Normalisation = Normalisation.NONE
    decimals: Annotated[int, Field(ge=0, le=9)] = 4


class Cohort(Message):
    """A cohort, fixed before potency is read. ``tissues`` empty means any tissue."""

    cohort: Slug
    role: CohortRole
    tissues: tuple[Label, ...] = ()


class MarkerRule(Message):
    """A tissue speaks where it expresses a marker: decided from marker moments, before potency is read.

    In the discovered cluster's cells, or in those of all clusters. At least one of the two limits is given: of the mean
    of log1p(1e4 x / library size), and of the share of cells that express the gene.
    """

    gene: Label
    within: Literal["cluster", "lot"] = "cluster"
    minimum_mean: Annotated[float, Field(gt=0, le=9)] | None = None
    minimum_expressing: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.minimum_mean is None and self.minimum_expressing is None:
            raise ValueError("marker: expected minimum_mean, minimum_expressing, or both")
        return self


class ValidationPlan(Message):
    """How discovered clusters are tested again on the validation cohorts, one-sided in the discovered direction.

    Tissues stay apart in any case; ``strata`` says whether sites do (absent: as in discovery). A tissue is eligible for
    a cluster where the median share of the cluster over the tissue's lots is at least ``minimum_share``, and, where
    ``marker`` is given, its marker is expressed: this is decided from composition and moments alone, before potency is
    read, for a tissue without the functional cells can neither confirm nor refute what they do.
    """

    strata: Strata | None = None
    minimum_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    marker: MarkerRule | None = None


class AnalysisPlan(Message):
    """How the question is put: the family, the direction, the strata, the error rates, the seed."""

    clusters: tuple[Label, ...] = ()  # empty: all clusters of the atlas
    alternative: Alternative = Alternative.TWO_SIDED
    strata: Strata = Strata.SITE_AND_TISSUE
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    multiplicity: Literal["max-t"] = "max-t"
    draws: Annotated[int, Field(ge=99, le=1_000_000)] = 9_999
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    validation: ValidationPlan = ValidationPlan()


class QualityLimits(Message):
    """Which cells count, and when a lot is not reported at all."""

    minimum_cells_per_lot: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.minimum_cells_per_lot
    minimum_counts_per_cell: Annotated[int, Field(ge=0)] = DEFAULT_LIMITS.minimum_counts_per_cell
    minimum_genes_per_cell: Annotated[int, Field(ge=0)] = DEFAULT_LIMITS.minimum_genes_per_cell
    maximum_mitochondrial_share: Annotated[float, Field(gt=0, le=1)] = DEFAULT_LIMITS.maximum_mitochondrial_share
    minimum_gene_coverage: Annotated[float, Field(ge=0, le=1)] = DEFAULT_LIMITS.minimum_gene_coverage


class DisclosureRequest(Message):
    """What the study asks of its sites; a threshold that is not given is the profile's."""

    profile: Profile = Profile.STANDARD
    minimum_lots_per_site: Annotated[int, Field(ge=1)] = 2
    small_count_threshold: Annotated[int, Field(ge=0)] = 5

    @model_validator(mode="before")
    @classmethod
    def _thresholds_follow_the_profile(cls, value: Any) -> Any:  # noqa: ANN401 - a validator sees whatever came
        profile = value.get("profile") if isinstance(value, dict) else None
        if not isinstance(profile, str) or profile not in set(Profile):
            return value
        thresholds = PROFILE_THRESHOLDS[Profile(profile)]
        return {
            "minimum_lots_per_site": thresholds.minimum_lots_per_site,
            "small_count_threshold": thresholds.small_count_threshold,
            **value,
        }


class StudyPlan(Message):
    """What is asked of whom, with what, and how the answer will be computed (SPEC 3)."""

    schema_id: Literal["crosslot.study-plan/1"] = Field(default="crosslot.study-plan/1", alias="schema")
    study: StudySlug
    title: Annotated[str, Field(min_length=1, max_length=200)]
    question: Annotated[str, Field(min_length=1, max_length=1_000)]
    supersedes: Digest | None = None  # the plan that this one replaces, by the hash of its payload
    opens: Period
    atlas: AtlasReference
    sites: Annotated[tuple[SiteSlug, ...], Field(min_length=1, max_length=1_000)]
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=16)]
    cohorts: Annotated[tuple[Cohort, ...], Field(min_length=1, max_length=16)]
    analysis: AnalysisPlan
    quality: QualityLimits = QualityLimits()
    disclosure: DisclosureRequest = DisclosureRequest()
    modules: Modules = Modules()
    terms_sha256: Digest | None = None

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> Self:
        for what, names in (
            ("sites", self.sites),
            ("atlas.clusters", self.atlas.clusters),
            ("endpoints", tuple(endpoint.endpoint for endpoint in self.endpoints)),
            ("cohorts", tuple(cohort.cohort for cohort in self.cohorts)),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{what}: expected distinct names, found one twice")
        unknown = [name for name in self.analysis.clusters if name not in self.atlas.clusters]
        if unknown:
            raise ValueError(f"analysis.clusters: not in the atlas: {', '.join(unknown)}")
        rule, markers = self.analysis.validation.marker, self.modules.markers
        if rule is not None and (markers is None or rule.gene not in markers.genes):
            raise ValueError(f"analysis.validation.marker: expected a gene of modules.markers, found {rule.gene}")
        if markers is not None and (misfit := markers.misfit(self.atlas.clusters)):
            raise ValueError(misfit)
        asked = (self.modules.comparability, self.modules.specification)
        unknown = [each.endpoint for each in asked if each and all(each.endpoint != e.endpoint for e in self.endpoints)]
        if unknown:
            raise ValueError(f"modules: not an endpoint of the plan: {', '.join(unknown)}")
        specification, predictors = self.modules.specification, () if markers is None else markers.predictors
        if specification is not None and (misfit := specification.misfit(self.atlas.clusters, predictors)):
            raise ValueError(misfit)
        if not any(cohort.role is CohortRole.DISCOVERY for cohort in self.cohorts):
            raise ValueError("cohorts: expected at least one with role discovery")
        return self
