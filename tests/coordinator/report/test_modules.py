"""A study module's section stands on the page in its place, with its figures numbered among the others."""

from dataclasses import replace

from markupsafe import Markup

from coordinator.report.contents import ReportModel
from coordinator.report.edition import Edition
from coordinator.report.model import build_report
from coordinator.report.page import render_page
from shared.pages.contents import Cell, Column, Finding, ModuleFigure, ModuleOutcome, ModuleSection, Row, Table
from tests.coordinator.report.conftest import Study

TABLE = Table(
    "of-module", "What it says", (Column("Lot"), Column("Value", numeric=True)), (Row((Cell("L1"), Cell("2"))),)
)


def _model(study: Study) -> ReportModel:
    return build_report(study.results, study.data, edition=Edition.coordinator())


def _section(identifier: str) -> ModuleSection:
    return ModuleSection(
        identifier=identifier,
        heading=f"Heading of {identifier}",
        outcome=ModuleOutcome(code="SOME_CODE", word="Some word", icon="●", headline="One <sentence>."),
        blocks=(
            "A plain sentence.",
            Finding(number=99, text="A finding of the module."),
            ModuleFigure(
                title="A figure of the module",
                finding=None,
                sentences=("Its sentence.",),
                drawings=(Markup('<svg role="img" id="drawn-here"></svg>'),),
                table=TABLE,
            ),
        ),
        limits=("It does not show everything.",),
    )


def test_sections_of_modules_stand_in_their_places_with_their_figures(pbmc: Study) -> None:
    model = replace(_model(pbmc), characterisation=(_section("early"),), decisions=(_section("late"),))
    page = render_page(model).decode()
    order = [
        page.index(f'<section id="{name}"') for name in ("study", "forest", "early", "composition", "late", "methods")
    ]
    assert order == sorted(order)
    early = page[page.index('<section id="early"') : page.index('<section id="composition"')]
    assert "One &lt;sentence&gt;." in early
    assert early.count('id="drawn-here"') == 1
    assert "It does not show everything." in early
    assert '<a href="#late">Heading of late</a>' in page
    numbers = [part.split('"')[0] for part in page.split('<figure id="figure-')[1:]]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]


def test_a_study_without_modules_has_none_of_their_sections(pbmc: Study) -> None:
    assert 'class="module"' not in render_page(_model(pbmc)).decode()
