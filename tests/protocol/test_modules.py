"""A study may ask for modules; a site answers only what its policy allows, and no report holds what was not asked."""

import pytest

from protocol.admission import check_report_fits
from protocol.codec import encode, sha256
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.attributes import AttributeKind, AttributePlan, AttributesPlan, AttributeValue
from protocol.modules.comparability import Arm, ComparabilityPlan
from protocol.modules.markers import ClusterMoments, LotMarkers, MarkersPlan
from protocol.modules.names import ModuleName
from protocol.modules.specification import SpecificationPlan
from protocol.plan import StudyPlan
from protocol.policy import SitePolicy, effective
from protocol.report import LotReport

MARKERS = MarkersPlan(genes=("LRRC75A", "VEGFA"))
ATTRIBUTES = AttributesPlan(
    attributes=(AttributePlan(attribute="mir-16", kind=AttributeKind.CONCENTRATION, unit="copies/uL", family="ev"),)
)


def _asking(plan: StudyPlan, modules: Modules) -> StudyPlan:
    return plan.model_copy(update={"modules": modules})


def _moments(cluster: int, *, genes: int = 2, cells: int = 40) -> ClusterMoments:
    return ClusterMoments(
        cluster=cluster,
        cells=cells,
        mean=(1.0,) * genes,
        m2=(2.0,) * genes,
        sum_expm1=(3.0,) * genes,
        nonzero=(4,) * genes,
    )


def _code_of(report: LotReport, plan: StudyPlan, **parts: object) -> ErrorCode | None:
    digest = sha256(encode(plan))
    try:
        check_report_fits(report.model_copy(update={"plan_sha256": digest, **parts}), plan, digest)
    except ProtocolError as error:
        return error.code
    return None


def test_a_module_that_the_policy_does_not_allow_is_not_answered(plan: StudyPlan, policy: SitePolicy) -> None:
    plan = _asking(plan, Modules(markers=MARKERS))
    with pytest.raises(ProtocolError) as refused:
        effective(policy, plan)
    assert refused.value.code is ErrorCode.MODULE_NOT_ALLOWED
    allowed = policy.model_copy(update={"allowed_modules": (ModuleName.MARKERS,)})
    assert effective(allowed, plan).plan.modules.names == {ModuleName.MARKERS}


@pytest.mark.parametrize(
    "part",
    [
        {"arm": Arm.BEFORE},
        {"attributes": (AttributeValue(attribute="mir-16", value=1.0),)},
        {"markers": LotMarkers(clusters=())},
    ],
)
def test_a_part_that_was_not_asked_for_does_not_fit(
    part: dict[str, object], plan: StudyPlan, report: LotReport
) -> None:
    assert _code_of(report, plan) is None
    assert _code_of(report, plan, **part) is ErrorCode.LOTS_UNSUITABLE


@pytest.mark.parametrize(
    ("markers", "fits"),
    [
        (LotMarkers(clusters=(_moments(0), _moments(2))), True),
        (LotMarkers(clusters=(_moments(2), _moments(0))), False),
        (LotMarkers(clusters=(_moments(0), _moments(0))), False),
        (LotMarkers(clusters=(_moments(250),)), False),
        (LotMarkers(clusters=(_moments(0, genes=3),)), False),
        (LotMarkers(clusters=(_moments(0, cells=19),)), False),
    ],
)
def test_moments_are_of_the_plans_genes_and_of_enough_cells(
    markers: LotMarkers, *, fits: bool, plan: StudyPlan, report: LotReport
) -> None:
    plan = _asking(plan, Modules(markers=MARKERS))
    assert (_code_of(report, plan, markers=markers) is None) is fits


def test_attributes_are_those_that_the_plan_declares_each_once(plan: StudyPlan, report: LotReport) -> None:
    plan = _asking(plan, Modules(attributes=ATTRIBUTES))
    known = AttributeValue(attribute="mir-16", value=2.5)
    assert _code_of(report, plan, attributes=(known,)) is None
    for attributes in ((known, known), (AttributeValue(attribute="mir-99", value=1.0),)):
        assert _code_of(report, plan, attributes=attributes) is ErrorCode.LOTS_UNSUITABLE


def test_a_module_names_an_endpoint_and_a_cluster_of_the_plan(plan: StudyPlan) -> None:
    fields = plan.model_dump(by_alias=True)
    endpoint = plan.endpoints[0].endpoint
    wrong = (
        Modules(comparability=ComparabilityPlan(endpoint=EndpointId("unknown"), change="new medium")),
        Modules(specification=SpecificationPlan(endpoint=EndpointId("unknown"), limit=1.0)),
        Modules(specification=SpecificationPlan(endpoint=endpoint, limit=1.0, cluster="no such cluster")),
    )
    for modules in wrong:
        with pytest.raises(ValueError, match="modules"):
            StudyPlan.model_validate({**fields, "modules": modules})
