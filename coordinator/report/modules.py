"""The sections of the study modules, in the page's order: what describes lots and clusters, and what decides on lots.

A module that the study did not ask for has no section.
"""

from collections.abc import Callable
from typing import Final

from coordinator.report.attributes_section import attributes_section
from coordinator.report.comparability_section import section_of_comparability
from coordinator.report.lots import LotView
from coordinator.report.markers_section import markers_section
from coordinator.report.potencies_section import potencies_section
from coordinator.report.specification_section import specification_section
from protocol.results import ResultSet
from shared.pages.contents import ModuleSection
from shared.pages.numbering import Numbering

SectionMaker = Callable[[LotView, ResultSet, Numbering], ModuleSection | None]

CHARACTERISATION: Final[tuple[SectionMaker, ...]] = (potencies_section, markers_section, attributes_section)
"""After the panels of shares: potencies together, markers, attributes."""

DECISIONS: Final[tuple[SectionMaker, ...]] = (section_of_comparability, specification_section)
"""After validation: comparability, specification."""


def module_sections(
    makers: tuple[SectionMaker, ...], view: LotView, results: ResultSet, numbering: Numbering
) -> tuple[ModuleSection, ...]:
    """Return the sections that the study has, in the order of ``makers``."""
    sections = (maker(view, results, numbering) for maker in makers)
    return tuple(section for section in sections if section is not None)
