"""The results of a study: what ``results.json`` holds and what goes back to the sites.

It carries aggregates only. A value that is not defined is null, never a number. Associations stand best first (smallest
p, then largest |rho|, then the atlas's order) within each endpoint, endpoints in the plan's order.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from protocol.identifiers import Digest, EndpointSlug, Label, LotPseudonym, SiteSlug, Slug, StudySlug
from protocol.message import Message
from protocol.modules.attributes_results import AttributesResults
from protocol.modules.comparability_results import ComparabilityResults
from protocol.modules.markers_results import MarkersResults
from protocol.modules.potencies_results import PotenciesResults
from protocol.modules.specification_results import SpecificationResults
from protocol.plan import Alternative, Strata

_Rho = Annotated[float, Field(ge=-1.0000001, le=1.0000001)] | None
_P = Annotated[float, Field(gt=0, le=1)] | None


class VerdictCode(StrEnum):
    """The answer in one word, the same in every language."""

    FOUND = "found"
    NOT_FOUND = "not-found"
    REFUSED = "refused"


class NullMethod(StrEnum):
    """How the null distribution of the statistic was had."""

    EXACT = "exact"
    PERMUTATION = "permutation"
    UNDEFINED = "undefined"


class Verdict(Message):
    """What was and was not found, in plain words, for one endpoint."""

    endpoint: EndpointSlug
    code: VerdictCode
    clusters: tuple[Label, ...] = ()
    sentence: str
    reason_code: str | None = None  # the named reason of a refusal


class StudyCard(Message):
    """Which study, by what plan and atlas; hashes are null for tables analysed without a signed study."""

    study: StudySlug
    title: str
    question: str
    plan_sha256: Digest | None
    atlas_name: Label | None
    atlas_sha256: Digest | None
    alpha: float
    confidence: float
    alternative: Alternative
    strata: Strata
    multiplicity: str
    draws: int
    seed: int
    software: str


class EndpointCard(Message):
    """What was measured, in which unit, and on which scale it entered the analysis."""

    endpoint: EndpointSlug
    assay: Label
    unit: Label
    scale: str  # e.g. "ln relative potency" or "ln potency"


class ExcludedLot(Message):
    """A lot that was received and not used, with its reason."""

    lot: LotPseudonym | Label
    site: SiteSlug
    code: str
    reason: str


class LotCounts(Message):
    """How many lots, units of analysis (donors) and sites the discovery used."""

    n: int
    n_units: int
    sites: int
    strata: int
    n_validation: int = 0
    excluded: tuple[ExcludedLot, ...] = ()


class LeaveOneOut(Message):
    """Range of rho when one lot, or one site, is left out, and whether its sign ever turns."""

    low: _Rho
    high: _Rho
    sign_holds: bool


class Sensitivity(Message):
    """What the headline rho becomes under each other reasonable choice.

    ``p_after_lead_removal`` is adjusted over what is left of the family; it is computed where a second cluster passes
    the correction. ``rho_disattenuated`` is what rho might be without measurement error: never the headline.
    """

    leave_one_lot_out: LeaveOneOut | None = None
    leave_one_site_out: LeaveOneOut | None = None
    rho_clr: _Rho = None
    rho_after_lead_removal: _Rho = None
    p_after_lead_removal: _P = None
    heterogeneity_i2: float | None = None
    heterogeneity_q: float | None = None
    heterogeneity_p: _P = None
    reliability_share: float | None = None
    reliability_potency: float | None = None
    rho_disattenuated: float | None = None
    rho_low_under_suppression: _Rho = None
    rho_high_under_suppression: _Rho = None


class Association(Message):
    """One cluster's association of share with potency, by the plan's primary statistic."""

    endpoint: EndpointSlug
    cluster: Label
    n_lots: int
    rho: _Rho
    rho_pooled: _Rho
    p_value: _P
    p_adjusted: _P
    q_value: _P
    ci_low: _Rho
    ci_high: _Rho
    method: NullMethod  # of p_value
    method_adjusted: NullMethod = NullMethod.UNDEFINED  # of p_adjusted
    n_units: int | None = None  # units of analysis (donors)
    significant: bool  # adjusted p within alpha, and for all but the lead also once the lead is removed
    sensitivity: Sensitivity = Sensitivity()


class ValidationRow(Message):
    """One discovered cluster on the validation cohort, in one tissue (null: stratified over tissues)."""

    endpoint: EndpointSlug
    cluster: Label
    cohort: Slug
    tissue: Label | None
    n_lots: int
    eligible: bool
    eligibility_reason: str
    alternative: Alternative
    rho: _Rho
    p_value: _P
    ci_low: _Rho
    ci_high: _Rho
    holds: bool | None  # null where it was not or could not be tested
    reason_code: str | None = None


class Parity(Message):
    """How far the federated run differs from the pooled analysis of the same cells (simulated runs only)."""

    max_abs_count_difference: int
    max_abs_rho_difference: float
    same_ranking: bool
    max_relative_marker_difference: float | None = None  # of the moments that left; null: none was asked for
    threshold_difference: float | None = None  # of the specification; null: not asked for, or none on either side
    max_abs_arms_difference: float | None = None  # of the natural logarithms of the folds; null: none was asked for


class ResultSet(Message):
    """All results of a study."""

    schema_id: Literal["crosslot.results/1"] = Field(default="crosslot.results/1", alias="schema")
    study: StudyCard
    endpoints: tuple[EndpointCard, ...]
    lots: LotCounts
    verdicts: tuple[Verdict, ...]
    associations: tuple[Association, ...]
    validation: tuple[ValidationRow, ...] = ()
    warnings: tuple[str, ...] = ()
    markers: MarkersResults | None = None
    attributes: AttributesResults | None = None
    comparability: ComparabilityResults | None = None
    specification: SpecificationResults | None = None
    potencies: PotenciesResults | None = None
    parity: Parity | None = None
