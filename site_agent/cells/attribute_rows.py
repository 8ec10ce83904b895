"""The lot-level attributes of a site's lots: ``attributes.csv``, one row for each lot and attribute.

Rules:

1. A value is a number with a decimal point, ``<LOD`` or ``<x``: below the limit of detection there is no number, and
   ``x`` may not lie above the limit that the plan declares, for such a lot could rank anywhere. A number below the
   plan's limit is below detection too. An empty value: not measured.
2. The plan names what is asked for: an attribute it does not name, another unit or another assay is a problem here,
   before anything could leave. Without a plan the table's form alone is checked.
3. A lot has one value of an attribute. Replicates are averaged by whoever measured them, on the assay's own scale.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from protocol.modules.attributes import AttributePlan, AttributesPlan
from shared.errors import InputError
from site_agent.cells.site_tables import Row, parse_number, read_table

ATTRIBUTES_FILE = "attributes.csv"
ATTRIBUTE_COLUMNS = ("lot", "attribute", "value", "unit", "assay")
OPTIONAL_ATTRIBUTE_COLUMNS = ("run",)

_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
_LABEL = re.compile(r"^[^\x00-\x1f\x7f]{1,64}$")
_BELOW = re.compile(r"^<\s*(?:LOD|(?P<limit>.+))$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class AttributeRow:
    """One attribute of one lot; ``value`` is None below the limit of detection."""

    attribute: str
    value: float | None
    unit: str
    assay: str


def read_attributes(
    path: Path,
    plan: AttributesPlan | None,
    lot_rows: Mapping[str, int],
    problems: list[InputError],
    *,
    lots_were_read: bool = True,
) -> dict[str, tuple[AttributeRow, ...]]:
    """Return attributes by lot, in the file's order, and append what is wrong to ``problems``.

    Parameters
    ----------
    path : Path
        ``attributes.csv``.
    plan : AttributesPlan, optional
        Of the study.
    lot_rows : mapping of str to int
        Each lot's row in ``lots.csv``.
    problems : list of InputError
        Grows.
    lots_were_read : bool
        False where ``lots.csv`` itself could not be read: then no row is called an orphan.
    """
    if not path.exists():
        problems.append(
            InputError(
                f"{path.name}: missing in {path.parent}, and the study asks for attributes of lots",
                hint=f"write it beside lots.csv with the columns {','.join(ATTRIBUTE_COLUMNS)}",
            )
        )
        return {}
    table = read_table(path, required=ATTRIBUTE_COLUMNS, optional=OPTIONAL_ATTRIBUTE_COLUMNS)
    problems.extend(table.problems)
    by_lot: dict[str, dict[str, AttributeRow]] = {}
    first: dict[tuple[str, str], int] = {}
    for row in table.rows:
        lot, name = row.cells["lot"], row.cells["attribute"]
        found = _problems_of_names(row, plan)
        if lots_were_read and lot not in lot_rows:
            message = f"{lot[:80]!r} is not a lot of lots.csv"
            found.append(row.problem("lot", message, hint="correct the name, or add the lot to lots.csv"))
        if (lot, name) in first:
            message = f"{name[:80]!r} of {lot[:80]!r} stands in row {first[lot, name]} already"
            found.append(row.problem("attribute", message, hint="give one value a lot: the mean of its replicates"))
        first.setdefault((lot, name), row.number)
        value = None
        asked = None if plan is None else plan.named(name)
        if row.cells["value"]:
            try:
                value = _value(row.cells["value"], asked)
            except InputError as error:
                found.append(row.problem("value", str(error), hint=error.hint))
        problems.extend(found)
        if row.cells["value"] and not found:
            by_lot.setdefault(lot, {})[name] = AttributeRow(
                attribute=name, value=value, unit=row.cells["unit"], assay=row.cells["assay"]
            )
    return {lot: tuple(rows.values()) for lot, rows in by_lot.items()}


def _value(text: str, plan: AttributePlan | None) -> float | None:
    """Return the number, or None below the limit of detection.

    Raises
    ------
    InputError
        It is neither, or it cannot be of the attribute.
    """
    below = _BELOW.match(text)
    limit = None if plan is None else plan.detection_limit
    if below:
        stated = below["limit"]
        number = None if stated is None else parse_number(stated.strip())
        if plan is not None and limit is None:
            raise InputError(
                f"expected a number, for the study declares no limit of detection of {plan.attribute}, found {text!r}",
                hint="ask the coordinator to declare it, or leave the value empty",
            )
        if number is not None and limit is not None and number > limit:
            raise InputError(
                f"expected a limit of at most {limit:g}, as the study declares it, found {text!r}",
                hint="a lot below a higher limit could rank anywhere: measure it again, or leave the value empty",
            )
        return None
    value = parse_number(text)
    misfit = None if plan is None else plan.misfit(value)
    if misfit is not None:
        raise InputError(f"expected {misfit}, found {text!r}", hint="check the unit, or correct the value")
    return None if limit is not None and value < limit else value


def _problems_of_names(row: Row, plan: AttributesPlan | None) -> list[InputError]:
    cells, found = row.cells, list[InputError]()
    for column in ("unit", "assay"):
        if not _LABEL.fullmatch(cells[column]):
            hint = "fill it in" if not cells[column] else "shorten it, and leave out line breaks"
            found.append(row.problem(column, f"expected 1 to 64 characters, found {cells[column][:80]!r}", hint=hint))
    name = cells["attribute"]
    if not _SLUG.fullmatch(name):
        message = f"expected lower-case letters, digits and hyphens, found {name[:80]!r}"
        return [*found, row.problem("attribute", message, hint="such as mir-148a")]
    if plan is None:
        return found
    asked = plan.named(name)
    if asked is None:
        known = ", ".join(each.attribute for each in plan.attributes)
        message = f"{name!r} is not an attribute of the study"
        return [*found, row.problem("attribute", message, hint=f"delete the row; the study asks for {known}")]
    for column, declared in (("unit", asked.unit), ("assay", asked.assay)):
        if declared is not None and cells[column] and cells[column] != declared:
            message = f"expected {declared!r} for the attribute {name}, found {cells[column][:80]!r}"
            advice = "convert the value; values of different units do not compare" if column == "unit" else None
            found.append(row.problem(column, message, hint=advice))
    return found
