"""What of a study needs counts: with an atlas of morphology it cannot be asked, and is named before anyone is."""

from protocol.plan import QualityLimits, StudyPlan


def limits_of_counts(limits: QualityLimits) -> tuple[str, ...]:
    """Return the limits of quality that only counts can be held to, by their names in a plan."""
    asked = {
        "quality.minimum_counts_per_cell": limits.minimum_counts_per_cell > 0,
        "quality.minimum_genes_per_cell": limits.minimum_genes_per_cell > 0,
        "quality.maximum_mitochondrial_share": limits.maximum_mitochondrial_share < 1,
    }
    return tuple(name for name, is_set in asked.items() if is_set)


def needs_counts(plan: StudyPlan) -> tuple[str, ...]:
    """Return the parts of a plan that need counts."""
    markers = ("modules.markers",) if plan.modules.markers is not None else ()
    return limits_of_counts(plan.quality) + markers
