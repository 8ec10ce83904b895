"""What stands in one row where lots are listed: a lot, or the mean of many where single lots would burst the page.

Rules: single lots while there is room; then the mean of each site's lots; then the mean of all. Such a mean is made of
lots that the edition shows, so it needs no leave of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.report import captions, texts
from coordinator.report.lots import LotView
from shared.pages.contents import Cell, CellState
from shared.pages.rounding import decimal_text, share_interval_text

MOST_CELLS = 1_000


@dataclass(frozen=True, kw_only=True)
class LotGroup:
    """One lot (``lot`` is its number), or several whose mean is shown (``lot`` is None)."""

    label: str  # for figures
    name: str  # for tables
    lot: int | None
    site: int | None
    site_name: str
    rows: tuple[int, ...]


def lot_groups(view: LotView, rows: Sequence[int], columns: int) -> tuple[LotGroup, ...]:
    """Return what stands in the rows of a list of ``rows`` with so many cells in each."""
    if len(rows) * columns <= MOST_CELLS:
        return tuple(
            LotGroup(
                label=view.labels[row],
                name=view.names[row],
                lot=view.number(row),
                site=view.site_mark(row),
                site_name=view.data.sites[row],
                rows=(row,),
            )
            for row in rows
        )
    of_site: dict[int, list[int]] = {}
    for row in rows:
        of_site.setdefault(view.site_mark(row), []).append(row)
    if len(of_site) * columns <= MOST_CELLS:
        return tuple(
            LotGroup(
                label=captions.average_label(len(members)),
                name=captions.site_average_label(view.sites[site].name, len(members)),
                lot=None,
                site=site,
                site_name=view.sites[site].name,
                rows=tuple(members),
            )
            for site, members in sorted(of_site.items())
        )
    return (
        LotGroup(
            label=captions.average_label(len(rows)),
            name=captions.average_label(len(rows)),
            lot=None,
            site=None,
            site_name=texts.ALL_SITES,
            rows=tuple(rows),
        ),
    )


def mean_share(view: LotView, rows: Sequence[int], cluster: int | None) -> tuple[float, float]:
    """Return the mean share in per cent of a cluster over lots, as bounds, equal where every count is exact."""
    bounds = [view.share_bounds(row, cluster) for row in rows]
    return math.fsum(low for low, _ in bounds) / len(bounds), math.fsum(high for _, high in bounds) / len(bounds)


def any_suppressed(view: LotView, rows: Sequence[int], cluster: int | None) -> bool:
    """Return whether the cluster's own count is hidden in any of the lots."""
    return any(view.is_suppressed(row, cluster) for row in rows)


def mean_share_cell(view: LotView, rows: Sequence[int], cluster: int | None) -> Cell:
    """Return the mean share as a table cell; that of one lot is its share."""
    if len(rows) == 1:
        return view.share_cell(rows[0], cluster)
    low, high = mean_share(view, rows, cluster)
    state = CellState.SUPPRESSED if any_suppressed(view, rows, cluster) else CellState.PLAIN
    return Cell(share_interval_text(low, high), state, (low + high) / 2)


def mean_potency(view: LotView, rows: Sequence[int], endpoint: str) -> float:
    """Return the mean log potency of the lots that have one; NaN where none has."""
    values = [value for row in rows if not math.isnan(value := float(view.log_potency[endpoint][row]))]
    return math.fsum(values) / len(values) if values else math.nan


def mean_potency_cell(view: LotView, rows: Sequence[int], endpoint: str) -> Cell:
    """Return the mean log potency as a table cell."""
    value = mean_potency(view, rows, endpoint)
    if math.isnan(value):
        return Cell(texts.MISSING, CellState.MISSING, -math.inf)
    return Cell(decimal_text(value, 2), order=value)
