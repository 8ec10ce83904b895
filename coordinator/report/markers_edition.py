"""What an edition may hold of markers: means, differences and their tests are averages over lots (``edition``).

A cluster, and within it a gene, stands in an edition where enough lots of enough other sites sent moments of it. Fewer
would give the others' lots back: of three lots' mean difference, who knows two has the third.
"""

from collections.abc import Sequence

import numpy as np

from coordinator.report.edition import Edition
from coordinator.study_data import StudyData
from protocol.modules.markers_results import ClusterMarkers, MarkersResults


def edition_markers(
    found: MarkersResults | None, data: StudyData, rows: Sequence[int], edition: Edition
) -> MarkersResults | None:
    """Return the markers that an edition may hold; ``rows`` are the discovery's lots."""
    table = data.markers
    if found is None or table is None:
        return found
    clusters = []
    for cluster in found.clusters:
        place = data.clusters.index(cluster.cluster)
        sent = [row for row in rows if table.cells[row, place] > 0]
        if not edition.may_average([data.sites[row] for row in sent]):
            continue
        known = ~np.isnan(table.mean[sent, place])
        allowed = {
            gene
            for g, gene in enumerate(table.genes)
            if edition.may_average(
                [data.sites[row] for row, is_known in zip(sent, known[:, g], strict=True) if is_known]
            )
            or not known[:, g].any()
        }
        kept = tuple(row for row in cluster.rows if row.gene in allowed)
        clusters.append(cluster.model_copy(update={"rows": kept}))
    return found.model_copy(update={"clusters": tuple(clusters)})


def for_the_page(found: MarkersResults | None, *, most: int) -> MarkersResults | None:
    """Return the markers with at most so many rows in all; every row stands in ``results.json``."""
    if found is None or not found.clusters:
        return found
    each = max(most // len(found.clusters), 1)
    return found.model_copy(update={"clusters": tuple(_cut(cluster, each) for cluster in found.clusters)})


def _cut(cluster: ClusterMarkers, most: int) -> ClusterMarkers:
    return cluster.model_copy(update={"rows": cluster.rows[:most]})
