"""A small study for the tests of the walk from agent to store: its parties, its plan, lots without cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count

from coordinator.collection import OutgoingQuery
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.exchange import Ask
from protocol.identifiers import EndpointId, Sha256, SiteId, StudyId, instant
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
from protocol.policy import EffectiveRules, SitePolicy, effective, policy_or_refuse, write_policy
from protocol.queries import Query
from protocol.report import LotReport, Software
from protocol.roster import Believed, Roster, SiteKey, open_plan
from protocol.signing import SigningKey
from site_agent.agent import Agent, ReportSource, SiteIdentity
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import MemoryLog
from site_agent.release.decisions import Held
from site_agent.release.disclosure import judge
from site_agent.release.ledger import Ledger
from site_agent.release.offers import Offer
from site_agent.release.site_records import MemoryRecords
from site_agent.release.summaries import MappedLot, summarise
from site_agent.release.verdicts import warnings_sha256

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
STUDY = StudyId("vegf-2026")
KYOTO, LEIDEN = SiteId("kyoto"), SiteId("leiden")
CLUSTERS = ("c0", "c1", "c2")
ATLAS = Sha256("a" * 64)

COORDINATOR = SigningKey.from_seed(b"coordinator".ljust(32, b"."))
STEWARD = SigningKey.from_seed(b"steward".ljust(32, b"."))
STRANGER = SigningKey.from_seed(b"stranger".ljust(32, b"."))


def key_of(site: SiteId) -> SigningKey:
    return SigningKey.from_seed(site.encode().ljust(32, b"."))


def make_plan(*, study: StudyId = STUDY, sites: Sequence[SiteId] = (KYOTO, LEIDEN), seed: int = 11) -> StudyPlan:
    return StudyPlan(
        study=study,
        title="VEGF of bone-marrow MSC",
        question="Which cluster's share follows VEGF?",
        opens="2026-Q4",
        atlas=AtlasReference(name="bm-msc", sha256=ATLAS, clusters=CLUSTERS),
        sites=tuple(sites),
        endpoints=(Endpoint(endpoint=EndpointId("vegf"), assay="ELISA", unit="pg/mL", decimals=1),),
        cohorts=(Cohort(cohort="main", role=CohortRole.DISCOVERY, tissues=("bone marrow",)),),
        analysis=AnalysisPlan(seed=seed),
        quality=QualityLimits(minimum_cells_per_lot=1),
        disclosure=DisclosureRequest(profile=Profile.OPEN),
    )


def signed(message: Message, kind: PayloadType, key: SigningKey = COORDINATOR) -> bytes:
    return seal(encode(message), kind, key)


@cache
def believed(plan: StudyPlan) -> Believed[StudyPlan]:
    return open_plan(signed(plan, PayloadType.STUDY_PLAN), COORDINATOR.verifying_key)


def make_roster(plan: StudyPlan) -> Roster:
    return Roster(
        study=plan.study,
        coordinator=COORDINATOR.verifying_key.to_hex(),
        sites=tuple(SiteKey(site=site, key=key_of(site).verifying_key.to_hex()) for site in sorted(plan.sites)),
    )


def make_policy(site: SiteId = KYOTO, *, auto: bool = True, profile: Profile = Profile.OPEN) -> SitePolicy:
    return SitePolicy(
        version=1,
        site=site,
        profile=profile,
        allowed_studies=(STUDY,),
        allowed_coordinators=(COORDINATOR.fingerprint,),
        auto_approve=(STUDY,) if auto else (),
    )


_NONCES = count()


def fresh_nonce() -> str:
    return f"{next(_NONCES):032x}"


def make_query(plan: StudyPlan, site: SiteId = KYOTO, *, issued: datetime = NOW, **changes: object) -> Query:
    fields = {
        "study": plan.study,
        "plan_sha256": believed(plan).payload_sha256,
        "atlas_sha256": plan.atlas.sha256,
        "site": site,
        "round": 1,
        "nonce": fresh_nonce(),
        "issued": instant(issued),
        "expires": instant(issued + timedelta(hours=1)),
    }
    return Query.model_validate({**fields, **changes})


def make_ask(plan: StudyPlan, site: SiteId = KYOTO) -> Ask:
    return Ask(query=signed(make_query(plan, site), PayloadType.QUERY), plan=signed(plan, PayloadType.STUDY_PLAN))


def outgoing(plan: StudyPlan, site: SiteId = KYOTO) -> OutgoingQuery:
    query = make_query(plan, site)
    return OutgoingQuery(query=query, payload=encode(query), envelope=signed(query, PayloadType.QUERY))


@dataclass(frozen=True, kw_only=True)
class ALot:
    lot: str
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
    replicates: tuple[float, ...] = (812.5, 790.1)
    endpoint: str = "vegf"
    assay: str = "ELISA"
    unit: str = "pg/mL"
    run: str = "2026-03-14 a"
    reference_replicates: tuple[float, ...] = ()


def make_report(rules: EffectiveRules, lot: str, counts: Sequence[int], *, potency: float = 812.5) -> LotReport:
    """Return the report of a lot, its pseudonyms under a secret that is the site's own."""
    return summarise(
        MappedLot(
            counts=tuple(counts),
            unassigned=0,
            cells_after_qc=sum(counts),
            median_counts=5120.0,
            median_genes=2210.5,
            median_mitochondrial_share=0.041,
            gene_coverage=0.98,
        ),
        ALot(lot=lot, donor=f"donor of {lot}"),
        [AMeasurement(replicates=(potency,))],
        rules=rules,
        secret=rules.site.encode().ljust(32, b"."),
        software=Software(crosslot="0.1.0", mapper="fake/1"),
    )


