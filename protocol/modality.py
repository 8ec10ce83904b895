"""What of a study needs counts: with an atlas of morphology it cannot be asked, and is named before anyone is."""

from protocol.cell_limits import limits_of_counts
from protocol.plan import StudyPlan


def needs_counts(plan: StudyPlan) -> tuple[str, ...]:
    """Return the parts of a plan that need counts."""
    markers = ("modules.markers",) if plan.modules.markers is not None else ()
    return limits_of_counts(plan.quality) + markers
