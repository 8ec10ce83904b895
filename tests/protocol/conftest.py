"""A study that the protocol's tests speak about, and the keys of its parties."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.identifiers import EndpointId, Pseudonym, Sha256, SiteId, StudyId
from protocol.message import Message
from protocol.plan import AnalysisPlan, AtlasReference, Cohort, CohortRole, Endpoint, Profile, StudyPlan
from protocol.policy import SitePolicy
from protocol.queries import Query
from protocol.report import Count, Disclosure, LotQuality, LotReport, PotencySeries, Software
from protocol.signing import SigningKey

# RFC 8032, section 7.1: the secret keys of TEST 1, TEST 2 and TEST 3.
RFC8032_SEEDS = (
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
)


@pytest.fixture(scope="session")
def coordinator_key() -> SigningKey:
    return SigningKey.from_seed(bytes.fromhex(RFC8032_SEEDS[0]))


@pytest.fixture(scope="session")
def site_key() -> SigningKey:
    return SigningKey.from_seed(bytes.fromhex(RFC8032_SEEDS[1]))


@pytest.fixture(scope="session")
def stranger_key() -> SigningKey:
    return SigningKey.from_seed(bytes.fromhex(RFC8032_SEEDS[2]))


@pytest.fixture(scope="session")
def plan() -> StudyPlan:
    return StudyPlan(
        study=StudyId("vegf-2026"),
        title="VEGF of bone-marrow MSC",
        question="Which cluster's share follows VEGF under ischaemia?",
        opens="2026-Q3",
        atlas=AtlasReference(name="bm-msc", sha256=Sha256("a" * 64), clusters=("c0", "c1", "c2", "c3", "c4")),
        sites=(SiteId("kyoto"), SiteId("leiden")),
        endpoints=(Endpoint(endpoint=EndpointId("vegf"), assay="ELISA", unit="pg/mL", decimals=1),),
        cohorts=(Cohort(cohort="main", role=CohortRole.DISCOVERY, tissues=("bone marrow",)),),
        analysis=AnalysisPlan(seed=11),
    )


@pytest.fixture(scope="session")
def policy(coordinator_key: SigningKey) -> SitePolicy:
    return SitePolicy(
        version=3,
        site=SiteId("kyoto"),
        allowed_studies=(StudyId("vegf-2026"),),
        allowed_coordinators=(coordinator_key.fingerprint,),
    )


@pytest.fixture(scope="session")
def query() -> Query:
    return Query(
        study=StudyId("vegf-2026"),
        plan_sha256=Sha256("b" * 64),
        atlas_sha256=Sha256("a" * 64),
        site=SiteId("kyoto"),
        round=1,
        nonce="0123456789abcdef" * 2,
        issued="2026-11-20T08:00:00Z",
        expires="2026-11-20T09:00:00Z",
    )


@pytest.fixture(scope="session")
def report(policy: SitePolicy) -> LotReport:
    return LotReport(
        study=StudyId("vegf-2026"),
        plan_sha256=Sha256("b" * 64),
        atlas_sha256=Sha256("a" * 64),
        site=SiteId("kyoto"),
        lot=Pseudonym("0123456789abcdef"),
        donor=Pseudonym("fedcba9876543210"),
        cohort="main",
        tissue="bone marrow",
        product="MSC",
        passage=5,
        condition="normoxia",
        period="2026-Q3",
        cells_after_qc=Count(low=2010, high=2013),
        counts=(
            Count.exactly(1200),
            Count.exactly(500),
            Count.exactly(290),
            Count.exactly(7),
            Count(low=1, high=4),
        ),
        unassigned=Count.exactly(12),
        quality=LotQuality(
            median_counts=5120.0, median_genes=2210.5, median_mitochondrial_share=0.041, gene_coverage=0.98
        ),
        potency=(
            PotencySeries(
                endpoint=EndpointId("vegf"),
                assay="ELISA",
                unit="pg/mL",
                run="0011223344556677",
                replicates=(812.5, 790.1),
                reference_replicates=(1000.0,),
            ),
        ),
        software=Software(crosslot="0.1.0", mapper="linear/1"),
        disclosure=Disclosure(
            requested=Profile.STANDARD,
            applied=Profile.STANDARD,
            small_count_threshold=5,
            policy_sha256=policy.sha256,
        ),
    )


@pytest.fixture(scope="session")
def changed() -> Callable[..., Any]:
    """Return a function that copies a message with some fields changed, validated again."""

    def change(message: Message, **changes: object) -> Message:
        return type(message).model_validate(
            {**{name: getattr(message, name) for name in type(message).model_fields}, **changes}
        )

    return change
