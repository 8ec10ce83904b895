"""A lot whose cells changed sends no moments again: the agent takes them out, and the steward sees a report without."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protocol.identifiers import Pseudonym
from protocol.modules.asked import Modules
from protocol.modules.markers import MarkersPlan
from protocol.modules.names import ModuleName
from protocol.policy import EffectiveRules, write_policy
from protocol.report import LotReport, Software
from shared.statistics.moments import Moments
from site_agent.release.decisions import State
from site_agent.release.offers import Offer
from site_agent.release.summaries import MappedLot, summarise
from tests.study_parts import NOW, ALot, AMeasurement, Site, make_ask, make_plan, make_policy

PLAN = make_plan().model_copy(update={"modules": Modules(markers=MarkersPlan(genes=("LRRC75A",)))})
POLICY = make_policy().model_copy(update={"allowed_modules": (ModuleName.MARKERS,)})


@dataclass
class LotsWithMoments:
    """A source of two lots' reports with moments."""

    first: tuple[int, int, int] = (600, 300, 100)

    def __call__(self, rules: EffectiveRules) -> Sequence[Offer]:
        return [
            Offer(report=_report(rules, "BM-01", self.first)),
            Offer(report=_report(rules, "BM-02", (500, 400, 90))),
        ]


def _report(rules: EffectiveRules, lot: str, counts: tuple[int, int, int]) -> LotReport:
    cells = np.array(counts, dtype=float)
    mapped = MappedLot(
        counts=counts,
        unassigned=0,
        cells_after_qc=sum(counts),
        median_counts=5_120.0,
        median_genes=2_210.5,
        median_mitochondrial_share=0.041,
        gene_coverage=0.98,
        moments=Moments(
            cells=cells,
            mean=np.full((3, 1), 0.8),
            m2=0.5 * cells[:, None],
            sum_expm1=2.0 * cells[:, None],
            nonzero=np.floor(cells[:, None] / 2),
        ),
        high_cells=np.zeros((4, 1), dtype=np.int64),
    )
    return summarise(
        mapped,
        ALot(lot=lot, donor=f"donor of {lot}"),
        [AMeasurement()],
        rules=rules,
        secret=bytes(32),
        software=Software(crosslot="0.1.0", mapper="fake/1"),
    )


def _cells(site: Site, state: State) -> dict[Pseudonym, list[int]]:
    held = [each.report for each in site.airlock.held().values() if each.state is state]
    return {each.lot: [moments.cells for moments in each.markers.clusters] for each in held if each.markers is not None}


def test_moments_leave_once_and_a_changed_lot_waits_without_them() -> None:
    source = LotsWithMoments()
    site = Site(source=source, policy=write_policy(POLICY))
    site.agent.answer(make_ask(PLAN), NOW)
    assert sorted(_cells(site, State.SENT).values()) == [[500, 400, 90], [600, 300, 100]]
    source.first = (601, 300, 100)
    site.agent.answer(make_ask(PLAN), NOW)
    assert list(_cells(site, State.PENDING).values()) == [[0, 0, 0]]
    source.first = (600, 300, 100)  # what was sent already may be sent again
    site.agent.answer(make_ask(PLAN), NOW)
    assert sorted(_cells(site, State.SENT).values()) == [[500, 400, 90], [600, 300, 100]]
