"""The potency of a site's lots: replicates by endpoint and run, beside the reference standard of the same run.

Rules:

1. A potency is a positive finite number: it enters the analysis by its logarithm.
2. One endpoint has one assay and one unit; where the study plan names them, they are the plan's.
3. Reference-standard rows carry their run and no lot. An endpoint that is relative to the reference needs them in
   every run in which a lot was measured.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.plan import Endpoint, Normalisation
from shared.errors import InputError
from site_agent.cells.site_tables import Row, parse_number, read_table

POTENCY_COLUMNS = ("lot", "endpoint", "assay", "value", "unit", "run", "is_reference")

_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
_LABEL = re.compile(r"^[^\x00-\x1f\x7f]{1,64}$")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}
_MAXIMUM_REPLICATES = 24
_MAXIMUM_SERIES = 64


@dataclass(frozen=True, kw_only=True)
class PotencyRows:
    """The replicates of one lot for one endpoint in one run.

    Attributes
    ----------
    endpoint, assay, unit, run : str
        As written in the table.
    replicates : tuple of float
        Positive, in ``unit``; at least one.
    reference_replicates : tuple of float
        Of the reference standard in the same run; empty where it was not measured.
    """

    endpoint: str
    assay: str
    unit: str
    run: str
    replicates: tuple[float, ...]
    reference_replicates: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Value:
    row: Row
    lot: str
    endpoint: str
    run: str
    is_reference: bool
    value: float


def read_potency(
    path: Path,
    endpoints: Sequence[Endpoint] | None,
    lot_rows: Mapping[str, int],
    problems: list[InputError],
    *,
    lots_were_read: bool = True,
) -> dict[str, tuple[PotencyRows, ...]]:
    """Return potency by lot, and append what is wrong to ``problems``.

    Parameters
    ----------
    path : Path
        ``potency.csv``.
    endpoints : sequence of Endpoint, optional
        Of the study plan.
    lot_rows : mapping of str to int
        Each lot's row in ``lots.csv``.
    problems : list of InputError
        Grows.
    lots_were_read : bool
        False where ``lots.csv`` itself could not be read: then no row is called an orphan.
    """
    table = read_table(path, required=POTENCY_COLUMNS)
    problems.extend(table.problems)
    plan = {str(each.endpoint): each for each in endpoints} if endpoints is not None else None
    values: list[_Value] = []
    attempted: set[str] = set()  # a lot whose only replicate is unreadable is not also "without potency"
    for row in table.rows:
        attempted.add(row.cells["lot"])
        value, found = _read_value(row, plan)
        if lots_were_read and row.cells["lot"] and row.cells["lot"] not in lot_rows:
            message = f"{row.cells['lot'][:80]!r} is not a lot of lots.csv"
            found.append(row.problem("lot", message, hint="correct the name, or add the lot to lots.csv"))
        problems.extend(found)
        if value is not None and not found:
            values.append(value)
    if plan is None:
        problems.extend(_one_assay_and_unit(table.rows))
    if lots_were_read and not table.problems:
        problems.extend(
            InputError(
                f"lots.csv, row {number}, column 'lot': {lot!r} has no potency in {path.name}",
                hint="add its replicates, or take the lot out of lots.csv",
            )
            for lot, number in lot_rows.items()
            if lot and lot not in attempted
        )
    return _by_lot(values, plan or {}, problems)


def _read_value(row: Row, plan: Mapping[str, Endpoint] | None) -> tuple[_Value | None, list[InputError]]:
    cells, found = row.cells, list[InputError]()
    is_reference = _TRUTH.get(cells["is_reference"].lower())
    if is_reference is None:
        message = f"expected true or false, found {cells['is_reference'][:80]!r}"
        found.append(row.problem("is_reference", message, hint="true for the reference standard, else false"))
    elif is_reference and cells["lot"]:
        message = f"expected no lot on a row of the reference standard, found {cells['lot'][:80]!r}"
        found.append(row.problem("lot", message, hint="leave it blank, or set is_reference to false"))
    elif not is_reference and not cells["lot"]:
        found.append(row.problem("lot", "expected a lot, found nothing", hint="or set is_reference to true"))
    for column in ("assay", "unit", "run"):
        if not _LABEL.fullmatch(cells[column]):
            message = f"expected 1 to 64 characters, found {cells[column][:80]!r}"
            hint = "name the run, such as its date; replicates of one day share it" if column == "run" else "fill it in"
            found.append(row.problem(column, message, hint=hint))
    found.extend(_endpoint_problems(row, plan))
    value = float("nan")
    try:
        value = parse_number(cells["value"])
        if value <= 0:
            message = f"expected a positive potency, found {cells['value'][:80]!r}"
            hint = "below the assay's limit: leave the replicate out, or repeat it; a logarithm needs a positive value"
            found.append(row.problem("value", message, hint=hint))
    except InputError as error:
        found.append(row.problem("value", str(error), hint=error.hint))
    if found or is_reference is None:
        return None, found
    return (
        _Value(
            row=row,
            lot=cells["lot"],
            endpoint=cells["endpoint"],
            run=cells["run"],
            is_reference=is_reference,
            value=value,
        ),
        found,
    )


def _endpoint_problems(row: Row, plan: Mapping[str, Endpoint] | None) -> list[InputError]:
    name = row.cells["endpoint"]
    if not _SLUG.fullmatch(name):
        message = f"expected lower-case letters, digits and hyphens, found {name[:80]!r}"
        return [row.problem("endpoint", message, hint="such as vegf-ischemia")]
    if plan is None:
        return []
    endpoint = plan.get(name)
    if endpoint is None:
        hint = f"the study has {', '.join(plan)}"
        return [row.problem("endpoint", f"{name!r} is not an endpoint of the study", hint=hint)]
    return [
        row.problem(
            column,
            f"expected {expected!r} for the endpoint {name}, found {row.cells[column][:80]!r}",
            hint="convert the value; potencies of different units do not compare" if column == "unit" else None,
        )
        for column, expected in (("assay", endpoint.assay), ("unit", endpoint.unit))
        if row.cells[column] and row.cells[column] != expected
    ]


def _one_assay_and_unit(rows: Sequence[Row]) -> list[InputError]:
    problems: list[InputError] = []
    for column in ("assay", "unit"):
        first: dict[str, Row] = {}
        for row in rows:
            seen = first.setdefault(row.cells["endpoint"], row)
            if row.cells[column] and seen.cells[column] and row.cells[column] != seen.cells[column]:
                message = f"{row.cells[column][:80]!r} differs from {seen.cells[column][:80]!r} in row {seen.number}"
                problems.append(row.problem(column, message, hint=f"one endpoint has one {column}"))
    return problems


def _by_lot(
    values: Sequence[_Value], plan: Mapping[str, Endpoint], problems: list[InputError]
) -> dict[str, tuple[PotencyRows, ...]]:
    references: dict[tuple[str, str], list[float]] = {}
    series: dict[str, dict[tuple[str, str], list[_Value]]] = {}
    for value in values:
        key = (value.endpoint, value.run)
        if value.is_reference:
            references.setdefault(key, []).append(value.value)
        else:
            series.setdefault(value.lot, {}).setdefault(key, []).append(value)
    problems.extend(
        InputError(
            f"potency.csv: endpoint {endpoint!r}, run {run!r}: expected at most {_MAXIMUM_REPLICATES} reference "
            f"replicates, found {len(found)}",
            hint="is the run too coarse? replicates of one plate or day share a run",
        )
        for (endpoint, run), found in references.items()
        if len(found) > _MAXIMUM_REPLICATES
    )
    missing: set[tuple[str, str]] = set()
    for lot, runs in series.items():
        if len(runs) > _MAXIMUM_SERIES:
            problems.append(
                next(iter(runs.values()))[0].row.problem(
                    "lot",
                    f"expected at most {_MAXIMUM_SERIES} endpoints and runs of {lot!r}, found {len(runs)}",
                    hint="replicates of one plate or day share a run",
                )
            )
        for (endpoint, run), found in runs.items():
            row = found[0].row
            if len(found) > _MAXIMUM_REPLICATES:
                message = f"expected at most {_MAXIMUM_REPLICATES} replicates of {lot!r} in one run, found {len(found)}"
                problems.append(row.problem("run", message, hint="does the file repeat itself?"))
            relative = endpoint in plan and plan[endpoint].normalisation is Normalisation.RUN_REFERENCE
            if relative and (endpoint, run) not in references and (endpoint, run) not in missing:
                missing.add((endpoint, run))
                message = f"run {run!r} has no reference standard, and {endpoint!r} is relative to it"
                problems.append(row.problem("run", message, hint="add its rows with is_reference true and no lot"))
    return {
        lot: tuple(
            PotencyRows(
                endpoint=endpoint,
                assay=found[0].row.cells["assay"],
                unit=found[0].row.cells["unit"],
                run=run,
                replicates=tuple(value.value for value in found),
                reference_replicates=tuple(references.get((endpoint, run), ())),
            )
            for (endpoint, run), found in runs.items()
        )
        for lot, runs in series.items()
    }
