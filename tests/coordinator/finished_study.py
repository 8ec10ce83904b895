"""A study that was asked, answered by its sites' agents, and analysed: its outcome, its evidence, and its folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.analyse_command import Outcome, analyse_reports, verified_reports
from coordinator.evidence.bundle import StudyEvidence
from coordinator.evidence.checkpoints import countersign
from coordinator.report.edition import Edition
from coordinator.written import report_html, results_json
from protocol.atlas_manifest import AtlasManifest
from protocol.envelopes import PayloadType
from protocol.exchange import Reply
from protocol.identifiers import SiteId
from protocol.modules.names import ModuleName
from protocol.plan import StudyPlan
from protocol.policy import EffectiveRules, write_policy
from protocol.roster import Believed
from shared.runtime.files import write_atomically
from site_agent.release.ledger import Ledger
from site_agent.release.offers import Offer
from tests.study_parts import COORDINATOR, NOW, Site, believed, make_ask, make_policy, make_report, make_roster, signed


@dataclass(frozen=True)
class Growing:
    """A source of reports without cells, whose lots' potency follows from the cells of their first cluster."""

    counts: Mapping[str, Sequence[int]]
    potency: Callable[[int], float]

    def __call__(self, rules: EffectiveRules) -> Sequence[Offer]:
        return [
            Offer(report=make_report(rules, lot, counts, potency=self.potency(counts[0])))
            for lot, counts in self.counts.items()
        ]


@dataclass(frozen=True)
class FinishedStudy:
    """A finished study: what came of it, its evidence, and the ledgers at its sites."""

    plan: Believed[StudyPlan]
    outcome: Outcome
    evidence: StudyEvidence
    ledgers: tuple[Ledger, ...]


def finished_study(
    plan: StudyPlan,
    counts: Mapping[SiteId, Mapping[str, Sequence[int]]],
    potency: Callable[[int], float],
    *,
    modules: tuple[ModuleName, ...] = (),
) -> FinishedStudy:
    """Return a study of ``counts`` by site and lot; the sites' policies allow ``modules``."""
    study, roster = believed(plan), make_roster(plan)
    reports, checkpoints, ledgers = dict[str, bytes](), dict[str, bytes](), []
    for name, lots in counts.items():
        policy = make_policy(name).model_copy(update={"allowed_modules": modules})
        site = Site(Growing(lots, potency), write_policy(policy), name)
        reply = site.agent.answer(make_ask(plan, name), NOW)
        assert isinstance(reply, Reply)
        reports |= {f"{name}-{number}.json": envelope for number, envelope in enumerate(reply.reports)}
        checkpoint = countersign(reply.answer, roster, site=name, at=NOW, key=COORDINATOR)
        assert checkpoint is not None
        checkpoints[f"{name}.json"] = checkpoint
        ledgers.append(site.ledger)
    outcome = analyse_reports(study, verified_reports(study, roster, reports.items()))
    evidence = StudyEvidence(
        plan=study.envelope,
        roster=signed(roster, PayloadType.ROSTER),
        atlas_manifest=signed(_manifest(plan), PayloadType.ATLAS_MANIFEST),
        reports=reports,
        results=results_json(outcome.results),
        report=report_html(outcome, Edition.coordinator()),
        events=b"{}\n",
        checkpoints=checkpoints,
    )
    return FinishedStudy(plan=study, outcome=outcome, evidence=evidence, ledgers=tuple(ledgers))


def write_study_folder(evidence: StudyEvidence, folder: Path) -> Path:
    """Write the study's folder as a run leaves it, and return it."""
    for name, data in {
        "published/plan.json": evidence.plan,
        "published/roster.json": evidence.roster,
        "published/reference.atlas.json": evidence.atlas_manifest,
        "results.json": evidence.results,
        "report.html": evidence.report,
        "coordinator/events.jsonl": evidence.events,
        **{f"coordinator/envelopes/{name}": data for name, data in evidence.reports.items()},
        **{f"coordinator/checkpoints/{name}": data for name, data in evidence.checkpoints.items()},
    }.items():
        write_atomically(folder / name, data)
    return folder


def _manifest(plan: StudyPlan) -> AtlasManifest:
    return AtlasManifest(
        name=plan.atlas.name,
        sha256=plan.atlas.sha256,
        size_bytes=1,
        modality="rna",
        clusters=plan.atlas.clusters,
        n_genes=2_000,
        crosslot="0.1.0",
    )
