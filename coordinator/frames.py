"""Plain tables to study data, with every problem named at once.

Counts: one row a lot. Columns ``lot`` and ``site``; ``donor`` (absent or empty: the lot is its donor), ``tissue``,
``cohort`` (discovery or validation; empty: discovery), ``arm`` (before or after a change of process; empty: neither)
and ``cells`` (all cells after QC) where known; every other column is a cluster, ``unassigned`` among them where known.
Without ``cells`` the parts are the whole; with ``cells`` and without ``unassigned`` the rest is unassigned.

Potency: one row a well. Columns ``lot``, ``assay``, ``value``, ``unit``; ``replicate``, ``run`` and ``is_reference``
where known. Each assay is an endpoint. Rows of the reference standard carry their run and no lot; an assay with such
rows is read relative to the reference of the same run.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import pandas as pd

from coordinator.endpoints_of_tables import Well, endpoints_of
from coordinator.study_data import IntArray, StudyData
from coordinator.table_values import Cell, label_of, number_of, slug_of
from protocol.modules.comparability import Arm
from protocol.plan import Cohort, CohortRole, Endpoint
from shared.errors import InputError, ProblemsError

UNASSIGNED = "unassigned"
_COUNTS = ("lot", "site")
_COUNTS_OPTIONAL = ("donor", "tissue", "cohort", "arm", "cells")
_POTENCY = ("lot", "assay", "value", "unit")
_COHORTS = {"discovery": CohortRole.DISCOVERY, "validation": CohortRole.VALIDATION}
_WHOLE = 10**9  # shares are kept as cells of a thousand million
_SHARE_SLACK = 1e-6
_MOST_CELLS = 10**9


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyTables:
    """A study made of plain tables: its data, and the endpoints and cohorts that the tables speak of."""

    data: StudyData
    endpoints: tuple[Endpoint, ...]
    cohorts: tuple[Cohort, ...]


@dataclass(frozen=True, kw_only=True)
class _Lot:
    lot: str
    site: str
    donor: str
    tissue: str
    cohort: str
    arm: Arm | None
    low: tuple[int, ...]
    high: tuple[int, ...]
    unassigned: tuple[int, int]
    total: tuple[int, int]


@dataclass(kw_only=True)
class _Reader:
    """Reads row by row and remembers what is wrong."""

    clusters: tuple[str, ...]
    shares: bool
    threshold: int | None
    problems: list[InputError] = field(default_factory=list)

    def lots(self, frame: pd.DataFrame, source: str) -> list[_Lot]:
        found: dict[str, _Lot] = {}
        slugs: dict[str, str] = {}
        for index, row in zip(frame.index, frame.to_dict(orient="records"), strict=True):
            where = f"{source}, {_row(index)}"
            try:
                lot = self._lot(row, where)
            except ProblemsError as several:
                self.problems.extend(several.problems)
                continue
            site_text = str(row["site"]).strip()
            if slugs.setdefault(lot.site, site_text) != site_text:
                self.problems.append(
                    InputError(
                        f"{where}, column site: expected site names that differ in letters or digits, "
                        f"found {slugs[lot.site]!r} and {site_text!r}"
                    )
                )
            if lot.lot in found:
                self.problems.append(
                    InputError(
                        f"{where}, column lot: expected each lot once, found {lot.lot!r} again",
                        hint="give lots of different sites different names",
                    )
                )
            found[lot.lot] = lot
        return sorted(found.values(), key=lambda lot: (lot.site, lot.lot))

    def _lot(self, row: dict[Hashable, Cell], where: str) -> _Lot:
        wrong: list[InputError] = []
        lot = label_of(row["lot"], f"{where}, column lot", wrong)
        site = slug_of(row["site"], f"{where}, column site", wrong)
        donor = label_of(row.get("donor", ""), f"{where}, column donor", wrong, empty=lot)
        tissue = label_of(row.get("tissue", ""), f"{where}, column tissue", wrong, empty="unspecified")
        cohort = label_of(row.get("cohort", ""), f"{where}, column cohort", wrong, empty="discovery")
        if cohort not in _COHORTS:
            wrong.append(InputError(f"{where}, column cohort: expected discovery or validation, found {cohort!r}"))
        arm = str(row.get("arm", "")).strip()
        if arm not in {"", "nan", *Arm}:
            wrong.append(InputError(f"{where}, column arm: expected before, after or nothing, found {arm!r}"))
        parts = [self._cells(row[name], f"{where}, column {name}", wrong) for name in self.clusters]
        known = self._cells(row[UNASSIGNED], f"{where}, column {UNASSIGNED}", wrong) if UNASSIGNED in row else None
        whole = self._whole(row, where, wrong)
        if wrong:
            raise ProblemsError(where, wrong)
        low, high = sum(part[0] for part in parts), sum(part[1] for part in parts)
        if whole is None:
            unassigned = known or (0, 0)
            whole = (low + unassigned[0], high + unassigned[1])
        else:
            unassigned = known or (max(0, whole[0] - high), max(0, whole[1] - low))
        self._check_closure(where, (low, high), unassigned, whole, given=known is not None)
        return _Lot(
            lot=lot,
            site=site,
            donor=donor,
            tissue=tissue,
            cohort=cohort,
            arm=Arm(arm) if arm in set(Arm) else None,
            low=tuple(part[0] for part in parts),
            high=tuple(part[1] for part in parts),
            unassigned=unassigned,
            total=whole,
        )

    def _whole(self, row: dict[Hashable, Cell], where: str, wrong: list[InputError]) -> tuple[int, int] | None:
        if self.shares:
            return _WHOLE, _WHOLE
        if "cells" not in row:
            return None
        cells = number_of(row["cells"], f"{where}, column cells", wrong)
        if cells is None:
            return 0, 0
        if cells != int(cells) or not 0 < cells <= _MOST_CELLS:
            wrong.append(InputError(f"{where}, column cells: expected a whole number above 0, found {cells:g}"))
        return int(cells), int(cells)

    def _cells(self, value: Cell, where: str, wrong: list[InputError]) -> tuple[int, int]:
        number = number_of(value, where, wrong)
        if number is None:
            return 0, 0
        if self.shares:
            if not 0 <= number <= 1 + _SHARE_SLACK:
                wrong.append(InputError(f"{where}: expected a share in 0..1, found {number:g}"))
                return 0, 0
            return round(number * _WHOLE), round(number * _WHOLE)
        if self.threshold is not None and number == -self.threshold:
            return 0, self.threshold - 1
        if number < 0 or number != int(number) or number > _MOST_CELLS:
            wrong.append(
                InputError(
                    f"{where}: expected a whole number of cells, 0 or more, found {number:g}",
                    hint="give counts, not shares or normalised values; a hidden count needs its threshold declared",
                )
            )
            return 0, 0
        return int(number), int(number)

    def _check_closure(
        self, where: str, parts: tuple[int, int], unassigned: tuple[int, int], whole: tuple[int, int], *, given: bool
    ) -> None:
        least, most = parts[0] + unassigned[0], parts[1] + unassigned[1]
        slack = int(_SHARE_SLACK * _WHOLE) if self.shares else 0
        if whole[1] == 0:
            self.problems.append(InputError(f"{where}: expected cells, found none", hint="leave an empty lot out"))
        elif least > whole[1] + slack:
            what = f"shares that add up to {least / _WHOLE:g}" if self.shares else f"{least} of {whole[1]}"
            self.problems.append(
                InputError(f"{where}: expected parts that add up to no more than the whole, found {what}")
            )
        elif given and most < whole[0] - slack:
            self.problems.append(
                InputError(
                    f"{where}: expected parts that add up to the whole, found {most} of {whole[0]}",
                    hint="add the missing clusters, or leave unassigned out and let it be the rest",
                )
            )


def study_tables(
    counts: pd.DataFrame,
    potency: pd.DataFrame,
    *,
    shares: bool = False,
    small_count_threshold: int | None = None,
    names: tuple[str, str] = ("counts", "potency"),
) -> StudyTables:
    """Return the study that two tables make.

    Parameters
    ----------
    counts, potency : DataFrame
        As the module says; cells may be text or numbers.
    shares : bool
        The clusters' columns hold shares of the lot in 0..1, not cells. What depends on the number of cells is then not
        defined.
    small_count_threshold : int, optional
        Counts written as minus this number are hidden: 0 to one below it. Every other negative count is an error.
    names : (str, str)
        What the tables are called in messages.

    Raises
    ------
    ProblemsError
        With every problem of both tables.
    """
    problems: list[InputError] = []
    columns = [str(name) for name in counts.columns]
    _check_columns(columns, _COUNTS, names[0], problems)
    _check_columns([str(name) for name in potency.columns], _POTENCY, names[1], problems)
    clusters = tuple(name for name in columns if name not in (*_COUNTS, *_COUNTS_OPTIONAL, UNASSIGNED))
    if len(clusters) < 1:
        problems.append(InputError(f"{names[0]}: expected a column for each cluster, found none"))
    for name in clusters:
        label_of(name, f"{names[0]}, the header", problems)
    if problems:
        raise ProblemsError(" and ".join(names), problems)
    reader = _Reader(clusters=clusters, shares=shares, threshold=small_count_threshold)
    lots = reader.lots(counts.set_axis(columns, axis=1), names[0])
    wells = _wells(potency.set_axis([str(name) for name in potency.columns], axis=1), names[1], reader.problems)
    if not lots and not reader.problems:
        reader.problems.append(InputError(f"{names[0]}: expected a row for each lot, found none"))
    endpoints, replicates = endpoints_of(
        wells,
        [lot.lot for lot in lots],
        known=[str(name).strip() for name in counts["lot"]],
        names=names,
        problems=reader.problems,
    )
    if reader.problems:
        raise ProblemsError(" and ".join(names), reader.problems)
    present = {lot.cohort for lot in lots}
    return StudyTables(
        data=StudyData(
            lots=tuple(lot.lot for lot in lots),
            sites=tuple(lot.site for lot in lots),
            donors=tuple(lot.donor for lot in lots),
            tissues=tuple(lot.tissue for lot in lots),
            cohorts=tuple(lot.cohort for lot in lots),
            arms=tuple(lot.arm for lot in lots) if "arm" in columns else None,
            clusters=clusters,
            counts_low=_integers([lot.low for lot in lots]),
            counts_high=_integers([lot.high for lot in lots]),
            unassigned_low=_integers([lot.unassigned[0] for lot in lots]),
            unassigned_high=_integers([lot.unassigned[1] for lot in lots]),
            totals_low=_integers([lot.total[0] for lot in lots]),
            totals_high=_integers([lot.total[1] for lot in lots]),
            potency=replicates,
            counted=not shares,
        ),
        endpoints=endpoints,
        cohorts=tuple(
            Cohort(cohort=name, role=role)
            for name, role in _COHORTS.items()
            if name in present or role is CohortRole.DISCOVERY
        ),
    )


def _wells(frame: pd.DataFrame, source: str, problems: list[InputError]) -> list[Well]:
    wells = []
    for index, row in zip(frame.index, frame.to_dict(orient="records"), strict=True):
        where = f"{source}, {_row(index)}"
        wrong: list[InputError] = []
        reference = _truth(row.get("is_reference", ""), f"{where}, column is_reference", wrong)
        value = number_of(row["value"], f"{where}, column value", wrong)
        if value is not None and not (isfinite(value) and value > 0):
            wrong.append(
                InputError(
                    f"{where}, column value: expected a number above 0, found {value:g}",
                    hint="potency enters by its logarithm; below the limit of detection, give the limit",
                )
            )
        well = Well(
            where=where,
            lot="" if reference else label_of(row["lot"], f"{where}, column lot", wrong),
            assay=label_of(row["assay"], f"{where}, column assay", wrong),
            unit=label_of(row["unit"], f"{where}, column unit", wrong),
            run=label_of(row.get("run", ""), f"{where}, column run", wrong, empty="1"),
            replicate=label_of(row.get("replicate", ""), f"{where}, column replicate", wrong, empty="-"),
            value=value or 1.0,
            is_reference=reference,
        )
        problems.extend(wrong)
        if not wrong:
            wells.append(well)
    return wells


def _truth(value: Cell, where: str, wrong: list[InputError]) -> bool:
    text = "" if value is None or value != value else str(value).strip().lower()  # noqa: PLR0124 - NaN is not itself
    if text in {"true", "1", "yes", "1.0"}:
        return True
    if text not in {"false", "0", "no", "", "0.0"}:
        wrong.append(InputError(f"{where}: expected true or false, found {value!r}"))
    return False


def _check_columns(columns: Sequence[str], needed: Sequence[str], source: str, problems: list[InputError]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        problems.append(
            InputError(
                f"{source}: expected the columns {', '.join(needed)}, found no {', '.join(missing)}",
                hint=f"its columns are: {', '.join(columns)}",
            )
        )
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        problems.append(InputError(f"{source}: expected each column once, found {', '.join(repeated)} again"))


def _row(index: Hashable) -> str:
    return index if isinstance(index, str) and index.startswith("line ") else f"row {index}"


def _integers(values: Sequence[int] | Sequence[tuple[int, ...]]) -> IntArray:
    return np.array(values, dtype=np.int64)
