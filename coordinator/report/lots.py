"""The lots of a study as one edition sees them: which, under what label, in which colour and shape, how potent.

Rules: a lot that the edition may not show gets no number here and so can stand in no figure and no table. Lots keep the
order of the study (site, then lot), and their numbers count shown lots only, so a gap cannot tell of a hidden one.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coordinator.report import texts
from coordinator.report.contents import SiteMark
from coordinator.report.edition import Edition
from coordinator.study_data import FloatArray, PotencyReplicates, StudyData
from protocol.results import EndpointCard, LotCounts
from shared.pages.contents import Cell, CellState
from shared.pages.rounding import count_text, share_interval_text
from shared.statistics.potency import Run, log_potency, log_relative_potency

_LONGEST_LABEL = 16
_SHORTEST_PREFIX = 6
_PSEUDONYM_DIGITS = 16
# Such a lot is out of one endpoint's analysis only: its composition stands, its potency is missing.
_OUT_FOR_ONE_ENDPOINT = frozenset({"no-potency", "no-reference"})


@dataclass(frozen=True, kw_only=True, eq=False)
class LotView:
    """The used lots of a study and, among them, those that an edition shows.

    ``used`` and ``shown`` are row numbers of ``data``; labels, names and numbers are those of ``shown``.
    """

    data: StudyData
    edition: Edition
    used: tuple[int, ...]
    shown: tuple[int, ...]
    labels: Mapping[int, str]  # by row: short, for figures
    names: Mapping[int, str]  # by row: for tables; a pseudonym's unique beginning, or the whole name
    sites: tuple[SiteMark, ...]
    validation: frozenset[int]  # rows
    log_potency: Mapping[str, FloatArray]  # by endpoint, (n_lots,), NaN where missing
    site_numbers: Mapping[str, int]  # by name, into ``sites``
    numbers: Mapping[int, int]  # by row: the number of a shown lot within the edition
    hidden_names: frozenset[str]  # of lots, donors and sites that the edition may not name, to check free text against

    def number(self, row: int) -> int:
        """Return the number of a shown lot within the edition."""
        return self.numbers[row]

    def site_mark(self, row: int) -> int:
        """Return the index in ``sites`` of a shown lot's site."""
        return self.site_numbers[self.data.sites[row]]

    def discovery_shown(self) -> tuple[int, ...]:
        """Return the shown rows that the discovery used."""
        return tuple(row for row in self.shown if row not in self.validation)

    def discovery_used(self) -> tuple[int, ...]:
        """Return all rows that the discovery used."""
        return tuple(row for row in self.used if row not in self.validation)

    def count_bounds(self, row: int, cluster: int | None) -> tuple[int, int]:
        """Return the number of cells of a cluster (None: unassigned) in a lot: its bounds, equal where exact."""
        data = self.data
        if cluster is None:
            return int(data.unassigned_low[row]), int(data.unassigned_high[row])
        return int(data.counts_low[row, cluster]), int(data.counts_high[row, cluster])

    def share_bounds(self, row: int, cluster: int | None) -> tuple[float, float]:
        """Return the share in per cent of a cluster (None: unassigned) in a lot: its bounds, equal where exact."""
        data = self.data
        low, high = self.count_bounds(row, cluster)
        least, most = int(data.totals_low[row]), int(data.totals_high[row])
        return 100 * low / most if most else 0.0, min(100.0, 100 * high / least) if least else 0.0

    def is_suppressed(self, row: int, cluster: int | None) -> bool:
        """Return whether the cluster's own count is hidden (a share is an interval, too, where only the total is)."""
        low, high = self.count_bounds(row, cluster)
        return low != high

    def share_cell(self, row: int, cluster: int | None) -> Cell:
        """Return a share as a table cell."""
        low, high = self.share_bounds(row, cluster)
        return Cell(share_interval_text(low, high), _state(*self.count_bounds(row, cluster)), (low + high) / 2)

    def count_cell(self, row: int, cluster: int | None) -> Cell:
        """Return a number of cells as a table cell; the share where no cells were counted."""
        if not self.data.counted:
            return self.share_cell(row, cluster)
        low, high = self.count_bounds(row, cluster)
        return Cell(count_text(low, high), _state(low, high), (low + high) / 2)

    def total_cell(self, row: int) -> Cell:
        """Return the number of all cells after QC as a table cell."""
        if not self.data.counted:
            return Cell(texts.SHARES_ONLY, CellState.NO_VALUE)
        low, high = int(self.data.totals_low[row]), int(self.data.totals_high[row])
        return Cell(count_text(low, high), CellState.PLAIN if low == high else CellState.SUPPRESSED, low)


