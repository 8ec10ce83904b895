"""Moments of expression: which of a lot's may leave, and whether a report holds no others (SPEC 8.2).

A moment is a sum over cells, and a sum over few cells gives them back: of one expressing cell the mean is its value; of
two or three, mean, sum of squares and sum of counts are as many equations as unknowns. So, with
t = max(the small-count threshold, 10), under every profile:

1. A cluster sends moments if its count leaves exactly, by itself, and is at least the plan's minimum. Where a count is
   hidden, in steps or withheld, its moments would tell it; where counts bear noise, no cluster sends any.
2. A gene that 1 to t - 1 cells of the cluster express sends none of its moments; that it is such a gene does leave.
   Where 1 to t - 1 cells do not express it, the number of those that do stays.
3. A number of marker-high cells is hidden like any small count, and so is what it leaves of the next larger number that
   is known: the cluster's expressing cells, or else all its cells.
4. Moments leave with 9 significant digits.
5. What differs between two releases of one lot is moments of the cells that changed: moments of other cells, or under
   another atlas, than a release before are refused.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from protocol.modules.markers import ClusterMoments, HighCells, LotMarkers, MarkerPredictor, MarkersPlan
from protocol.policy import EffectiveRules
from protocol.report import Count, LotReport
from shared.statistics.arrays import FloatArray, IntArray
from shared.statistics.moments import Moments
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.suppression import CountTable, table_of
from site_agent.release.verdicts import RuleId, Verdict, failed, passed

SIGNIFICANT_DIGITS: Final = 9
FEWEST_EXPRESSING: Final = 10
_WIDEST_CELLS: Final = 10**9
_WIDEST_MOMENT: Final = 123456789000000.0  # 17 characters: no moment with 9 significant digits has more
_FIELD: Final = "markers"


def fewest_expressing(rules: EffectiveRules) -> int:
    """Return t: moments never rest on fewer expressing cells."""
    return max(rules.small_count.value, FEWEST_EXPRESSING)


def released_markers(
    moments: Moments | None, high_cells: IntArray | None, table: CountTable, rules: EffectiveRules
) -> LotMarkers:
    """Return what of a lot's moments may leave beside its table of counts.

    Parameters
    ----------
    moments, high_cells
        As the site's cells have them: one group a cluster, and marker-high cells (C + 1, G); None: the site has none.
    table
        The counts as they leave.
    rules
        The rules in force; the plan asks for markers.
    """
    plan = _plan(rules)
    if rules.noise is not None:  # exact numbers of cells would undo the noise on the counts (SPEC 5.13)
        moments = high_cells = None
    clusters = tuple(
        _nothing(place, len(plan.genes))
        if moments is None or not _may_send(part, plan, rules)
        else _cluster_moments(moments, place, fewest_expressing(rules))
        for place, part in enumerate(table.counts)
    )
    bounds = [] if high_cells is None else [_high(each, high_cells, clusters, table, rules) for each in plan.predictors]
    return LotMarkers(clusters=clusters, high_cells=tuple(bounds))


def without_moments(markers: LotMarkers | None, clusters: Sequence[int]) -> LotMarkers | None:
    """Return the markers less the moments of some clusters, and less the marker-high cells of these and of the lot."""
    if markers is None:
        return None
    return LotMarkers(
        clusters=tuple(
            _nothing(each.cluster, len(each.mean)) if each.cluster in clusters else each for each in markers.clusters
        ),
        high_cells=tuple(
            each.model_copy(update={"low": 0, "high": _WIDEST_CELLS})
            if clusters and (each.cluster is None or each.cluster in clusters)
            else each
            for each in markers.high_cells
        ),
    )


def without_repeated(report: LotReport, earlier: Sequence[EarlierRelease]) -> LotReport:
    """Return the report without any moment where an earlier release of the lot, with moments, was of other cells.

    The caller pads it.
    """
    if report.markers is None or not _differing(report, earlier):
        return report
    everything = range(len(report.markers.clusters))
    return report.model_copy(update={"markers": without_moments(report.markers, everything)})


def widest_markers(markers: LotMarkers | None) -> LotMarkers | None:
    """Return markers of the same genes and clusters with every number at its widest (SPEC 4.6)."""
    if markers is None:
        return None
    return LotMarkers(
        clusters=tuple(
            ClusterMoments(
                cluster=each.cluster,
                cells=_WIDEST_CELLS,
                mean=(_WIDEST_MOMENT,) * len(each.mean),
                m2=(_WIDEST_MOMENT,) * len(each.mean),
                sum_expm1=(_WIDEST_MOMENT,) * len(each.mean),
                nonzero=(_WIDEST_CELLS,) * len(each.mean),
            )
            for each in markers.clusters
        ),
        high_cells=tuple(
            each.model_copy(update={"low": _WIDEST_CELLS, "high": _WIDEST_CELLS}) for each in markers.high_cells
        ),
    )


def judge_markers(report: LotReport, rules: EffectiveRules, earlier: Sequence[EarlierRelease]) -> Verdict:
    """Say whether the moments of a report rest on enough cells, and give nothing back beside what left before."""
    plan, markers = rules.plan.modules.markers, report.markers
    if plan is None or markers is None:
        return passed(RuleId.MARKERS, "The report holds no moments.")
    if [each.cluster for each in markers.clusters] != list(range(len(report.counts))):
        return failed(RuleId.MARKERS, (f"{_FIELD}.clusters",), "Expected an entry for each cluster, sent or empty.")
    threshold = fewest_expressing(rules)
    offending = [
        name
        for each, part in zip(markers.clusters, report.counts, strict=True)
        for name in _offences(each, part, plan, rules, threshold)
    ]
    offending += _high_offences(report, markers, rules)
    if offending:
        reason = f"These rest on too few cells (fewer than {threshold}), or tell a count that is hidden."
        return failed(RuleId.MARKERS, tuple(dict.fromkeys(offending)), reason)
    differing = _differing(report, earlier)
    if differing:
        reason = (
            "Moments of this lot left before from other cells or clusters: their difference would show what changed."
        )
        return failed(RuleId.MARKERS, differing, reason)
    sent = sum(each.cells > 0 for each in markers.clusters)
    return passed(
        RuleId.MARKERS,
        f"Moments of {sent} of {len(report.counts)} clusters leave, each over at least {threshold} expressing cells.",
    )


def _plan(rules: EffectiveRules) -> MarkersPlan:
    plan = rules.plan.modules.markers
    if plan is None:
        raise ValueError("expected a plan that asks for markers")
    return plan


def _may_send(part: Count, plan: MarkersPlan, rules: EffectiveRules) -> bool:
    return part.is_exact and part.low >= max(plan.minimum_cells, rules.small_count.value)


def _nothing(cluster: int, genes: int) -> ClusterMoments:
    nulls = (None,) * genes
    return ClusterMoments(cluster=cluster, cells=0, mean=nulls, m2=nulls, sum_expm1=nulls, nonzero=nulls)


def _cluster_moments(moments: Moments, place: int, threshold: int) -> ClusterMoments:
    cells = int(moments.cells[place])
    missing = np.isnan(moments.mean[place])
    nonzero = np.nan_to_num(moments.nonzero[place]).astype(np.int64)
    few = ~missing & (nonzero > 0) & (nonzero < threshold)
    silent = missing | few
    nearly_all = (nonzero < cells) & (cells - nonzero < threshold)

    def column(values: FloatArray) -> tuple[float | None, ...]:
        return tuple(None if hidden else _rounded(float(value)) for value, hidden in zip(values, silent, strict=True))

    return ClusterMoments(
        cluster=place,
        cells=cells,
        mean=column(moments.mean[place]),
        m2=column(moments.m2[place]),
        sum_expm1=column(moments.sum_expm1[place]),
        nonzero=tuple(
            None if hidden else int(count) for count, hidden in zip(nonzero, silent | nearly_all, strict=True)
        ),
        few=tuple(np.flatnonzero(few).tolist()),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _high(
    asked: MarkerPredictor,
    high_cells: IntArray,
    clusters: Sequence[ClusterMoments],
    table: CountTable,
    rules: EffectiveRules,
) -> HighCells:
    place = None if asked.cluster is None else rules.plan.atlas.clusters.index(asked.cluster)
    gene = _plan(rules).genes.index(asked.gene)
    exact = int(high_cells[:, gene].sum()) if place is None else int(high_cells[place, gene])
    low, high = _hidden(max(exact, 0), gene, place, clusters, table, rules)
    if exact < 0:  # the lot's file lacks the gene
        low, high = 0, _WIDEST_CELLS
    return HighCells(gene=asked.gene, cluster=place, threshold=asked.threshold, low=low, high=high)


def _hidden(
    exact: int,
    gene: int,
    place: int | None,
    clusters: Sequence[ClusterMoments],
    table: CountTable,
    rules: EffectiveRules,
) -> tuple[int, int]:
    """Return the interval that holds a number of marker-high cells, or the number where none does."""
    for low, high in _intervals(gene, place, clusters, table, rules):
        if low <= exact <= high:
            return low, high
    return exact, exact


def _intervals(
    gene: int, place: int | None, clusters: Sequence[ClusterMoments], table: CountTable, rules: EffectiveRules
) -> list[tuple[int, int]]:
    """Return the intervals in which a number of marker-high cells is hidden; outside of them it leaves exactly."""
    threshold = fewest_expressing(rules)
    if place is None:
        if not table.total.is_exact:
            return [(0, _WIDEST_CELLS)]
        known = [each.nonzero[gene] if each.cells else None for each in clusters]
        told = [count for count in known if count is not None]
        whole = len(told) == len(known) and table.unassigned == Count.exactly(0)
        ceiling = sum(told) if whole else table.total.low
    else:
        sent = clusters[place]
        if not sent.cells:
            return [(0, _WIDEST_CELLS)]
        if gene in sent.few:
            return [(0, threshold - 1)]
        count = sent.nonzero[gene]
        ceiling = sent.cells if count is None else count
    if ceiling <= 2 * (threshold - 1) + 1:
        return [(1, ceiling - 1)] if ceiling > 1 else []
    return [(1, threshold - 1), (ceiling - threshold + 1, ceiling - 1)]


def _offences(sent: ClusterMoments, part: Count, plan: MarkersPlan, rules: EffectiveRules, threshold: int) -> list[str]:
    name = f"{_FIELD}.{sent.cluster}"
    if not sent.cells:
        values = (*sent.mean, *sent.m2, *sent.sum_expm1, *sent.nonzero, *sent.few)
        return [] if all(value is None for value in values) else [name]
    if not _may_send(part, plan, rules) or sent.cells != part.low:
        return [f"{name}.cells"]
    return [
        f"{name}.{plan.genes[gene]}"
        for gene, values in enumerate(zip(sent.mean, sent.m2, sent.sum_expm1, strict=True))
        if not _gene_may_leave(values, sent.nonzero[gene], sent.cells, threshold, few=gene in sent.few)
    ]


def _gene_may_leave(
    values: tuple[float | None, ...], nonzero: int | None, cells: int, threshold: int, *, few: bool
) -> bool:
    told = [value for value in values if value is not None]
    if few or not told:
        return not told and nonzero is None
    if len(told) != len(values) or any(value != _rounded(value) or value < 0 for value in told):
        return False
    if nonzero is None:
        return True
    if nonzero == 0:
        return not any(told)
    return nonzero >= threshold and (nonzero == cells or threshold <= cells - nonzero)


def _high_offences(report: LotReport, markers: LotMarkers, rules: EffectiveRules) -> list[str]:
    plan, names = _plan(rules), rules.plan.atlas.clusters
    asked = [(each.gene, None if each.cluster is None else names.index(each.cluster)) for each in plan.predictors]
    sent = [(each.gene, each.cluster) for each in markers.high_cells]
    thresholds = [each.threshold for each in plan.predictors]
    if sent and (sent != asked or [each.threshold for each in markers.high_cells] != thresholds):
        return [f"{_FIELD}.high_cells"]
    offending = []
    for each in markers.high_cells:
        hidden = _intervals(plan.genes.index(each.gene), each.cluster, markers.clusters, table_of(report), rules)
        bounds = (each.low, each.high)
        is_free = each.low == each.high and not any(low <= each.low <= high for low, high in hidden)
        if bounds not in [*hidden, (0, _WIDEST_CELLS)] and not is_free:
            offending.append(f"{_FIELD}.high_cells.{each.gene}")
    return offending


def _differing(report: LotReport, earlier: Sequence[EarlierRelease]) -> tuple[str, ...]:
    """Return the parts of the moments that a release before makes dangerous."""
    mine = report.markers
    if mine is None or not tells_of_cells(mine):
        return ()
    names: set[str] = set()
    for release in earlier:
        theirs = release.report.markers
        if theirs is None or not tells_of_cells(theirs):
            continue
        if not release.same_cells or release.report.atlas_sha256 != report.atlas_sha256:
            return (_FIELD,)
        cells = {each.cluster: each.cells for each in theirs.clusters if each.cells}
        names |= {
            f"{_FIELD}.{each.cluster}"
            for each in mine.clusters
            if each.cells and cells.get(each.cluster, each.cells) != each.cells
        }
        names |= {
            f"{_FIELD}.high_cells.{each.gene}"
            for each in mine.high_cells
            for other in theirs.high_cells
            if _is_told(each) and _is_told(other) and _nested(each, other)
        }
    return tuple(sorted(names))


def _nested(one: HighCells, other: HighCells) -> bool:
    """Return whether the difference of two numbers of marker-high cells would be a number of cells of its own."""
    if one.gene != other.gene:
        return False
    if one.cluster == other.cluster:
        return one.threshold != other.threshold
    return None in {one.cluster, other.cluster}


def tells_of_cells(markers: LotMarkers | None) -> bool:
    """Return whether markers hold any number that is exact for the lot's cells."""
    if markers is None:
        return False
    return any(each.cells for each in markers.clusters) or any(map(_is_told, markers.high_cells))


def _is_told(sent: HighCells) -> bool:
    return (sent.low, sent.high) != (0, _WIDEST_CELLS)
