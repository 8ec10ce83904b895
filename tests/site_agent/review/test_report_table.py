"""The table that a steward reads leaves no part of a report out."""

from protocol.modules.markers import ClusterMoments, HighCells, LotMarkers
from protocol.report import LotReport
from site_agent.review.report_table import report_lines
from tests.study_parts import CLUSTERS, make_plan, make_report, rules_of

RULES = rules_of(make_plan())
REPORT = make_report(RULES, "BM-01", (600, 300, 100))


def _shown(report: LotReport) -> dict[str, str]:
    return {line.field: line.value for line in report_lines(report, clusters=CLUSTERS, rules=RULES)}


def test_moments_are_told_by_cluster_and_marker_high_cells_by_their_bounds() -> None:
    told = ClusterMoments(
        cluster=0, cells=600, mean=(1.0, None), m2=(1.0, None), sum_expm1=(1.0, None), nonzero=(400, None), few=(1,)
    )
    silent = ClusterMoments(cluster=1, cells=0, mean=(None,), m2=(None,), sum_expm1=(None,), nonzero=(None,))
    high = HighCells(gene="LRRC75A", cluster=0, threshold=1.5, low=1, high=9)
    rows = _shown(REPORT.model_copy(update={"markers": LotMarkers(clusters=(told, silent), high_cells=(high,))}))
    assert rows["moments in c0"] == "1 genes, of 600 cells; 1 left out since few cells express them"
    assert "moments in c1" not in rows
    assert rows["cells with LRRC75A at least 1.5 in c0"] == "1 to 9"
    assert _shown(REPORT.model_copy(update={"markers": LotMarkers(clusters=(silent,))}))["moments"] == "of no cluster"
    assert not any("moments" in name for name in _shown(REPORT))