def rules_of(plan: StudyPlan, site: SiteId = KYOTO, *, auto: bool = True) -> EffectiveRules:
    return effective(make_policy(site, auto=auto), plan)


@dataclass
class Lots:
    """A source of reports without cells; it counts how often it was asked."""

    counts: Mapping[str, Sequence[int]]
    potency: float = 812.5
    calls: int = 0

    def __call__(self, rules: EffectiveRules) -> Sequence[Offer]:
        self.calls += 1
        return [
            Offer(report=make_report(rules, lot, counts, potency=self.potency)) for lot, counts in self.counts.items()
        ]


THREE_LOTS: Mapping[str, Sequence[int]] = {"BM-01": (600, 300, 100), "BM-02": (500, 400, 100), "BM-03": (700, 200, 90)}


@dataclass
class Site:
    """An agent with all that it was made of."""

    source: ReportSource = field(default_factory=lambda: Lots(THREE_LOTS))
    policy: bytes | None = field(default_factory=lambda: write_policy(make_policy()))
    site: SiteId = KYOTO
    airlock: Airlock = field(default_factory=lambda: Airlock(MemoryLog()))
    records: MemoryRecords = field(default_factory=MemoryRecords)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        key = key_of(self.site)
        self.ledger = Ledger(MemoryLog(), site=self.site, key=key)
        self.agent = Agent(
            SiteIdentity(site=self.site, key=key, coordinator=COORDINATOR.verifying_key, steward=STEWARD.verifying_key),
            policy=self.policy,
            reports=self.source,
            airlock=self.airlock,
            ledger=self.ledger,
            records=self.records,
            log=self.log.append,
        )

    def approve(self, held: Held, *, reason: str | None = None) -> None:
        """Decide as the site's steward would: these bytes may leave."""
        rules = effective(policy_or_refuse(self.policy), make_plan(study=held.study, sites=(self.site,)))
        earlier = self.airlock.earlier(held.report, held.provenance)
        seen = warnings_sha256(judge(held.report, rules, lots_offered=2, earlier=earlier))
        self.airlock.approve(
            held.payload_sha256, by="A. Steward", at=NOW, key=STEWARD, reason=reason, warnings_sha256=seen
        )

    def refuse(self, held: Held) -> None:
        """Decide as the site's steward would: these bytes stay."""
        self.airlock.refuse(held.payload_sha256, by="A. Steward", at=NOW, key=STEWARD, reason="not ours to give")
