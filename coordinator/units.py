"""From lots to units of analysis: which lots are in, what one potency is, and which lots are one unit.

Rules
-----
- A lot is in when its cohort is asked for, its tissue belongs to the cohort, it has cells, and it has potency by the
  declared normalisation. Every lot that is out is named with its reason.
- The unit is the donor. Lots of one donor within one stratum become one unit: the mean of their shares (every lot
  weighs the same) and the mean of their log potencies. Two lots of one donor taken as independent would give a type-I
  error of .13 where .05 is declared.
- A stratum is what the plan says: site and tissue unless it says otherwise. A donor with lots in two strata makes two
  units, and a warning says so.
- A suppressed count stands at the middle of its interval; bounds are the business of the sensitivity analysis.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import assert_never

import numpy as np

from coordinator.study_data import FloatArray, IntArray, StudyData
from protocol.identifiers import SiteId
from protocol.plan import Cohort, Endpoint, Normalisation, Strata
from protocol.results import ExcludedLot
from shared.statistics.composition import mean_shares
from shared.statistics.potency import Run, log_potency, log_relative_potency


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """One endpoint's units, sorted by stratum and donor.

    Attributes
    ----------
    parts : (n, C + 1) float
        Mean share of each unit in every cluster of the atlas, and unassigned last.
    family : (K,) int
        The columns of ``parts`` that are tested.
    cells : (n,) float
        Cells of all lots of the unit.
    potency : (n,) float
        Mean log potency.
    strata, sites, tissues, donors : tuple of str, n
        The site of a unit whose lots come from several sites (strata without site) is that of its first lot.
    lots : tuple of (m,) int, n
        The rows of the study's data that make up each unit.
    lot_potency : (n_lots,) float
        The log potency of every row of the study's data; NaN where it has none or is out.
    """

    parts: FloatArray
    family: IntArray
    cells: FloatArray
    potency: FloatArray
    strata: tuple[str, ...]
    sites: tuple[str, ...]
    tissues: tuple[str, ...]
    donors: tuple[str, ...]
    lots: tuple[IntArray, ...]
    lot_potency: FloatArray

    @property
    def shares(self) -> FloatArray:
        """The shares of the clusters of the family, (n, K)."""
        return self.parts[:, self.family]

    @property
    def rows(self) -> IntArray:
        """The rows of the study's data that are in, unit by unit."""
        return np.concatenate(self.lots) if self.lots else np.zeros(0, dtype=np.int64)

    @property
    def n_lots(self) -> int:
        """How many lots the units hold."""
        return sum(len(rows) for rows in self.lots)


def rows_of_cohorts(data: StudyData, cohorts: Sequence[Cohort]) -> tuple[list[int], list[ExcludedLot]]:
    """Return the rows whose lots belong to one of ``cohorts`` and have cells, and the lots that are out, with reasons.

    A lot of a cohort that is not asked for is neither: it is another question's.
    """
    wanted = {cohort.cohort: cohort for cohort in cohorts}
    rows: list[int] = []
    out: list[ExcludedLot] = []
    for row, name in enumerate(data.cohorts):
        cohort = wanted.get(name)
        if cohort is None:
            continue
        if cohort.tissues and data.tissues[row] not in cohort.tissues:
            out.append(
                _excluded(
                    data,
                    row,
                    "tissue-outside-cohort",
                    f"its tissue {data.tissues[row]} is none of cohort {name}'s ({', '.join(cohort.tissues)})",
                )
            )
        elif data.totals_low[row] + data.totals_high[row] == 0:
            out.append(_excluded(data, row, "no-cells", "no cell passed quality control"))
        else:
            rows.append(row)
    return rows, out


def units_of(
    data: StudyData, rows: Sequence[int], endpoint: Endpoint, strata: Strata, family: Sequence[int]
) -> tuple[Units, list[ExcludedLot]]:
    """Return the units of ``endpoint`` over ``rows``, and the lots left out; ``family`` holds the tested columns."""
    potency = np.full(len(data.lots), np.nan)
    out: list[ExcludedLot] = []
    groups: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        runs = lot_runs(data, row, endpoint)
        if not runs:
            out.append(_excluded(data, row, "no-potency", f"no value of endpoint {endpoint.endpoint}"))
        elif endpoint.normalisation is Normalisation.RUN_REFERENCE and not all(run.reference for run in runs):
            out.append(
                _excluded(
                    data,
                    row,
                    "no-reference",
                    f"endpoint {endpoint.endpoint} is relative to the run's reference standard, which a run lacks",
                )
            )
        else:
            relative = endpoint.normalisation is Normalisation.RUN_REFERENCE
            potency[row] = log_relative_potency(runs) if relative else log_potency(runs)
            groups.setdefault((stratum_of(data, row, strata), data.donors[row]), []).append(row)
    keys = sorted(groups)
    lots = tuple(np.array(groups[key], dtype=np.int64) for key in keys)
    firsts = [int(members[0]) for members in lots]
    cells, totals = doubled_cells(data)
    return Units(
        parts=mean_shares(cells, totals, lots),
        family=np.array(family, dtype=np.int64),
        cells=np.array([totals[members].sum() / 2.0 for members in lots]),
        potency=np.array([round(fsum(potency[members]) / len(members), 12) for members in lots]),
        strata=tuple(stratum for stratum, _ in keys),
        sites=tuple(data.sites[first] for first in firsts),
        tissues=tuple(data.tissues[first] for first in firsts),
        donors=tuple(donor for _, donor in keys),
        lots=lots,
        lot_potency=potency,
    ), out


def doubled_cells(data: StudyData) -> tuple[IntArray, IntArray]:
    """Return twice the cells of every lot in each cluster, unassigned last, (n_lots, C + 1), and in all, (n_lots,).

    Twice the middle of an interval is an integer, so that shares of suppressed counts stay exact quotients.
    """
    parts = np.column_stack([data.counts_low + data.counts_high, data.unassigned_low + data.unassigned_high])
    return parts, data.totals_low + data.totals_high


def lot_runs(data: StudyData, row: int, endpoint: Endpoint) -> tuple[Run, ...]:
    """Return the runs of one endpoint of one lot; empty where it has none."""
    potency = data.potency.get(endpoint.endpoint)
    if potency is None:
        return ()
    return tuple(Run(replicates=values, reference=reference) for _, values, reference in potency.runs[row])


def stratum_of(data: StudyData, row: int, strata: Strata) -> str:
    """Return the label of the stratum that a lot belongs to."""
    match strata:
        case Strata.SITE_AND_TISSUE:
            return f"{data.sites[row]} / {data.tissues[row]}"
        case Strata.SITE:
            return data.sites[row]
        case Strata.TISSUE:
            return data.tissues[row]
        case Strata.NONE:
            return ""
        case _:
            assert_never(strata)


def donors_in_several_strata(units: Units) -> tuple[str, ...]:
    """Return the donors that make more than one unit, sorted."""
    return tuple(sorted(donor for donor, times in Counter(units.donors).items() if times > 1))


def _excluded(data: StudyData, row: int, code: str, reason: str) -> ExcludedLot:
    return ExcludedLot(lot=data.lots[row], site=SiteId(data.sites[row]), code=code, reason=reason)
