"""A plain table of lot-level attributes to what a plan would declare and what its sites would report.

One row for each lot and attribute: columns ``lot``, ``attribute``, ``value``, ``unit``; ``kind`` (concentration where
absent), ``family`` (one family where absent), ``transform`` and ``denominator`` where known, the same in every row of
an attribute. A value is a number, ``<x`` below a limit of detection, or empty where it was not measured. Of several
limits of one attribute the highest counts: every value below it ranks as one.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import ValidationError

from coordinator.study_data import AttributeTable
from coordinator.table_values import Cell, label_of, number_of, slug_of
from protocol.modules.attributes import AttributeKind, AttributePlan, AttributesPlan, AttributeTransform
from shared.errors import InputError, ProblemsError

_NEEDED = ("lot", "attribute", "value", "unit")
_DECLARED = ("unit", "kind", "family", "transform", "denominator")
_MOST_DECIMALS = 9


@dataclass(frozen=True, kw_only=True)
class _Value:
    where: str
    lot: str
    attribute: str
    number: float | None  # None below the limit
    limit: float | None
    declared: tuple[str, ...]  # in the order of _DECLARED


def attributes_of_table(
    frame: pd.DataFrame, lots: Sequence[str], *, source: str = "attributes"
) -> tuple[AttributesPlan, AttributeTable]:
    """Return what the table declares, and the values of ``lots`` in their order.

    Parameters
    ----------
    frame : DataFrame
        As the module says; cells may be text or numbers.
    lots : sequence of str
        The lots of the counts table.
    source : str
        What the table is called in messages.

    Raises
    ------
    ProblemsError
        With every problem of the table.
    """
    columns = [str(name) for name in frame.columns]
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ProblemsError(
            source,
            [
                InputError(
                    f"{source}: expected the columns {', '.join(_NEEDED)}, found no {', '.join(missing)}",
                    hint=f"its columns are: {', '.join(columns)}",
                )
            ],
        )
    problems: list[InputError] = []
    values = _values(frame.set_axis(columns, axis=1), source, lots, problems)
    by_attribute: dict[str, list[_Value]] = {}
    for value in values:
        by_attribute.setdefault(value.attribute, []).append(value)
    plans = [each for name, own in by_attribute.items() if (each := _declared(name, own, problems)) is not None]
    if not values and not problems:
        problems.append(InputError(f"{source}: expected a row for each lot and attribute, found none"))
    if problems:
        raise ProblemsError(source, problems)
    try:
        plan = AttributesPlan(attributes=tuple(plans))
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise ProblemsError(source, [InputError(f"{source}: {message}")]) from None
    return plan, _tabulated(plan, by_attribute, lots)


def _values(frame: pd.DataFrame, source: str, lots: Sequence[str], problems: list[InputError]) -> list[_Value]:
    found: list[_Value] = []
    seen: set[tuple[str, str]] = set()
    for index, row in zip(frame.index, frame.to_dict(orient="records"), strict=True):
        where = f"{source}, {index if isinstance(index, str) else f'row {index}'}"
        wrong: list[InputError] = []
        lot = label_of(row["lot"], f"{where}, column lot", wrong)
        attribute = slug_of(row["attribute"], f"{where}, column attribute", wrong)
        if lot and lot not in lots:
            wrong.append(
                InputError(f"{where}, column lot: expected a lot of the counts, found {lot!r}", hint="take the row out")
            )
        if (lot, attribute) in seen:
            wrong.append(
                InputError(
                    f"{where}: expected one value of {attribute} of {lot}, found another",
                    hint="give the mean of its replicates",
                )
            )
        seen.add((lot, attribute))
        value = _value(row, where, lot, attribute, wrong)
        problems.extend(wrong)
        if value is not None and not wrong:
            found.append(value)
    return found


def _value(row: dict[Hashable, Cell], where: str, lot: str, attribute: str, wrong: list[InputError]) -> _Value | None:
    text = _text(row["value"])
    if not text:
        return None
    label_of(row["unit"], f"{where}, column unit", wrong)
    at = f"{where}, column value"
    limit = number_of(text[1:], at, wrong) if text.startswith("<") else None
    number = None if text.startswith("<") else number_of(text, at, wrong)
    if limit is not None and limit <= 0:
        wrong.append(InputError(f"{at}: expected a limit of detection above 0, found {text!r}"))
    declared = tuple(_text(row.get(column, "")) for column in _DECLARED)
    return _Value(where=where, lot=lot, attribute=attribute, number=number, limit=limit, declared=declared)


def _declared(name: str, own: Sequence[_Value], problems: list[InputError]) -> AttributePlan | None:
    for value in own:
        for column, first, here in zip(_DECLARED, own[0].declared, value.declared, strict=True):
            if here != first:
                problems.append(
                    InputError(
                        f"{value.where}, column {column}: expected {first!r} as in {own[0].where}, found {here!r}",
                        hint=f"an attribute has one {column}",
                    )
                )
                return None
    unit, kind, family, transform, denominator = own[0].declared
    limits = [value.limit for value in own if value.limit is not None]
    wrong: list[InputError] = []
    try:
        plan = AttributePlan(
            attribute=name,
            kind=AttributeKind(kind) if kind else AttributeKind.CONCENTRATION,
            unit=unit,
            family=slug_of(family, f"{own[0].where}, column family", wrong) if family else "attributes",
            decimals=_MOST_DECIMALS,
            transform=AttributeTransform(transform) if transform else AttributeTransform.NONE,
            detection_limit=max(limits) if limits else None,
            denominator=slug_of(denominator, f"{own[0].where}, column denominator", wrong) if denominator else None,
        )
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        problems.append(InputError(f"{own[0].where}: {message}"))
        return None
    except ValueError as error:
        choices = ", ".join([*AttributeKind, *AttributeTransform])
        problems.append(InputError(f"{own[0].where}: {error}", hint=f"kinds and transforms are {choices}"))
        return None
    problems.extend(wrong)
    misfits = [(value, plan.misfit(value.number)) for value in own if value.number is not None]
    problems.extend(
        InputError(f"{value.where}, column value: expected {misfit}, found {value.number:g}")
        for value, misfit in misfits
        if misfit is not None
    )
    return plan


def _tabulated(plan: AttributesPlan, by_attribute: dict[str, list[_Value]], lots: Sequence[str]) -> AttributeTable:
    names = tuple(each.attribute for each in plan.attributes)
    values = np.full((len(lots), len(names)), np.nan)
    below = np.zeros(values.shape, dtype=np.bool_)
    place = {lot: row for row, lot in enumerate(lots)}
    for column, each in enumerate(plan.attributes):
        limit = each.detection_limit
        for value in by_attribute[each.attribute]:
            hidden = value.number is None or (limit is not None and value.number < limit)
            below[place[value.lot], column] = hidden
            values[place[value.lot], column] = np.nan if value.number is None or hidden else value.number
    return AttributeTable(names=names, values=values, below=below)


def _text(value: Cell) -> str:
    return "" if value is None or value != value else str(value).strip()  # noqa: PLR0124 - NaN is not itself
