"""Hiding small counts, and what a table of hidden counts gives back.

The table of a lot is its count per cluster, the unassigned cells, and their sum, the cells after QC. Rules:

1. SPEC 5.4, primary: a part of 1 to t - 1 cells (t: the small-count threshold) leaves as the interval [1, t - 1]; where
   zeros are hidden, or the interval would be a single value, a part of 0 to t - 1 cells leaves as [0, t - 1].
2. SPEC 5.5: where counts leave in steps of s, a part of t cells or more leaves as the one of [t, t + s - 1],
   [t + s, t + 2s - 1], ... that holds it.
3. SPEC 5.6, complementary: the sum leaves as the interval from the sum of the lower ends to the sum of the upper ends.
   Shares sum to one, so an exact sum gives a single hidden count back: of [1200, 500, 290, 7, 3] and 2,000 with only
   the 3 hidden, 2,000 - 1,997 = 3. The complement is always the sum, never a second cluster: which cluster one picks,
   and how wide one must make it, would depend on the hidden values and so tell of them. Hiding a part of 3 cells this
   way costs every other share a relative uncertainty of a few cells in the lot.
4. SPEC 5.7, closure: no solver narrows a part inside its interval, whatever it knows of earlier releases of the same
   cells (``implied_bounds``).

Every interval is a function of its own part alone, so an interval tells that its part lies within, and nothing more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocol.identifiers import Sha256
from protocol.policy import EffectiveRules
from protocol.report import Count, LotReport


@dataclass(frozen=True, kw_only=True)
class CountTable:
    """The counts of one lot as they may leave.

    Attributes
    ----------
    counts
        One for each cluster of the atlas, in its order.
    unassigned
        Cells that no cluster claims.
    total
        Cells after QC: all of the above.
    """

    counts: tuple[Count, ...]
    unassigned: Count
    total: Count


def hide_small_counts(counts: Sequence[int], unassigned: int, rules: EffectiveRules) -> CountTable:
    """Return the table of a lot's exact counts as the rules let it leave.

    Parameters
    ----------
    counts
        Cells of each cluster, in the atlas's order.
    unassigned
        Cells of no cluster.
    rules
        The rules in force.
    """
    hidden = tuple(interval_of(cells, rules) for cells in counts)
    rest = interval_of(unassigned, rules)
    return CountTable(counts=hidden, unassigned=rest, total=_sum((*hidden, rest)))


def interval_of(cells: int, rules: EffectiveRules) -> Count:
    """Return how a part of ``cells`` cells leaves (SPEC 5.4, 5.5)."""
    threshold = hidden_below(rules)
    if cells < threshold:
        floor = lowest_hidden(rules)
        return Count(low=floor, high=threshold - 1) if cells >= floor else Count.exactly(cells)
    step = rules.count_step
    low = threshold + (cells - threshold) // step * step
    return Count(low=low, high=low + step - 1)


def hidden_below(rules: EffectiveRules) -> int:
    """Return the smallest part that is not a small count; 0 where nothing is hidden."""
    threshold = rules.small_count.value
    if rules.zeros_hidden:
        return max(threshold, 2)
    return threshold if threshold > 1 else 0


def lowest_hidden(rules: EffectiveRules) -> int:
    """Return the lower end of a hidden part's interval: 0 where zeros are hidden with it, or else 1."""
    # With a threshold of 2 only the count 1 would be hidden: an interval of one value hides nothing.
    return 0 if rules.zeros_hidden or hidden_below(rules) == 2 else 1  # noqa: PLR2004 - said above


def implied_bounds(
    current: CountTable, earlier: Iterable[tuple[Sha256, CountTable]], atlas: Sha256
) -> CountTable | None:
    """Return the tightest bounds that all releases of the same cells together give on the current one.

    Parameters
    ----------
    current
        The table that would leave.
    earlier
        The tables of the same cells that have left, each with the atlas that they were mapped onto.
    atlas
        The atlas of ``current``.

    Returns
    -------
    CountTable or None
        For every part of ``current``, the least and the greatest value that it has in any table of whole numbers which
        agrees with everything released; None where no table agrees.

    Notes
    -----
    All releases of the same cells share one total T; those under one atlas share their parts x_i too. With the
    intervals [l_i, h_i] of each atlas intersected over its releases, a table exists for a given T exactly if every
    atlas has sum l_i <= T <= sum h_i, since the sum of whole numbers within intervals takes every value between. So T
    ranges over the intersection [T_low, T_high] of these and of the declared totals. A part x_i of the current atlas
    can then be exactly those values of [l_i, h_i] for which the others can make up T - x_i for some such T: from
    max(l_i, T_low - sum of the others' h) to min(h_i, T_high - sum of the others' l). No solver does better.
    """
    by_atlas: dict[Sha256, list[Count]] = {atlas: [*current.counts, current.unassigned]}
    low, high = current.total.low, current.total.high
    for other, table in earlier:
        parts = [*table.counts, table.unassigned]
        known = by_atlas.setdefault(other, parts)
        met = [_meet(mine, theirs) for mine, theirs in zip(known, parts, strict=True)]
        if any(part is None for part in met):
            return None
        by_atlas[other] = [part for part in met if part is not None]
        low, high = max(low, table.total.low), min(high, table.total.high)
    for parts in by_atlas.values():
        total = _sum(parts)
        low, high = max(low, total.low), min(high, total.high)
    if low > high:
        return None
    parts, total = by_atlas[atlas], _sum(by_atlas[atlas])
    bounds = tuple(
        Count(
            low=max(part.low, low - (total.high - part.high)),
            high=min(part.high, high - (total.low - part.low)),
        )
        for part in parts
    )
    return CountTable(counts=bounds[:-1], unassigned=bounds[-1], total=Count(low=low, high=high))


def table_of(report: LotReport) -> CountTable:
    """Return the table of counts that a report carries."""
    return CountTable(counts=report.counts, unassigned=report.unassigned, total=report.cells_after_qc)


def named_parts(table: CountTable) -> list[tuple[str, Count]]:
    """Return the parts of a table under the dotted names of the report's fields."""
    named = [(f"counts.{position}", part) for position, part in enumerate(table.counts)]
    return [*named, ("unassigned", table.unassigned)]


def _sum(parts: Sequence[Count]) -> Count:
    return Count(low=sum(part.low for part in parts), high=sum(part.high for part in parts))


def _meet(one: Count, other: Count) -> Count | None:
    low, high = max(one.low, other.low), min(one.high, other.high)
    return Count(low=low, high=high) if low <= high else None
