"""Markers over simulated lots of known truth: found, not invented, and what each edition and rule makes of them."""

from dataclasses import replace
from functools import cache
from math import sqrt

import numpy as np
import pytest

from coordinator.modules.marker_rule import tissue_expresses
from coordinator.modules.marker_table import marker_table
from coordinator.modules.markers import analyse_markers, marker_shares
from coordinator.report.edition import Edition
from coordinator.report.markers_edition import edition_markers, for_the_page
from coordinator.study_data import MarkerTable, StudyData
from protocol.modules.asked import Modules
from protocol.modules.markers import ClusterMoments, LotMarkers, MarkerPredictor, MarkersPlan
from protocol.modules.markers_results import MarkersResults
from protocol.plan import AnalysisPlan, MarkerRule, StudyPlan
from protocol.results import ResultSet
from simulations.gene_panel import MARKER
from simulations.marker_studies import discovery_of, gene_counts, marker_results, outcomes
from simulations.marker_truth import MarkerModel, marker_table_of, true_markers
from simulations.scenarios import scenario_named
from simulations.whole_study import simulate_whole
from tests.study_parts import make_plan, make_report, rules_of

DRIVER = "cluster 3"
SCENARIO = scenario_named("model-study-markers")
_ASKED = SCENARIO.modules.markers
assert _ASKED is not None
PLAN: MarkersPlan = _ASKED


@cache
def _study() -> tuple[StudyData, tuple[int, ...]]:
    whole = simulate_whole(SCENARIO, seed=5)
    table = marker_table_of(
        whole.study, SCENARIO.model, PLAN, np.random.default_rng(5), MarkerModel(interaction_sd=0.05)
    )
    data = replace(whole.data(), markers=table)
    return data, tuple(row for row, cohort in enumerate(data.cohorts) if cohort == "discovery")


def _found(data: StudyData, rows: tuple[int, ...]) -> MarkersResults:
    found = analyse_markers(data, PLAN, AnalysisPlan(seed=1, draws=99), (), rows)
    assert found is not None
    return found


@cache
def _results() -> ResultSet:
    return marker_results(SCENARIO, seed=1, number=0)


def test_the_drivers_markers_are_found_and_named_in_order_of_their_difference() -> None:
    found = _found(*_study())
    driver = next(each for each in found.clusters if each.cluster == DRIVER)
    truth = set(true_markers(6, (3,), PLAN.genes)[DRIVER])
    markers = [row for row in driver.rows if row.significant and (row.difference or 0) > 0]
    assert markers[0].gene == MARKER
    assert [row.difference for row in markers] == sorted(
        (row.difference for row in markers if row.difference), reverse=True
    )
    assert len(truth & {row.gene for row in markers}) >= 0.9 * len(truth)


def test_the_order_of_lots_does_not_show() -> None:
    data, rows = _study()
    assert _found(data, rows) == _found(data, tuple(rows))
    first, second = _found(data, rows), _found(data, rows[::-1])
    for one, other in zip(first.clusters, second.clusters, strict=True):
        for row, same in zip(one.rows, other.rows, strict=True):
            assert row.gene == same.gene
            assert row.difference == pytest.approx(same.difference, rel=1e-9)


def test_lots_of_one_donor_are_one_unit() -> None:
    data, rows = _study()
    twins = replace(
        data, donors=tuple(data.donors[rows[0]] if row in rows[:3] else d for row, d in enumerate(data.donors))
    )
    row = next(row for each in _found(twins, rows).clusters if each.cluster == DRIVER for row in each.rows)
    assert (row.n_lots, row.n_units) == (11, 9)


def test_a_lot_without_moments_takes_no_part_and_is_counted() -> None:
    data, rows = _study()
    table = data.markers
    assert table is not None
    cells = table.cells.copy()
    cells[rows[0]] = 0
    found = _found(replace(data, markers=replace(table, cells=cells)), rows)
    assert (found.n_lots, found.n_lots_without) == (10, 1)
    nothing = _found(replace(data, markers=replace(table, cells=np.zeros_like(cells))), rows)
    assert (nothing.n_lots, nothing.clusters) == (0, ())
    assert analyse_markers(replace(data, markers=None), PLAN, AnalysisPlan(seed=1), (), rows) is None


def test_over_simulated_studies_the_lot_paired_test_holds_its_level_and_the_cells_do_not() -> None:
    # The whole of it, over more studies and models, is benchmarks/markers.py.
    scenario, n = discovery_of(SCENARIO), 24
    model = MarkerModel(silent=True, interaction_sd=0.1)
    found = [
        gene_counts(marker_results(scenario, seed=9, number=number, markers=model, draws=99), DRIVER)
        for number in range(n)
    ]
    tested = sum(each.tested for each in found)
    assert abs(sum(each.by_lots for each in found) / tested - 0.05) <= 3 * sqrt(0.05 * 0.95 / tested)
    assert sum(each.by_cells for each in found) / tested > 0.2


def test_the_model_study_has_the_papers_three_outcomes() -> None:
    said = outcomes(_results(), DRIVER)
    assert said.found
    assert (said.held["BM"], said.held["AD"], said.held["UC"]) == (True, True, None)
    assert said.eligible == {"BM": True, "AD": True, "UC": False, "": True}
    silent = next(row for row in _results().validation if row.tissue == "UC")
    assert f"{MARKER} silent in {DRIVER} (median over 5 lots: mean log1p 0." in silent.eligibility_reason


