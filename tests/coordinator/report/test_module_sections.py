"""The sections on attributes and on several potencies: what they say, and what no edition may see."""

import pytest

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.report.edition import Edition
from coordinator.report.model import build_report
from coordinator.report.page import render_page
from coordinator.study_data import StudyData
from protocol.results import ResultSet
from shared.pages.contents import Finding, ModuleFigure, ModuleSection, Table
from simulations.scenarios import scenario_named
from simulations.whole_study import simulate_whole


def _study(name: str, *, seed: int = 1) -> tuple[StudyData, ResultSet]:
    scenario = scenario_named(name)
    data = simulate_whole(scenario, seed=seed).data()
    plan = scenario.analysis_plan(seed=7, draws=999)
    parameters = AnalysisParameters(
        study=study_card(study=name, title=name, question="?", plan_sha256=None, atlas=None, analysis=plan),
        endpoints=tuple(
            each.as_endpoint(scenario.normalisation)
            for each in (scenario.assay, *(further.assay for further in scenario.potencies))
        ),
        cohorts=scenario.cohorts(),
        analysis=plan,
        modules=scenario.modules,
    )
    return data, analyse(data, parameters, threads=1)


@pytest.fixture(scope="module")
def airway() -> tuple[StudyData, ResultSet]:
    return _study("airway-exosome")


@pytest.fixture(scope="module")
def several() -> tuple[StudyData, ResultSet]:
    return _study("several-potencies")


def _section(study: tuple[StudyData, ResultSet], identifier: str, edition: Edition | None = None) -> ModuleSection:
    data, results = study
    model = build_report(results, data, edition=edition or Edition.coordinator())
    return next(section for section in model.characterisation if section.identifier == identifier)


def _words(section: ModuleSection) -> str:
    parts = [block.text if isinstance(block, Finding) else block for block in section.blocks if not _is_shown(block)]
    return " ".join([section.outcome.headline if section.outcome else "", *map(str, parts)])


def _is_shown(block: object) -> bool:
    return isinstance(block, Table | ModuleFigure)


def test_the_driver_the_shared_denominator_and_what_is_below_detection_are_told(
    airway: tuple[StudyData, ResultSet],
) -> None:
    words = _words(_section(airway, "attributes"))
    assert "mir-148a" in words.split(".")[0]
    assert "particles-per-protein and cd63-per-protein share a denominator, protein: one observation." in words
    assert "mir-200a: 17 of 24 lots are below its limit of detection" in words
    assert "2 families of tests, each corrected for itself" in words


def test_every_family_has_its_table_with_n_interval_and_lots_below_detection(
    airway: tuple[StudyData, ResultSet],
) -> None:
    tables = [block for block in _section(airway, "attributes").blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [6, 3]
    headings = [column.heading for column in tables[0].columns]
    assert {"rho", "95% interval", "corrected p", "Donors", "Lots below detection", "Lots without value"} <= {*headings}
    detected = {row.cells[0].text: row.cells[headings.index("Lots below detection")].text for row in tables[0].rows}
    assert detected["mir-200a"] == "17 (71%)"
    missing = {row.cells[0].text: row.cells[headings.index("Lots without value")].text for row in tables[0].rows}
    assert missing["mir-26b"] == "6"


@pytest.mark.disclosure
def test_a_sites_edition_draws_and_lists_its_own_lots_only(airway: tuple[StudyData, ResultSet]) -> None:
    data, results = airway
    page = render_page(build_report(results, data, edition=Edition.of_site("site-02"))).decode()
    section = page[page.index('<section id="attributes"') : page.index('<section id="composition"')]
    others = [lot for lot, site in zip(data.lots, data.sites, strict=True) if site != "site-02"]
    assert [lot for lot in others if lot in section] == []
    assert "6 of the 24 lots with a value are shown; the others are in the statistic" in section


@pytest.mark.disclosure
def test_the_public_edition_has_no_lot_and_no_scatter(airway: tuple[StudyData, ResultSet]) -> None:
    section = _section(airway, "attributes", Edition.public())
    assert not any(isinstance(block, ModuleFigure) for block in section.blocks)


def test_each_potency_has_its_column_and_its_own_driver(several: tuple[StudyData, ResultSet]) -> None:
    section = _section(several, "potencies")
    words = _words(section)
    assert "tube formation: cluster 3" in words
    assert "T-cell suppression: cluster 1" in words
    assert "alizarin red: no cluster shown" in words
    assert "3 families were tested" in words
    assert "Over all 18 tests of all potencies together (Holm)" in words
    (figure,) = [block for block in section.blocks if isinstance(block, ModuleFigure)]
    assert len(figure.table.rows) == 18


def test_the_map_tells_sign_and_strength_without_colour(several: tuple[StudyData, ResultSet]) -> None:
    (figure,) = [block for block in _section(several, "potencies").blocks if isinstance(block, ModuleFigure)]
    (drawing,) = figure.drawings
    assert drawing.count('class="sign"') == 18 + 2  # one a cell, two in the key
    assert drawing.count(" ✓") == sum(row.cells[-1].text == "✓ significant" for row in figure.table.rows)
    assert "−0." in drawing


def test_one_potency_has_no_map(airway: tuple[StudyData, ResultSet]) -> None:
    data, results = airway
    assert results.potencies is None
    model = build_report(results, data, edition=Edition.coordinator())
    assert [section.identifier for section in model.characterisation] == ["attributes"]
