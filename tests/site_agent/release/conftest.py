"""A study, a site and a lot of it, for the tests of what may leave."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from protocol.identifiers import EndpointId, Sha256, SiteId, StudyId
from protocol.message import Message
from protocol.modules.comparability import Arm
from protocol.plan import (
    AnalysisPlan,
    AtlasReference,
    Cohort,
    CohortRole,
    DisclosureRequest,
    Endpoint,
    Profile,
    QualityLimits,
    StudyPlan,
)
from protocol.policy import EffectiveRules, PolicyThresholds, SitePolicy, effective
from protocol.report import LotReport, Software
from protocol.signing import SigningKey
from site_agent.release.summaries import MappedLot, summarise

SECRET = bytes(range(32))
MakeRules = Callable[..., EffectiveRules]
MakeReport = Callable[..., LotReport]


@dataclass(frozen=True, kw_only=True)
class ALot:
    lot: str = "BM-01"
    donor: str = "donor 7"
    cohort: str = "main"
    tissue: str = "bone marrow"
    product: str = "MSC"
    passage: int | None = 5
    condition: str = "normoxia"
    period: str | None = "2026-Q3"
    arm: Arm | None = None


@dataclass(frozen=True, kw_only=True)
class AMeasurement:
    endpoint: str = "vegf"
    assay: str = "ELISA"
    unit: str = "pg/mL"
    run: str = "2026-03-14 a"
    replicates: tuple[float, ...] = (812.512, 790.149, 801.0)
    reference_replicates: tuple[float, ...] = (1000.04, 998.0, 1003.33)


def mapped(*counts: int, unassigned: int = 0, **quality: Any) -> MappedLot:  # noqa: ANN401 - any field of the dataclass
    lot = MappedLot(
        counts=counts,
        unassigned=unassigned,
        cells_after_qc=sum(counts) + unassigned,
        median_counts=5120.25,
        median_genes=2210.5,
        median_mitochondrial_share=0.04123,
        gene_coverage=0.98765,
    )
    return replace(lot, **quality)


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey.from_seed(bytes(range(32)))


@pytest.fixture(scope="session")
def make_rules() -> MakeRules:
    """Return a function from a profile, thresholds of the site and the number of clusters to the rules in force."""

    def make(
        profile: Profile = Profile.STANDARD,
        *,
        threshold: int | None = None,
        minimum_cells: int | None = None,
        clusters: int = 5,
        atlas: str = "a",
        study: str = "vegf-2026",
        **policy: Any,  # noqa: ANN401 - any field of the policy
    ) -> EffectiveRules:
        plan = StudyPlan(
            study=StudyId(study),
            title="VEGF of bone-marrow MSC",
            question="Which cluster's share follows VEGF?",
            opens="2026-Q3",
            atlas=AtlasReference(
                name="bm-msc",
                sha256=Sha256(atlas * 64),
                clusters=tuple(f"c{number}" for number in range(clusters)),
            ),
            sites=(SiteId("kyoto"), SiteId("leiden")),
            endpoints=(Endpoint(endpoint=EndpointId("vegf"), assay="ELISA", unit="pg/mL", decimals=1),),
            cohorts=(Cohort(cohort="main", role=CohortRole.DISCOVERY, tissues=("bone marrow",)),),
            analysis=AnalysisPlan(seed=11),
            quality=QualityLimits(minimum_cells_per_lot=1),
            disclosure=DisclosureRequest(profile=Profile.OPEN, small_count_threshold=0, minimum_lots_per_site=1),
        )
        return effective(
            SitePolicy(
                version=1,
                site=SiteId("kyoto"),
                profile=profile,
                allowed_studies=(plan.study,),
                allowed_coordinators=(),
                thresholds=PolicyThresholds(small_count_threshold=threshold, minimum_cells_per_lot=minimum_cells),
                **policy,
            ),
            plan,
        )

    return make


@pytest.fixture(scope="session")
def rules(make_rules: MakeRules) -> EffectiveRules:
    return make_rules()


@pytest.fixture(scope="session")
def make_lot() -> Callable[..., MappedLot]:
    return mapped


@pytest.fixture(scope="session")
def make_report() -> MakeReport:
    """Return a function from rules and counts to the report of a lot with these counts."""

    def make(
        rules: EffectiveRules,
        *counts: int,
        unassigned: int = 0,
        lot: ALot | None = None,
        measurement: AMeasurement | None = None,
        version: int = 1,
        **quality: Any,  # noqa: ANN401 - any field of the dataclass
    ) -> LotReport:
        return summarise(
            mapped(*counts, unassigned=unassigned, **quality),
            lot or ALot(),
            [measurement or AMeasurement()],
            rules=rules,
            secret=SECRET,
            software=Software(crosslot="0.1.0", mapper="linear/1"),
            version=version,
        )

    return make


@pytest.fixture(scope="session")
def a_lot() -> type[ALot]:
    return ALot


@pytest.fixture(scope="session")
def a_measurement() -> type[AMeasurement]:
    return AMeasurement


@pytest.fixture(scope="session")
def changed() -> Callable[..., Any]:
    """Return a function that copies a message with some fields changed, validated again."""

    def change(message: Message, **changes: object) -> Message:
        values = {name: getattr(message, name) for name in type(message).model_fields}
        return type(message).model_validate({**values, **changes})

    return change
