"""Whether a tissue expresses a marker: the rule by which it may speak on validation, decided before potency is read.

Of each lot the mean of log1p(1e4 x / library size) and the share of expressing cells count, in the discovered cluster
or over all clusters that sent moments; of a tissue, their medians over the lots that sent any. A lot in which fewer
cells express the gene than may be told counts as what stands for it: a few cells with one molecule each. A tissue of
which no lot sent moments cannot show that it expresses the marker and is not eligible.
"""

from collections.abc import Sequence

import numpy as np

from coordinator.study_data import MarkerTable, StudyData
from protocol.plan import MarkerRule
from shared.statistics.moments import Moments


def tissue_expresses(data: StudyData, rows: Sequence[int], cluster: int, rule: MarkerRule) -> tuple[bool, str]:
    """Return whether the lots of ``rows``, all of one tissue, express the rule's gene, and the reason in words."""
    where = f"in {data.clusters[cluster]}" if rule.within == "cluster" else "over all clusters"
    table = data.markers
    levels = [] if table is None else [_level(table, row, cluster, rule) for row in rows]
    told = [level for level in levels if not np.isnan(level[0])]
    if not told:
        return False, f"no lot sent moments of {rule.gene} {where}: not shown to be expressed"
    mean, share = (float(np.median([level[part] for level in told])) for part in (0, 1))
    enough, words = True, []
    if rule.minimum_mean is not None:
        enough = mean >= rule.minimum_mean
        words.append(f"mean log1p {mean:.2f}, at least {rule.minimum_mean:.2f} asked")
    if rule.minimum_expressing is not None:
        enough = enough and share >= rule.minimum_expressing
        words.append(f"{share:.0%} of cells, at least {rule.minimum_expressing:.0%} asked")
    said = "expressed" if enough else "silent"
    return enough, f"{rule.gene} {said} {where} (median over {len(told)} lots: {'; '.join(words)})"


def _level(table: MarkerTable, row: int, cluster: int, rule: MarkerRule) -> tuple[float, float]:
    """Return mean and share of expressing cells of one lot; NaN where it sent no moments."""
    gene = table.genes.index(rule.gene)
    chosen = np.flatnonzero(table.cells[row] > 0)
    if rule.within == "cluster":
        chosen = chosen[chosen == cluster]
    merged = Moments(
        cells=table.cells[row, chosen].astype(np.float64),
        mean=table.mean[row, chosen][:, [gene]],
        m2=table.m2[row, chosen][:, [gene]],
        sum_expm1=table.sum_expm1[row, chosen][:, [gene]],
        nonzero=table.nonzero[row, chosen][:, [gene]],
    ).merged()
    return float(merged.mean[0]), float(merged.share[0])
