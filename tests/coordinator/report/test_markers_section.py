"""The section on markers: an answer first, every number beside its n, and no average that gives a lot back."""

from dataclasses import replace
from functools import cache

import numpy as np

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.report.edition import Edition
from coordinator.report.model import Bundle, build_report
from coordinator.report.page import render_page
from coordinator.study_data import StudyData
from protocol.results import ResultSet
from shared.pages.contents import Finding, ModuleFigure, ModuleSection, Table
from simulations.gene_panel import MARKER
from simulations.marker_studies import discovery_of
from simulations.marker_truth import marker_table_of
from simulations.scenarios import scenario_named
from simulations.whole_study import simulate_whole

SCENARIO = discovery_of(scenario_named("model-study-markers"))


@cache
def _study(lots_with_moments: int = 11) -> tuple[StudyData, ResultSet]:
    whole, plan = simulate_whole(SCENARIO, seed=1), SCENARIO.modules.markers
    assert plan is not None
    table = marker_table_of(whole.study, SCENARIO.model, plan, np.random.default_rng(1))
    cells = table.cells.copy()
    cells[lots_with_moments:] = 0
    data = replace(whole.data(), markers=replace(table, cells=cells))
    analysis = SCENARIO.analysis_plan(seed=1, draws=99)
    card = study_card(study="s", title="t", question="q", plan_sha256=None, atlas=None, analysis=analysis)
    parameters = AnalysisParameters(
        study=card,
        endpoints=(SCENARIO.assay.as_endpoint(SCENARIO.normalisation),),
        cohorts=SCENARIO.cohorts(),
        analysis=analysis,
        modules=SCENARIO.modules,
    )
    return data, analyse(data, parameters, threads=1)


def _section(edition: Edition, lots_with_moments: int = 11) -> ModuleSection:
    data, results = _study(lots_with_moments)
    model = build_report(results, data, edition=edition, bundle=Bundle(validation_cohorts=()))
    return next(section for section in model.characterisation if section.identifier == "markers")


def test_the_lead_clusters_markers_come_first_in_words_figure_and_table() -> None:
    section = _section(Edition.coordinator())
    assert section.outcome is not None
    assert section.outcome.code == "markers-found"
    assert section.outcome.headline.startswith(f"In cluster 3, higher: {MARKER}")
    findings = [block.text for block in section.blocks if isinstance(block, Finding)]
    assert f"First is {MARKER}" in findings[0]
    assert "11 donors" in findings[0]
    (figure,) = (block for block in section.blocks if isinstance(block, ModuleFigure))
    assert figure.table.rows[0].cells[0].text == MARKER
    assert MARKER in figure.drawings[0]
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert tables[0].rows[0].cells[0].text == MARKER
    assert [row.cells[0].text for row in tables[1].rows] == [f"cluster {k}" for k in (0, 1, 2, 4, 5)]


def test_a_page_of_every_edition_has_the_section_and_no_hidden_lot() -> None:
    data, results = _study()
    for edition in (Edition.coordinator(), Edition.of_site("site-a"), Edition.public()):
        page = render_page(build_report(results, data, edition=edition, bundle=Bundle(validation_cohorts=()))).decode()
        assert '<section id="markers"' in page
        assert edition != Edition.public() or not any(lot in page for lot in data.lots)


def test_where_few_lots_of_others_sent_moments_an_edition_says_that_it_holds_none() -> None:
    own = _section(Edition.of_site("site-a"), lots_with_moments=5)  # 3 of them are its own
    assert own.outcome is not None
    assert own.outcome.code == "markers-withheld"
    assert not any(isinstance(block, ModuleFigure) for block in own.blocks)
    whole = _section(Edition.coordinator(), lots_with_moments=5)
    assert whole.outcome is not None
    assert whole.outcome.code == "markers-found"
    assert "6 sent none" in str(whole.blocks[0])


def test_a_study_in_which_no_lot_sent_moments_is_not_answered() -> None:
    section = _section(Edition.coordinator(), lots_with_moments=0)
    assert section.outcome is not None
    assert (section.outcome.code, section.outcome.word) == ("markers-not-sent", "Not answered")
