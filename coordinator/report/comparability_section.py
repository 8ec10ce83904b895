"""The section on comparability: what was found over all sites, and the lots that the edition may show.

Rules
-----
- The differences, and the ranges of the lots before, are averages over lots. They stand in an edition only where enough
  lots of enough sites, on either side of the change, are behind what its reader does not know already; otherwise the
  section says so and the edition's results hold none of it.
- Lots are those that the edition shows, each against the lots before of its own site: of another site's lots nothing
  enters a mark.
"""

from coordinator.modules.comparability import compared_lots, compared_rows
from coordinator.report.edition import Edition
from coordinator.report.lots import LotView
from coordinator.report.verdicts import endpoint_card
from coordinator.study_data import StudyData
from protocol.modules.comparability import Arm
from protocol.modules.comparability_results import ComparabilityResults
from protocol.results import ResultSet
from shared.comparability.section import HEADING, IDENTIFIER, comparability_section
from shared.comparability.shown import LotLook, shown_lots
from shared.comparability.units import units_of_lots
from shared.pages.contents import ModuleOutcome, ModuleSection
from shared.pages.numbering import Numbering

_WITHHELD_WORD = "Not told in this edition"
_WITHHELD = (
    "The comparison rests on lots of too few other sites: its averages would tell of them. It is in the coordinator's "
    "edition."
)


def section_of_comparability(view: LotView, results: ResultSet, numbering: Numbering) -> ModuleSection | None:
    """Return the section, or None where the study did not ask."""
    compared = results.comparability
    if compared is None:
        return None
    if edition_comparability(compared, view.data, view.edition) is None:
        return ModuleSection(
            identifier=IDENTIFIER,
            heading=HEADING,
            outcome=ModuleOutcome(code="not-told", word=_WITHHELD_WORD, icon="–", headline=_WITHHELD),
            blocks=(),
            limits=(),
        )
    card = endpoint_card(results, compared.endpoint)
    potency = view.log_potency[compared.endpoint]
    rows = compared_rows(view.data, view.used, potency)
    lots = compared_lots(view.data, rows, potency)
    looks = {
        position: LotLook(
            label=view.names[row],
            site=view.data.sites[row],
            style=view.sites[view.site_mark(row)].style,
            number=view.number(row),
        )
        for position, row in enumerate(rows)
        if row in view.numbers
    }
    n_parts = len(view.data.clusters)
    return comparability_section(
        compared.findings,
        shown_lots(lots, units_of_lots(lots, n_parts), looks, n_parts),
        numbering,
        legend=tuple(sorted({view.site_mark(rows[position]) for position in looks})),
        potency=f"{card.assay}, {card.scale}",
    )


def edition_comparability(
    compared: ComparabilityResults | None, data: StudyData, edition: Edition
) -> ComparabilityResults | None:
    """Return the comparison if an edition may hold it; None where its averages rest on too few unseen lots."""
    if compared is None or data.arms is None:
        return compared
    sides = [[site for site, arm in zip(data.sites, data.arms, strict=True) if arm is each] for each in Arm]
    return compared if all(not sites or edition.may_average(sites) for sites in sides) else None
