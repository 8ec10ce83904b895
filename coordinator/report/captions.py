"""What stands at the figures, in English: titles, axes, legends, and the sentence that says what each one shows."""

from collections.abc import Sequence

from coordinator.report import texts
from coordinator.report.sentences import cluster, count_of, listed, opening, tests


def forest_title(assay: str) -> str:
    """Return the forest plot's title."""
    return f"Rank correlation of each cluster's share with {assay}"


def forest_finding(significant: Sequence[str], dragged: Sequence[str], family: int, undefined: int) -> str:
    """Return what the forest plot shows; ``dragged`` pass the correction, but not with the lead set aside."""
    said = (
        f"None of {tests(family)} is significant after correction."
        if not significant
        else f"Significant after correction, among {tests(family)}: {listed(significant)}."
    )
    if dragged:
        said += f" Within the bound, but not with the lead set aside: {listed(dragged)}."
    if undefined:
        said += f" For {count_of(undefined, 'cluster')} {texts.RHO} is not defined (the share does not vary)."
    return said


def column_interval(confidence: str) -> str:
    """Return the heading of intervals."""
    return f"{confidence} interval"


def decides(alpha: str) -> str:
    """Return the bound that decides, for the head of its column."""
    return f"decides: ≤ {alpha}"


def potency_axis(assay: str, scale: str, unit: str) -> str:
    """Return the label of a potency axis."""
    return f"{assay}: {scale}" + ("" if "relative" in scale else f" [{unit}]")


def share_axis(name: str) -> str:
    """Return the label of a share axis."""
    return f"share of the lot in {cluster(name)} (%)"


def lead_title(name: str, assay: str) -> str:
    """Return the title of a leading cluster's scatter."""
    return f"Share of {cluster(name)} against {assay}, one mark a lot"


def lead_finding(name: str, statistic_text: str, shown: int, total: int, *, suppressed: int) -> str:
    """Return what a leading cluster's scatter shows."""
    said = f"{opening(cluster(name))}: {statistic_text}"
    said += (
        f"; all {total} lots are drawn." if shown == total else f" over {total} lots; {shown} of them are drawn here."
    )
    if suppressed:
        said += f" For {count_of(suppressed, 'lot')} the count is suppressed and drawn as its range."
    return said


def panels_title(assay: str) -> str:
    """Return the title of the small multiples."""
    return f"Share of every cluster against {assay}"


def panels_sentence(drawn: int, total: int) -> str:
    """Return how to read the small multiples."""
    which = f"The first {drawn} of {total} clusters" if drawn < total else "Clusters"
    return f"{which} in the order of the forest plot. Each panel has a share axis of its own; potency is on one scale."


def without_potency(n: int) -> str:
    """Return that lots could not be drawn."""
    return f"{count_of(n, 'lot has', 'lots have')} no value of this potency and cannot be drawn."


def composition_title() -> str:
    """Return the title of the composition figure."""
    return "Composition of lots, grouped by site"


def composition_finding(part: str, low: str, high: str, shown: int, suppressed: int) -> str:
    """Return what the composition figure shows of the leading cluster."""
    said = (
        f"Over the {count_of(shown, 'lot')} drawn, the share of {cluster(part)} runs from {low} to {high}."
        if shown > 1
        else f"In the lot drawn, the share of {cluster(part)} is {high}."
    )
    if suppressed:
        counts = count_of(suppressed, "count is", "counts are")
        said += f" {counts} suppressed: hatched, and as wide as the middle of the range."
    return said


def composition_means(shown: int) -> str:
    """Return why no single lot is drawn."""
    return (
        f"The {count_of(shown, 'lot')} are too many to draw one by one: means are drawn." if shown else texts.MEANS_ONLY
    )


def average_label(n: int) -> str:
    """Return the label of an average bar."""
    return f"mean of {n}"


def site_average_label(site: str, n: int) -> str:
    """Return the label of a site's average in a table."""
    return f"{site}, {average_label(n)}"


def average_group(role: str) -> str:
    """Return the heading over an average bar."""
    return f"All {role} lots"


def ranges_title() -> str:
    """Return the title of the leave-one-out figure."""
    return f"{texts.RHO} when one lot, or one site, is left out"


def ranges_finding(turning: Sequence[str], n: int) -> str:
    """Return what leaving out shows."""
    if not turning:
        return f"Leaving out any one lot or site turns the sign of none of {count_of(n, 'cluster')} drawn."
    return f"Leaving out one lot or site turns the sign for {listed(list(turning))}."


def validation_title(assay: str) -> str:
    """Return the title of the validation figure."""
    return f"Validation lots: share of the discovered cluster against {assay}"
