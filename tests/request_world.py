"""One site that is asked again and again, its steward, and an adversary who keeps every byte that leaves."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Final

from protocol.codec import decode, encode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType
from protocol.exchange import Ask, Reply
from protocol.identifiers import Pseudonym, Sha256, SiteId, StudyId
from protocol.modules.asked import Modules
from protocol.plan import StudyPlan
from protocol.policy import EffectiveRules, SitePolicy, effective, write_policy
from protocol.pseudonyms import NameKind, pseudonym
from protocol.report import LotReport, Software
from shared.errors import RefusedError
from site_agent.agent import Agent, SiteIdentity
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import MemoryLog
from site_agent.release.decisions import State
from site_agent.release.disclosure import judge
from site_agent.release.ledger import Ledger
from site_agent.release.noise_book import NoiseBook
from site_agent.release.offers import Offer
from site_agent.release.site_records import MemoryRecords
from site_agent.release.summaries import MappedLot, provenance_of, summarise
from site_agent.release.verdicts import Outcome, warnings_sha256
from site_agent.release.withheld_clusters import withhold_clusters
from tests.request_modules import EVERY_MODULE, arm_of, attributes_of, moments_of
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    NOW,
    STEWARD,
    ALot,
    AMeasurement,
    key_of,
    make_plan,
    make_query,
    signed,
)

SECRET: Final = b"the secret of one site".ljust(32, b".")
STUDIES: Final = (StudyId("vegf-2026"), StudyId("comparability-2027"))
ATLASES: Final = (Sha256("a" * 64), Sha256("b" * 64))
LOTS: Final = ("BM-01", "BM-02")


def _plan(study: StudyId, atlas: Sha256, modules: Modules) -> StudyPlan:
    plan = make_plan(study=study, sites=(KYOTO, SiteId("leiden")))
    return plan.model_copy(update={"atlas": plan.atlas.model_copy(update={"sha256": atlas}), "modules": modules})


PLANS: Final = [
    _plan(study, atlas, modules) for modules in (Modules(), EVERY_MODULE) for study in STUDIES for atlas in ATLASES
]
ENVELOPES: Final = [signed(plan, PayloadType.STUDY_PLAN) for plan in PLANS]
_PLAN_OF: Final = {sha256(encode(plan)): plan for plan in PLANS}
_Parts = tuple[int, int, int, int]


@dataclass(frozen=True)
class Cells:
    """A lot's true counts, unassigned last, under each atlas: the same cells, so the same total."""

    version: int
    parts: tuple[_Parts, _Parts]


@dataclass(frozen=True, kw_only=True)
class Released:
    """What the adversary holds, with what only the test knows: which cells it was of, and by which rules it left."""

    report: LotReport
    lot: str
    cells: Cells
    rules: EffectiveRules
    warned: bool
    draw: Sha256 | None  # of noise
    parts: tuple[int, ...]  # what the report tells of: the true counts, or those drawn


@dataclass
class SomeNoise:
    """Draws noise that is another with every draw, and the same in every run."""

    draws: int = 0

    def __call__(self, counts: Sequence[int], epsilon: float) -> tuple[int, ...]:
        self.draws += 1
        source = Random(self.draws)  # noqa: S311 - a run that can be had again, and no secret
        return tuple(cells + round(source.gauss(0, 2 / epsilon)) for cells in counts)