def test_a_tissue_is_judged_by_its_medians_and_one_that_sent_nothing_is_not_eligible() -> None:
    data, rows = _study()
    rule = MarkerRule(gene=MARKER, minimum_mean=1.0, minimum_expressing=0.5)
    expressed, why = tissue_expresses(data, rows, 3, rule)
    assert expressed
    assert "expressed in cluster 3 (median over 11 lots: mean log1p 2." in why
    low, said = tissue_expresses(data, rows, 3, rule.model_copy(update={"within": "lot"}))
    assert not low
    assert "silent over all clusters" in said
    assert tissue_expresses(replace(data, markers=None), rows, 3, rule) == (
        False,
        f"no lot sent moments of {MARKER} in cluster 3: not shown to be expressed",
    )


def test_no_potency_is_read_for_markers_or_for_the_rule() -> None:
    data, rows = _study()
    blind = replace(data, potency={})
    assert _found(blind, rows) == _found(data, rows)
    rule = MarkerRule(gene=MARKER, minimum_mean=1.0)
    assert tissue_expresses(blind, rows, 3, rule) == tissue_expresses(data, rows, 3, rule)


def _with_high(shares: np.ndarray) -> tuple[StudyData, MarkersPlan]:
    data, _ = _study()
    table = data.markers
    assert table is not None
    high = np.round(shares * data.totals_low).astype(np.int64)[:, None]
    plan = PLAN.model_copy(update={"predictors": (MarkerPredictor(gene=MARKER, threshold=2.0),)})
    return replace(data, markers=replace(table, high_clusters=(None,), high_low=high, high_high=high)), plan


def test_a_marker_high_share_that_follows_potency_is_found_and_one_that_is_not_known_is_left_out() -> None:
    data, rows = _study()
    shares = np.zeros(len(data.lots))
    order = np.argsort(
        [
            np.log(np.mean(data.potency["vegf"].runs[row][0][1]))
            - np.log(np.mean(data.potency["vegf"].runs[row][0][2]))
            for row in rows
        ]
    )
    shares[np.array(rows)[order]] = np.linspace(0.1, 0.4, len(rows))
    known, plan = _with_high(shares)
    analysis = SCENARIO.analysis_plan(seed=1, draws=99)
    endpoints = (SCENARIO.assay.as_endpoint(SCENARIO.normalisation),)
    found = analyse_markers(known, plan, analysis, endpoints, rows)
    assert found is not None
    (row,) = found.predictors
    assert row.rho == pytest.approx(1.0)
    assert (row.n_lots, row.significant) == (11, True)
    assert known.markers is not None
    low = known.markers.high_low.copy()
    low[rows[0]] = -1
    partly = replace(known, markers=replace(known.markers, high_low=low, high_high=np.where(low < 0, -1, low)))
    assert not marker_shares(partly, partly.markers or known.markers)[1][rows[0], 0]
    fewer = analyse_markers(partly, plan, analysis, endpoints, rows)
    assert fewer is not None
    assert fewer.predictors[0].n_lots == 10


def test_an_edition_holds_no_average_that_gives_anothers_lots_back() -> None:
    data, rows = _study()
    found = _found(data, rows)
    assert edition_markers(found, data, rows, Edition.coordinator()) == found
    table = data.markers
    assert table is not None
    for site in sorted(set(data.sites)):
        own = edition_markers(found, data, rows, Edition.of_site(site))
        assert own is not None
        assert own.clusters  # 8 lots of 3 other sites stand behind every average
    few = np.array([row for row in rows if data.sites[row] == "site-a"] + [rows[-1]])
    cells = np.zeros_like(table.cells)
    cells[few] = table.cells[few]
    narrow = replace(data, markers=replace(table, cells=cells))
    with_few = _found(narrow, rows)
    own = edition_markers(with_few, narrow, rows, Edition.of_site("site-a"))
    public = edition_markers(with_few, narrow, rows, Edition.public())
    assert with_few.clusters
    assert own is not None
    assert public is not None
    assert own.clusters == public.clusters == ()


def test_a_gene_that_few_lots_know_is_taken_out_by_itself() -> None:
    data, rows = _study()
    table = data.markers
    assert table is not None
    mean = table.mean.copy()
    mean[list(rows[3:]), :, 0] = np.nan
    lacking = replace(data, markers=replace(table, mean=mean))
    found = _found(lacking, rows)
    own = edition_markers(found, lacking, rows, Edition.of_site("site-d"))
    assert own is not None
    for cluster in own.clusters:
        assert PLAN.genes[0] not in {row.gene for row in cluster.rows}
        assert PLAN.genes[1] in {row.gene for row in cluster.rows}
    cut = for_the_page(own, most=60)
    assert cut is not None
    assert all(len(cluster.rows) == 10 for cluster in cut.clusters)


def _table_of(sent: ClusterMoments) -> MarkerTable:
    plan: StudyPlan = make_plan().model_copy(update={"modules": Modules(markers=MarkersPlan(genes=("A", "B")))})
    report = make_report(rules_of(make_plan()), "L1", (100, 30, 10))
    table = marker_table(plan, [report.model_copy(update={"markers": LotMarkers(clusters=(sent,))}), report])
    assert table is not None
    return table


def test_a_gene_of_few_cells_stands_for_half_the_threshold_with_one_molecule_each() -> None:
    sent = ClusterMoments(
        cluster=0, cells=100, mean=(None, 0.5), m2=(None, 3.0), sum_expm1=(None, 70.0), nonzero=(None, None), few=(0,)
    )
    table = _table_of(sent)
    assert table.few[0, 0].tolist() == [True, False]
    assert table.nonzero[0, 0].tolist() == [5.0, 95.0]  # nearly all express B: 5 fewer than 100 stand for it
    assert 0 < table.mean[0, 0, 0] < 0.5
    assert table.cells.tolist() == [[100, 0, 0], [0, 0, 0]]
