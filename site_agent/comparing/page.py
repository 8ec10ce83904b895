"""The comparison as one self-contained HTML file, without a script: the same comparison gives the same bytes."""

from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from types import SimpleNamespace
from typing import Final

from markupsafe import Markup

from shared.comparability import sentences
from shared.comparability.section import comparability_section
from shared.drawing.security import content_security_policy
from shared.pages.contents import Cell, Column, ModuleFigure, Row, Table
from shared.pages.numbering import Numbering
from shared.pages.rendering import (
    STYLE_SHEET,
    legend_mark,
    module_figure,
    page_environment,
    shared_template,
    table_blocks,
)
from site_agent.comparing.comparison import LeftOut, SiteComparison
from site_agent.comparing.given import Given

NOTHING_SENT: Final = "Made at this site from its own files. Nothing was sent."
_WORDS: Final = SimpleNamespace(FINDING="Finding", FIGURE="Figure", TABLE="Data", LIMITS="What this does not show")
_SHORT: Final = 12


@dataclass(frozen=True)
class Fact:
    """A label and its value; ``is_code`` for hashes and versions."""

    label: str
    value: str
    is_code: bool = False


def render_comparison(given: Given, compared: SiteComparison) -> bytes:
    """Return the page as UTF-8 HTML."""
    potency = f"{given.assay}, {'ln relative potency' if given.relative else f'ln {given.unit}'}"
    section = comparability_section(compared.findings, compared.lots, Numbering(), legend=(), potency=potency)
    figures = [block for block in section.blocks if isinstance(block, ModuleFigure)]
    style = shared_template(STYLE_SHEET)
    page = (
        page_environment(_template)
        .get_template("compare.html")
        .render(
            title=sentences.WORDS[compared.findings.outcome],
            change=given.criteria.change,
            section=section,
            figures=tuple(module_figure(figure, number) for number, figure in enumerate(figures, start=1)),
            facts=_facts(given, compared),
            left_out=_left_out(compared.left_out) if compared.left_out else None,
            nothing_sent=NOTHING_SENT,
            t=_WORDS,
            blocks=table_blocks,
            legend_mark=legend_mark,
            style=Markup(style),  # noqa: S704 - this house's own style sheet
            policy=content_security_policy(style=style),
        )
    )
    return page.encode("utf-8")


def _facts(given: Given, compared: SiteComparison) -> tuple[Fact, ...]:
    arms = compared.findings.arms
    facts = [
        Fact("Lots", f"{arms.lots_before} before, {arms.lots_after} after"),
        Fact("Left out", f"{len(compared.left_out)}"),
        Fact("Criteria", f"by the plan of {given.plan}" if given.plan else _criteria_without_plan(given)),
        Fact("Atlas", given.atlas.name),
        Fact("Atlas SHA-256", f"{given.atlas_sha256[:_SHORT]}…", is_code=True),
        Fact("Software", f"crosslot {version('crosslot')}", is_code=True),
    ]
    if given.consortium is not None:
        of = given.consortium
        facts += [
            Fact(
                "Consortium's ranges",
                f"{of.study}: {of.ranges.n} donors before of {of.ranges.sites} sites"
                + (", counts with noise" if of.ranges.noised else ""),
            ),
            Fact("Results SHA-256", f"{of.results_sha256[:_SHORT]}…", is_code=True),
        ]
    return tuple(facts)


def _criteria_without_plan(given: Given) -> str:
    return "those of the consortium's study" if given.consortium else "defaults, fixed by no plan"


def _left_out(left_out: tuple[LeftOut, ...]) -> Table:
    return Table(
        identifier="left-out",
        caption="Lots that were not compared",
        columns=(Column("Lot"), Column("Reason")),
        rows=tuple(Row((Cell(each.lot), Cell(each.reason))) for each in left_out),
    )


def _template(name: str) -> str:
    return (files("site_agent.comparing") / "templates" / name).read_text(encoding="utf-8")
