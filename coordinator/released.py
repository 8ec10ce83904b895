"""What goes back to a site: aggregates as its edition may hold them, and of excluded lots its own only."""

from coordinator.analyse_command import Outcome
from coordinator.report.comparability_section import edition_comparability
from coordinator.report.edition import Edition, names_one_of
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
            "comparability": edition_comparability(outcome.results.comparability, outcome.data, Edition.of_site(site)),
        }
    )
