"""The answer as plain rows for a console, rounded as on the page."""

from coordinator.report import texts
from coordinator.report.verdicts import outcome
from protocol.results import ResultSet
from shared.pages.rounding import interval_text, p_text, rho_text

ASSOCIATION_COLUMNS = (
    texts.COLUMN_ENDPOINT,
    texts.COLUMN_CLUSTER,
    texts.COLUMN_LOTS,
    texts.COLUMN_RHO,
    texts.COLUMN_INTERVAL,
    texts.COLUMN_P,
    texts.COLUMN_ADJUSTED,
    texts.COLUMN_SIGNIFICANT,
)
MARKER_COLUMNS = (texts.COLUMN_CLUSTER, texts.COLUMN_LOTS, "genes higher than in the rest", "genes lower")
ATTRIBUTE_COLUMNS = (
    texts.COLUMN_ENDPOINT,
    "Family",
    "Attribute",
    texts.COLUMN_LOTS,
    "below LOD",
    texts.COLUMN_RHO,
    texts.COLUMN_INTERVAL,
    texts.COLUMN_P,
    texts.COLUMN_ADJUSTED,
    texts.COLUMN_SIGNIFICANT,
)
VALIDATION_COLUMNS = (
    texts.COLUMN_ENDPOINT,
    texts.COLUMN_CLUSTER,
    texts.COLUMN_TISSUE,
    texts.COLUMN_LOTS,
    texts.COLUMN_RHO,
    texts.COLUMN_P,
    texts.COLUMN_STATE,
)


def association_rows(results: ResultSet) -> list[tuple[str, ...]]:
    """Return every association, best first within its endpoint, in the order of ``ASSOCIATION_COLUMNS``."""
    return [
        (
            row.endpoint,
            row.cluster,
            f"{row.n_lots:,}",
            rho_text(row.rho),
            interval_text(row.ci_low, row.ci_high),
            p_text(row.p_value),
            p_text(row.p_adjusted, alpha=results.study.alpha),
            texts.SIGNIFICANT if row.significant else texts.NOT_SIGNIFICANT,
        )
        for row in results.associations
    ]


def comparability_lines(results: ResultSet) -> tuple[str, ...]:
    """Return the comparison's outcome, its evidence and what would be needed next; empty where none was asked for."""
    if results.comparability is None:
        return ()
    findings = results.comparability.findings
    return (
        f"{findings.outcome.value}: {findings.sentence}",
        *findings.notes,
        *(f"Next: {step}" for step in findings.next_steps),
    )


def attribute_rows(results: ResultSet) -> list[tuple[str, ...]]:
    """Return every attribute, best first within its family, in the order of ``ATTRIBUTE_COLUMNS``."""
    found = results.attributes.associations if results.attributes else ()
    return [
        (
            row.endpoint,
            row.family,
            row.attribute,
            f"{row.n_lots:,}",
            f"{row.below_detection_lots:,}",
            rho_text(row.rho),
            interval_text(row.ci_low, row.ci_high),
            p_text(row.p_value),
            p_text(row.p_adjusted, alpha=results.study.alpha),
            texts.SIGNIFICANT if row.significant else texts.NOT_SIGNIFICANT,
        )
        for row in found
    ]


def marker_rows(results: ResultSet) -> list[tuple[str, ...]]:
    """Return the markers of every cluster that sent moments, in the order of ``MARKER_COLUMNS``."""
    rows: list[tuple[str, ...]] = []
    for cluster in results.markers.clusters if results.markers else ():
        higher = [row.gene for row in cluster.rows if row.significant and (row.difference or 0.0) > 0]
        lower = [row for row in cluster.rows if row.significant and (row.difference or 0.0) < 0]
        lowest = [row.gene for row in sorted(lower, key=lambda row: (row.difference or 0.0, row.gene))]
        rows.append(
            (
                cluster.cluster,
                f"{cluster.n_lots:,}",
                f"{len(higher)}: {', '.join(higher[:3])}" if higher else "0",
                f"{len(lowest)}: {', '.join(lowest[:3])}" if lowest else "0",
            )
        )
    return rows


def validation_rows(results: ResultSet) -> list[tuple[str, ...]]:
    """Return every validation row, in the order of ``VALIDATION_COLUMNS``; empty where nothing was validated."""
    return [
        (
            row.endpoint,
            row.cluster,
            row.tissue or texts.ALL_TISSUES,
            f"{row.n_lots:,}",
            rho_text(row.rho),
            p_text(row.p_value, alpha=results.study.alpha),
            outcome(row),
        )
        for row in results.validation
    ]
