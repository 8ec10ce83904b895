"""The specification on the page: its word, its rates with n, and no lot of another site in another's edition."""

from dataclasses import replace
from functools import cache

import pytest

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.report.edition import Edition
from coordinator.report.model import build_report
from coordinator.report.page import render_page
from coordinator.study_data import StudyData
from protocol.identifiers import EndpointId, Sha256
from protocol.modules.asked import Modules
from protocol.modules.specification import SpecificationPlan
from protocol.plan import AnalysisPlan, AtlasReference, Cohort, CohortRole, Endpoint, Normalisation, Strata
from protocol.results import ResultSet
from shared.pages.contents import Finding, ModuleFigure, ModuleSection
from simulations.scenarios import scenario_named
from simulations.truth import replicate_generator, simulate_study, to_study_data

SCENARIO = scenario_named("specification")


@cache
def _study(limit: float) -> tuple[ResultSet, StudyData]:
    data = to_study_data(simulate_study(SCENARIO.model, SCENARIO.blocks, replicate_generator(5, 0)))
    analysis = AnalysisPlan(strata=Strata.SITE, draws=199, seed=3)
    endpoint = Endpoint(
        endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE
    )
    parameters = AnalysisParameters(
        study=study_card(
            study="a-study",
            title="A study",
            question="Which?",
            plan_sha256=Sha256("5e" * 32),
            atlas=AtlasReference(name="atlas", sha256=Sha256("a7" * 32), clusters=data.clusters),
            analysis=analysis,
        ),
        endpoints=(endpoint,),
        cohorts=(Cohort(cohort="discovery", role=CohortRole.DISCOVERY),),
        analysis=analysis,
        modules=Modules(specification=SpecificationPlan(endpoint=endpoint.endpoint, limit=limit)),
    )
    return analyse(data, parameters), data


def _section(edition: Edition, limit: float = 5.0) -> ModuleSection:
    report = build_report(*_study(limit), edition=edition)
    return next(section for section in report.decisions if section.identifier == "specification")


def test_the_word_the_threshold_and_the_rates_with_n_stand_first() -> None:
    section = _section(Edition.coordinator())
    assert section.outcome is not None
    assert (section.outcome.word, section.outcome.code) == ("A specification", "specification-threshold")
    findings = [block.text for block in section.blocks if isinstance(block, Finding)]
    assert "false pass" in findings[0]
    assert "32 donors" in findings[0]
    assert "resampled 2,000 times" in findings[1]
    assert any("does not replace" in sentence for sentence in section.limits)


def test_none_exists_is_said_in_plain_words() -> None:
    section = _section(Edition.coordinator(), 500.0)
    assert section.outcome is not None
    assert section.outcome.word == "None exists"
    assert "No specification exists" in section.outcome.headline


@pytest.mark.parametrize("edition", [Edition.public(), Edition.of_site("site-02")])
def test_an_edition_holds_no_other_sites_lot(edition: Edition) -> None:
    results, data = _study(5.0)
    section = _section(edition)
    figure = next(block for block in section.blocks if isinstance(block, ModuleFigure))
    page = render_page(build_report(results, data, edition=edition)).decode()
    part = page[page.index('<section id="specification"') : page.index('<section id="methods"')]
    for lot, site in zip(data.lots, data.sites, strict=True):
        shown = edition.shows_lots_of(site)
        assert (lot in part or lot.removeprefix(f"{site}-") in part) or not shown
        if not shown:
            assert lot not in part
    assert figure.drawings[0].count("data-lot") == sum(edition.shows_lots_of(site) for site in data.sites)
    assert figure.table.rows  # a figure always has its numbers


def test_a_study_that_did_not_ask_has_no_section() -> None:
    results, data = _study(5.0)
    report = build_report(results.model_copy(update={"specification": None}), data, edition=Edition.coordinator())
    assert all(section.identifier != "specification" for section in report.decisions)


def test_suppressed_lots_are_drawn_as_ranges() -> None:
    results, data = _study(5.0)
    low, high = data.counts_low.copy(), data.counts_high.copy()
    low[0, 3], high[0, 3] = low[0, 3] - 40, high[0, 3] + 40
    hidden = replace(data, counts_low=low, counts_high=high)
    report = build_report(results, hidden, edition=Edition.coordinator())
    section = next(each for each in report.decisions if each.identifier == "specification")
    figure = next(block for block in section.blocks if isinstance(block, ModuleFigure))
    plain = next(block for block in _section(Edition.coordinator()).blocks if isinstance(block, ModuleFigure))
    assert figure.drawings[0].count('class="hatched"') == plain.drawings[0].count('class="hatched"') + 1
