"""A site whose lots leave under noise, for the tests that try to get at what the noise hides."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final

from protocol.codec import decode
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, open_envelope
from protocol.exchange import Ask, Reply
from protocol.ledger import LedgerEvent
from protocol.plan import Profile, StudyPlan
from protocol.policy import EffectiveRules, NoisePolicy, PolicyThresholds, SitePolicy, effective, write_policy
from protocol.queries import Answer
from protocol.report import LotReport, Software
from site_agent.agent import Agent, SiteIdentity
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import AppendLog, MemoryLog
from site_agent.release.ledger import Ledger
from site_agent.release.noise_book import NoiseBook
from site_agent.release.offers import Offer
from site_agent.release.site_records import MemoryRecords
from site_agent.release.summaries import MappedLot, provenance_of, summarise
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    NOW,
    STUDY,
    ALot,
    AMeasurement,
    key_of,
    make_plan,
    make_query,
    signed,
)

SECRET: Final = b"the secret of one site".ljust(32, b".")
PLAN: Final = make_plan()
Counts = tuple[int, int, int, int]
LOTS: Final[dict[str, Counts]] = {"BM-01": (600, 300, 3, 20), "BM-02": (700, 200, 0, 40)}
_CALLS = count()


def make_policy(epsilon: float = 1.0, budget: float = 1.0, *, noise: bool = True) -> SitePolicy:
    return SitePolicy(
        version=1,
        site=KYOTO,
        profile=Profile.STANDARD,
        allowed_studies=(STUDY,),
        allowed_coordinators=(COORDINATOR.fingerprint,),
        auto_approve=(STUDY,),
        thresholds=PolicyThresholds(minimum_cells_per_lot=50),
        noise=NoisePolicy(epsilon_per_release=epsilon, epsilon_budget=budget) if noise else None,
    )


def some_noise(counts: Sequence[int], epsilon: float) -> tuple[int, ...]:
    """Draw noise that is another in every call and every process."""
    source = Random(f"{os.getpid()} {next(_CALLS)}")  # noqa: S311 - a test's noise hides nothing
    return tuple(cells + source.randint(-9, 9) for cells in counts)


def make_book(log: AppendLog | None = None) -> NoiseBook:
    return NoiseBook(MemoryLog() if log is None else log, mechanism=some_noise)


def mapped(counts: Counts) -> MappedLot:
    return MappedLot(
        counts=counts[:3],
        unassigned=counts[3],
        cells_after_qc=sum(counts),
        median_counts=5_120.0,
        median_genes=2_210.5,
        median_mitochondrial_share=0.041,
        gene_coverage=0.98,
    )


@dataclass
class NoisyLots:
    """A source of reports whose exact counts are given; they leave under the policy's noise."""

    book: NoiseBook
    lots: dict[str, Counts] = field(default_factory=lambda: dict(LOTS))
    secret: bytes = SECRET

    def __call__(self, rules: EffectiveRules) -> list[Offer]:
        return [self.offer(name, rules) for name in self.lots]

    def offer(self, name: str, rules: EffectiveRules) -> Offer:
        exact, described = mapped(self.lots[name]), ALot(lot=name, donor=f"donor of {name}")
        counted, made_of = self.book.noised(exact, provenance_of(exact, described, self.secret), rules, self.secret)
        software = Software(crosslot="0.1.0", mapper="fake/1")
        report = summarise(counted, described, [AMeasurement()], rules=rules, secret=self.secret, software=software)
        return Offer(report=report, provenance=made_of)


def rules_of(policy: SitePolicy, plan: StudyPlan = PLAN) -> EffectiveRules:
    return effective(policy, plan)


@dataclass
class ASite:
    """An agent whose lots leave under noise; its logs may lie in a folder."""

    policy: SitePolicy = field(default_factory=make_policy)
    make_log: Callable[[str], AppendLog] = lambda _name: MemoryLog()
    lots: dict[str, Counts] = field(default_factory=lambda: dict(LOTS))

    def __post_init__(self) -> None:
        self.book = make_book(self.make_log("noise"))
        self.airlock = Airlock(self.make_log("airlock"))
        self.ledger = Ledger(self.make_log("ledger"), site=KYOTO, key=key_of(KYOTO))
        self.log: list[str] = []

    def ask(self, plan: StudyPlan = PLAN) -> Reply:
        agent = Agent(
            SiteIdentity(site=KYOTO, key=key_of(KYOTO), coordinator=COORDINATOR.verifying_key),
            policy=write_policy(self.policy),
            reports=NoisyLots(self.book, self.lots),
            airlock=self.airlock,
            ledger=self.ledger,
            records=MemoryRecords(),
            log=self.log.append,
            noise=self.book,
        )
        query = signed(make_query(plan, KYOTO), PayloadType.QUERY)
        reply = agent.answer(Ask(query=query, plan=signed(plan, PayloadType.STUDY_PLAN)), NOW)
        assert isinstance(reply, Reply)
        return reply

    def answer_of(self, reply: Reply) -> Answer:
        opened = open_envelope(reply.answer, PayloadType.ANSWER, [key_of(KYOTO).verifying_key])
        return decode(Answer, opened.payload, limit=PAYLOAD_LIMITS[PayloadType.ANSWER])

    def reports_of(self, reply: Reply) -> list[LotReport]:
        payloads = [
            open_envelope(each, PayloadType.LOT_REPORT, [key_of(KYOTO).verifying_key]).payload for each in reply.reports
        ]
        return [decode(LotReport, each, limit=PAYLOAD_LIMITS[PayloadType.LOT_REPORT]) for each in payloads]

    def events(self, event: LedgerEvent) -> int:
        return sum(entry.record.event is event for entry in self.ledger.verify())