def view_lots(
    data: StudyData,
    counts: LotCounts,
    endpoints: Sequence[EndpointCard],
    *,
    edition: Edition,
    validation_cohorts: Collection[str],
) -> LotView:
    """Return the lots of a study as an edition sees them.

    Parameters
    ----------
    data : StudyData
        All lots, in their order.
    counts : LotCounts
        Which lots were excluded.
    endpoints : sequence of EndpointCard
        The potencies, with the scale on which they entered.
    edition : Edition
        Who reads.
    validation_cohorts : collection of str
        The cohorts that took no part in discovery.
    """
    excluded = {(lot.site, lot.lot) for lot in counts.excluded if lot.code not in _OUT_FOR_ONE_ENDPOINT}
    used = tuple(row for row, name in enumerate(data.lots) if (data.sites[row], name) not in excluded)
    shown = tuple(row for row in used if edition.shows_lots_of(data.sites[row]))
    sites = sorted({data.sites[row] for row in shown})
    lots = [data.lots[row] for row in shown]
    within_sites = [within_site(data.lots[row], data.sites[row]) for row in shown]
    return LotView(
        data=data,
        edition=edition,
        used=used,
        shown=shown,
        labels=dict(zip(shown, short_labels(within_sites, longest=_LONGEST_LABEL), strict=True)),
        names=dict(zip(shown, short_labels(lots, longest=None), strict=True)),
        sites=tuple(
            SiteMark(name=name, style=style, n_lots=sum(data.sites[row] == name for row in shown))
            for style, name in enumerate(sites)
        ),
        validation=frozenset(row for row in used if data.cohorts[row] in validation_cohorts),
        log_potency={
            card.endpoint: log_potency_of_lots(data.potency[card.endpoint], relative="relative" in card.scale)
            for card in endpoints
        },
        site_numbers={name: number for number, name in enumerate(sites)},
        numbers={row: number for number, row in enumerate(shown)},
        hidden_names=_hidden_names(data, counts, edition),
    )


def log_potency_of_lots(replicates: PotencyReplicates, *, relative: bool) -> FloatArray:
    """Return each lot's log (relative) potency, ``(n_lots,)``; NaN where replicates or the reference's are absent."""
    values = []
    for lot in replicates.runs:
        runs = [Run(replicates=measured, reference=reference) for _, measured, reference in lot]
        if not runs or (relative and not all(run.reference for run in runs)):
            values.append(math.nan)
        else:
            values.append(log_relative_potency(runs) if relative else log_potency(runs))
    return np.array(values, dtype=np.float64)


def short_labels(names: Sequence[str], *, longest: int | None) -> tuple[str, ...]:
    """Return labels of lots: a unique beginning of each pseudonym, or the name; cut to its end where too long.

    >>> short_labels(["0123456789abcdef", "0123456fffffffff", "Lot 3", "site-01-lot-00003"], longest=12)
    ('01234567', '0123456f', 'Lot 3', '…1-lot-00003')
    """
    length = _SHORTEST_PREFIX
    pseudonyms = {name for name in names if _is_pseudonym(name)}
    while length < _PSEUDONYM_DIGITS and len({name[:length] for name in pseudonyms}) < len(pseudonyms):
        length += 1
    return tuple(name[:length] if name in pseudonyms else _cut(name, longest) for name in names)


def within_site(name: str, site: str) -> str:
    """Return a lot's name without the site's at its head: figures group and mark lots by site.

    >>> within_site("site-01-lot-3", "site-01"), within_site("lot-3", "site-01")
    ('lot-3', 'lot-3')
    """
    return name.removeprefix(site).lstrip("-_. ") or name


def _cut(name: str, longest: int | None) -> str:
    # The end of a name tells lots apart more often than its beginning.
    return name if longest is None or len(name) <= longest else "\N{HORIZONTAL ELLIPSIS}" + name[1 - longest :]


def _hidden_names(data: StudyData, counts: LotCounts, edition: Edition) -> frozenset[str]:
    known = zip(data.sites, data.lots, data.donors, strict=True)
    received = [*known, *((lot.site, lot.lot, lot.lot) for lot in counts.excluded)]
    hidden = [lot for lot in received if not edition.shows_lots_of(lot[0])]
    names = {name for _, *both in hidden for name in both}
    return frozenset(names if edition.names_sites else names | {site for site, *_ in received})


def _is_pseudonym(name: str) -> bool:
    return len(name) == _PSEUDONYM_DIGITS and all(character in "0123456789abcdef" for character in name)


def _state(low: float, high: float) -> CellState:
    if low != high:
        return CellState.SUPPRESSED
    return CellState.ZERO if low == 0 else CellState.PLAIN
