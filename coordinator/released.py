"""What goes back to a site: aggregates as its edition may hold them, and of excluded lots its own only."""

from coordinator.analyse_command import Outcome
from coordinator.report.comparability_section import edition_comparability
from coordinator.report.edition import Edition, names_one_of
from coordinator.report.markers_edition import edition_markers
from protocol.identifiers import SiteId
from protocol.results import ResultSet


def results_for_site(outcome: Outcome, site: SiteId) -> ResultSet:
    """Return the results as they are released to ``site``."""
    lots = outcome.results.lots
    own = tuple(lot for lot in lots.excluded if lot.site == site)
    others = [lot for lot, owner in zip(outcome.data.lots, outcome.data.sites, strict=True) if owner != site]
    return outcome.results.model_copy(
        update={
            "lots": lots.model_copy(update={"excluded": own}),
            "warnings": tuple(text for text in outcome.results.warnings if not names_one_of(text, others)),
            "markers": edition_markers(
                outcome.results.markers, outcome.data, _discovery(outcome), Edition.of_site(site)
            ),
            "comparability": edition_comparability(outcome.results.comparability, outcome.data, Edition.of_site(site)),
        }
    )


def _discovery(outcome: Outcome) -> list[int]:
    data, excluded = outcome.data, {(lot.site, lot.lot) for lot in outcome.results.lots.excluded}
    return [
        row
        for row, (site, lot) in enumerate(zip(data.sites, data.lots, strict=True))
        if data.cohorts[row] not in outcome.validation_cohorts and (site, lot) not in excluded
    ]
