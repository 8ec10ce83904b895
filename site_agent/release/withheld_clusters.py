"""Clusters that a steward withholds beyond the rules: what still leaves of them is their order of magnitude.

A withheld part leaves as one interval of a fixed grid, [0, b0 - 1], [b0, b1 - 1], [b1, b2 - 1], ..., where bk is the
first step of the rules' own grid at or after max(10, t) * 10^k (SPEC 5.12; t: the small-count threshold). Each of these
intervals holds whole intervals of ``suppression``, and which one leaves depends on the part alone: like there, an
interval tells that its part lies within, and nothing more. The total is then as wide as its parts.

What no interval can hide is the choice itself: that a steward withheld just these clusters.
"""

from collections.abc import Collection
from typing import Final

from protocol.policy import EffectiveRules
from protocol.report import Count, LotReport
from shared.errors import InputError
from site_agent.release.marker_rules import without_moments
from site_agent.release.summaries import pad
from site_agent.release.suppression import hidden_below

_BASE: Final = 10
_MOST_CELLS: Final = 10**9


def withhold_clusters(report: LotReport, clusters: Collection[int], rules: EffectiveRules) -> LotReport:
    """Return the report with the counts of some clusters shown by their order of magnitude only.

    Parameters
    ----------
    report
        As the rules let it leave.
    clusters
        Positions in the atlas's order; none: the report itself.
    rules
        The rules in force.

    Raises
    ------
    InputError
        If the atlas has no such cluster.
    """
    if not clusters:
        return report
    unknown = sorted(position for position in clusters if not 0 <= position < len(report.counts))
    if unknown:
        raise InputError(
            f"withheld clusters: the atlas has no number {', '.join(map(str, unknown))}",
            hint=f"give numbers from 0 to {len(report.counts) - 1}",
        )
    counts = tuple(
        magnitude_of(count, rules) if position in clusters else count for position, count in enumerate(report.counts)
    )
    parts = (*counts, report.unassigned)
    total = Count(low=sum(part.low for part in parts), high=min(_MOST_CELLS, sum(part.high for part in parts)))
    markers = without_moments(report.markers, tuple(clusters))
    return pad(report.model_copy(update={"counts": counts, "cells_after_qc": total, "markers": markers}))


def magnitude_of(part: Count, rules: EffectiveRules) -> Count:
    """Return the order of magnitude that holds a part."""
    low = 0
    for bound in _bounds(rules):
        if part.low < bound:
            return Count(low=low, high=bound - 1)
        low = bound
    return Count(low=low, high=_MOST_CELLS)


def is_magnitude(part: Count, rules: EffectiveRules) -> bool:
    """Return whether a part is shown by its order of magnitude."""
    return not part.is_exact and part == magnitude_of(Count.exactly(part.low), rules)


def _bounds(rules: EffectiveRules) -> list[int]:
    threshold, step = hidden_below(rules), rules.count_step
    first = max(_BASE, threshold)
    powers = (first * _BASE**power for power in range(9))
    bounds = [threshold + -(-(power - threshold) // step) * step for power in powers]
    return [bound for bound in bounds if bound <= _MOST_CELLS]
