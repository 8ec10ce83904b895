"""A mapping as a person sees it in the terminal."""

from site_agent.cells.mapping_summary import MappingSummary

CLUSTER_COLUMNS = ("cluster", "cells", "share")


def cluster_rows(summary: MappingSummary) -> list[tuple[str, str, str]]:
    """Return one row a cluster, most cells first, then unassigned and the total."""
    clusters = sorted(summary.clusters, key=lambda each: -each.cells)
    rows = [
        (each.cluster, f"{each.cells:,}", "-" if each.share is None else f"{each.share:.1%}")
        for each in (*clusters, summary.unassigned)
    ]
    return [*rows, ("all cells after QC", f"{summary.cells.after_qc:,}", "")]