@dataclass
class World:
    """One site, its steward, and an adversary who sees all that leaves."""

    cells: dict[str, Cells]
    policy: SitePolicy
    airlock: Airlock = field(default_factory=lambda: Airlock(MemoryLog()))
    records: MemoryRecords = field(default_factory=MemoryRecords)
    released: list[Released] = field(default_factory=list)
    seen: set[Sha256] = field(default_factory=set)
    warned: set[Sha256] = field(default_factory=set)
    noise: NoiseBook = field(default_factory=lambda: NoiseBook(MemoryLog(), mechanism=SomeNoise()))

    def __post_init__(self) -> None:
        self.ledger = Ledger(MemoryLog(), site=KYOTO, key=key_of(KYOTO))

    def rules(self, plan: StudyPlan) -> EffectiveRules:
        return effective(self.policy, plan)

    def offers(self, rules: EffectiveRules) -> Sequence[Offer]:
        which = ATLASES.index(rules.plan.atlas.sha256)
        return [self._offer(lot, self.cells[lot], which, rules) for lot in LOTS]

    def _offer(self, lot: str, cells: Cells, which: int, rules: EffectiveRules) -> Offer:
        parts = cells.parts[which]
        moments, high = None, None
        if rules.plan.modules.markers is not None:
            moments, high = moments_of(lot, ATLASES[which], parts)
        mapped = MappedLot(
            counts=parts[:3],
            unassigned=parts[3],
            cells_after_qc=sum(parts),
            median_counts=5_000.0 + cells.version,
            median_genes=2_210.5,
            median_mitochondrial_share=0.041,
            gene_coverage=0.98 - 0.1 * which,
            moments=moments,
            high_cells=high,
        )
        described = ALot(lot=lot, donor=f"donor of {lot}", arm=arm_of(lot))
        software = Software(crosslot="0.1.0", mapper="fake/1")
        counted, made_of = self.noise.noised(mapped, provenance_of(mapped, described, SECRET), rules, SECRET)
        report = summarise(
            counted,
            described,
            [AMeasurement()],
            rules=rules,
            secret=SECRET,
            software=software,
            attributes=attributes_of(lot),
        )
        return Offer(report=report, provenance=made_of)

    def ask(self, which: int) -> None:
        plan = PLANS[which]
        agent = Agent(
            SiteIdentity(
                site=KYOTO, key=key_of(KYOTO), coordinator=COORDINATOR.verifying_key, steward=STEWARD.verifying_key
            ),
            policy=write_policy(self.policy),
            reports=self.offers,
            airlock=self.airlock,
            ledger=self.ledger,
            records=self.records,
            log=lambda _line: None,
            noise=self.noise,
        )
        ask = Ask(query=signed(make_query(plan, KYOTO), PayloadType.QUERY), plan=ENVELOPES[which])
        reply = agent.answer(ask, NOW)
        assert isinstance(reply, Reply)
        for envelope in reply.reports:
            self._take(base64.b64decode(json.loads(envelope)["payload"]), self.rules(plan))

    def _take(self, payload: bytes, rules: EffectiveRules) -> None:
        report = decode(LotReport, payload, limit=PAYLOAD_LIMITS[PayloadType.LOT_REPORT])
        digest = sha256(payload)
        if digest in self.seen:
            return
        self.seen.add(digest)
        (lot,) = (name for name in LOTS if report.lot == _pseudonym(report.study, name))
        made_of = self.airlock.find(digest).provenance
        assert made_of is not None
        standing = self.noise.standing(made_of)
        cells = self.cells[lot]
        drawn = cells.parts[ATLASES.index(report.atlas_sha256)] if standing is None else standing.noised
        known = [each for each in self.released if each.lot == lot]
        self.released.append(
            Released(
                report=report,
                lot=lot,
                cells=cells,
                rules=rules,
                warned=digest in self.warned,
                draw=made_of.draw_sha256,
                parts=tuple(max(0, part) for part in drawn),
            )
        )
        if all(each.draw != made_of.draw_sha256 for each in known):
            self._check_budget(lot, rules)

    def _check_budget(self, lot: str, rules: EffectiveRules) -> None:
        noise = [(each.draw, each.report.disclosure.noise) for each in self.released if each.lot == lot]
        costs = {draw: applied.epsilon for draw, applied in noise if applied is not None}
        if rules.noise is not None:
            assert sum(Decimal(repr(cost)) for cost in costs.values()) <= Decimal(repr(rules.noise.epsilon_budget))

    def decide(self, how: str) -> None:
        """Decide on everything that waits; a warned approval is remembered as a person's own."""
        for held in list(self.airlock.held().values()):
            if held.state is not State.PENDING:
                continue
            if how == "refuse":
                self.airlock.refuse(held.payload_sha256, by="A", at=NOW, key=STEWARD, reason="no")
                continue
            reason = "I know" if how == "approve with a reason" else None
            if not self._allows(plan := _PLAN_OF[held.report.plan_sha256]):
                continue
            earlier = self.airlock.earlier(held.report, held.provenance)
            standing = self.noise.standing(held.provenance)
            verdicts = judge(held.report, self.rules(plan), lots_offered=len(LOTS), earlier=earlier, noise=standing)
            if any(verdict.outcome is Outcome.REVIEW for verdict in verdicts):
                self.warned.add(held.payload_sha256)
            seen = warnings_sha256(verdicts)
            self.airlock.approve(held.payload_sha256, by="A", at=NOW, key=STEWARD, reason=reason, warnings_sha256=seen)

    def _allows(self, plan: StudyPlan) -> bool:
        return plan.modules.names <= set(self.policy.allowed_modules)

    def withhold(self, cluster: int) -> None:
        for held in list(self.airlock.held().values()):
            if not self._allows(plan := _PLAN_OF[held.report.plan_sha256]):
                continue
            report = withhold_clusters(held.report, {cluster}, self.rules(plan))
            try:
                self.airlock.withhold(held.payload_sha256, report, frozenset({cluster}), by="A", at=NOW, key=STEWARD)
            except RefusedError:
                continue

    def change(self, lot: str, cluster: int, gained: int) -> None:
        cells = self.cells[lot]
        one, two = (_gained(parts, cluster, gained) for parts in cells.parts)
        self.cells[lot] = Cells(version=cells.version + 1, parts=(one, two))


def _gained(parts: _Parts, cluster: int, gained: int) -> _Parts:
    new = list(parts)
    new[cluster] += gained
    return new[0], new[1], new[2], new[3]


def _pseudonym(study: StudyId, lot: str) -> Pseudonym:
    return pseudonym(SECRET, study=study, kind=NameKind.LOT, name=lot)
