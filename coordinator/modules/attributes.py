"""Lot-level attributes against potency: the same rank engine as for clusters, one family at a time.

Rules
-----
- The unit is the donor: the mean of its lots on the attribute's declared scale, over the lots that have a value. A lot
  below the limit of detection stands there with the limit; a donor all of whose lots are below ranks lowest, tied.
- A donor without a value is missing for that attribute only; how many lots lack it is told.
- Each family is corrected by max-T for itself, for each potency endpoint. Tests are two-sided.
- Of a composition the steps of closure are taken: rho of centred log-ratios, and a second hit must survive the removal
  of the lead and re-closure, over the donors that have every part. A part below the limit stands at half of it.
- Two ratios over one denominator are told, with their own correlation: the denominator alone can make both follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from coordinator.study_data import AttributeTable, FloatArray, StudyData
from coordinator.units import Units, units_of
from protocol.modules.attributes import AttributeKind, AttributePlan, AttributesPlan, AttributeTransform
from protocol.modules.attributes_results import AttributeAssociation, AttributesResults, SharedDenominator
from protocol.plan import AnalysisPlan, Endpoint
from shared.errors import InputError
from shared.statistics.arrays import BoolArray
from shared.statistics.gaps import ColumnAnswer, associate_with_gaps, below_ranks_lowest, order_of
from shared.statistics.ranks import stratified_rho
from shared.statistics.streams import named_seed

_DIGITS = 12  # equal values stay equal after a mean and a logarithm


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """One attribute over units: means on its scale (NaN: missing), which rank lowest, how many lots."""

    values: FloatArray  # (n_units,)
    below: BoolArray  # (n_units,)
    lots: int
    missing: int
    below_detection: int
    below_quantification: int

    @property
    def ranked(self) -> FloatArray:
        return below_ranks_lowest(self.values, self.below)


def analyse_attributes(
    data: StudyData,
    plan: AttributesPlan | None,
    analysis: AnalysisPlan,
    endpoints: Sequence[Endpoint],
    rows: Sequence[int],
    *,
    threads: int = 2,
) -> AttributesResults | None:
    """Return the association of every declared attribute with every endpoint; None where the study declares none.

    Parameters
    ----------
    rows
        The lots of the discovery cohorts that have cells.

    Raises
    ------
    InputError
        If the data lack a column for an attribute of the plan.
    """
    if plan is None:
        return None
    table = _table(data, plan)
    associations: list[AttributeAssociation] = []
    for endpoint in endpoints:
        units, _ = units_of(data, rows, endpoint, analysis.strata, ())
        measured = {each.attribute: _measured(table, each, units) for each in plan.attributes}
        for _, members in plan.families():
            associations += _family(members, measured, units, endpoint, analysis, threads=threads)
    units, _ = units_of(data, rows, endpoints[0], analysis.strata, ())
    measured = {each.attribute: _measured(table, each, units) for each in plan.attributes}
    shared = _shared_denominators(plan, measured, units)
    return AttributesResults(
        families_tested=len(list(plan.families())) * len(endpoints),
        associations=tuple(associations),
        shared_denominators=tuple(shared),
        warnings=tuple(_warnings(plan, measured)),
    )


def on_scale(plan: AttributePlan, values: FloatArray) -> FloatArray:
    """Return values on the attribute's declared scale, any shape; NaN stays NaN."""
    match plan.transform:
        case AttributeTransform.NONE:
            return values
        case AttributeTransform.LOG:
            return np.log(values)
        case AttributeTransform.LOGIT:
            return np.log(values / (1.0 - values))


def _table(data: StudyData, plan: AttributesPlan) -> AttributeTable:
    lacking = [
        each.attribute
        for each in plan.attributes
        if data.attributes is None or each.attribute not in data.attributes.names
    ]
    if lacking or data.attributes is None:
        raise InputError(
            f"attributes: expected those of the plan among the lots' data, found no {', '.join(lacking)}",
            hint="analyse the reports that answer this plan",
        )
    return data.attributes


def _measured(table: AttributeTable, plan: AttributePlan, units: Units) -> _Measured:
    column = table.names.index(plan.attribute)
    values, below = table.values[:, column], table.below[:, column]
    limit = np.nan if plan.detection_limit is None else plan.detection_limit
    scaled = on_scale(plan, np.where(below, limit, values))
    means = np.full(len(units.lots), np.nan)
    all_below = np.zeros(len(units.lots), dtype=np.bool_)
    present = below | ~np.isnan(values)
    for number, members in enumerate(units.lots):
        with_value = members[present[members]]
        if len(with_value):
            means[number] = round(float(np.mean(scaled[with_value])), _DIGITS)
            all_below[number] = bool(below[with_value].all())
    rows = units.rows
    quantified = plan.quantification_limit
    return _Measured(
        values=means,
        below=all_below,
        lots=int(present[rows].sum()),
        missing=int((~present[rows]).sum()),
        below_detection=int(below[rows].sum()),
        below_quantification=0 if quantified is None else int((below[rows] | (values[rows] < quantified)).sum()),
    )


def _family(
    members: Sequence[AttributePlan],
    measured: Mapping[str, _Measured],
    units: Units,
    endpoint: Endpoint,
    analysis: AnalysisPlan,
    *,
    threads: int,
) -> list[AttributeAssociation]:
    columns = [measured[each.attribute] for each in members]
    answers = associate_with_gaps(
        np.column_stack([column.ranked for column in columns]),
        units.potency,
        units.strata,
        alpha=analysis.alpha,
        confidence=analysis.confidence,
        draws=analysis.draws,
        entropy=named_seed(analysis.seed, endpoint.endpoint, "attributes", members[0].family),
        threads=threads,
    )
    order = order_of(answers)
    closure = None
    if members[0].kind is AttributeKind.COMPOSITION and len(members) > 1:
        closure = _closure(members, columns, units, endpoint, analysis, lead=order[0], threads=threads)
    return [
        _row(members[k], columns[k], answers[k], endpoint, analysis.alpha, closure, k, is_lead=k == order[0])
        for k in order
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Closure:
    rho_clr: FloatArray
    rho: FloatArray  # without the lead
    p: FloatArray


def _closure(
    members: Sequence[AttributePlan],
    columns: Sequence[_Measured],
    units: Units,
    endpoint: Endpoint,
    analysis: AnalysisPlan,
    *,
    lead: int,
    threads: int,
) -> _Closure | None:
    """Return what the steps of closure say, over the donors that have every part; None where there are too few."""
    raw = np.column_stack([_parts(each, column) for each, column in zip(members, columns, strict=True)])
    whole = np.isfinite(raw).all(axis=1) & (raw.sum(axis=1) > 0)
    if np.count_nonzero(whole) < 3:  # noqa: PLR2004 - fewer than three have no rank correlation
        return None
    parts, potency, strata = raw[whole], units.potency[whole], np.array(units.strata)[whole]
    positive = np.where(parts > 0, parts, np.nan)
    floor = 0.5 * np.nanmin(positive, axis=0, initial=np.nanmax(parts))
    logs = np.log(np.where(parts > 0, parts, floor))
    clr = np.round(logs - logs.mean(axis=1, keepdims=True), _DIGITS)
    k = len(members)
    rho, p = np.full(k, np.nan), np.full(k, np.nan)
    others = np.array([column for column in range(k) if column != lead])
    rest = np.delete(parts, lead, axis=1)
    left = rest.sum(axis=1)
    if (left > 0).all():
        closed = np.round(rest / left[:, None], _DIGITS)
        answers = associate_with_gaps(
            closed,
            potency,
            strata,
            alpha=analysis.alpha,
            draws=analysis.draws,
            entropy=named_seed(analysis.seed, endpoint.endpoint, "attributes", members[0].family, "lead removed"),
            threads=threads,
        )
        for column, answer in zip(others, answers, strict=True):
            rho[column] = np.nan if answer.association is None else answer.association.rho[0]
            p[column] = answer.p_adjusted
    return _Closure(rho_clr=stratified_rho(clr, potency, strata), rho=rho, p=p)


def _parts(plan: AttributePlan, column: _Measured) -> FloatArray:
    """Return the parts back on their own scale, below the limit of detection at half of it."""
    match plan.transform:
        case AttributeTransform.NONE:
            values = column.values
        case AttributeTransform.LOG:
            values = np.exp(column.values)
        case AttributeTransform.LOGIT:
            values = 1.0 / (1.0 + np.exp(-column.values))
    return np.where(column.below, 0.5 * (plan.detection_limit or 0.0), values)


def _row(
    plan: AttributePlan,
    column: _Measured,
    answer: ColumnAnswer,
    endpoint: Endpoint,
    alpha: float,
    closure: _Closure | None,
    k: int,
    *,
    is_lead: bool,
) -> AttributeAssociation:
    found = answer.association
    removed = None if closure is None or is_lead else _defined(float(closure.p[k]))
    survives = closure is None or is_lead or (removed is not None and removed <= alpha)
    return AttributeAssociation(
        endpoint=endpoint.endpoint,
        family=plan.family,
        attribute=plan.attribute,
        kind=plan.kind,
        unit=plan.unit,
        transform=plan.transform,
        n_lots=column.lots,
        n_units=int(np.count_nonzero(~np.isnan(column.ranked))),
        missing_lots=column.missing,
        below_detection_lots=column.below_detection,
        below_quantification_lots=column.below_quantification,
        rho=None if found is None else _defined(float(found.rho[0])),
        ci_low=None if found is None else _defined(float(found.low[0])),
        ci_high=None if found is None else _defined(float(found.high[0])),
        p_value=None if found is None else float(found.p[0]),
        p_adjusted=None if found is None else answer.p_adjusted,
        method="undefined" if found is None else found.method,
        significant=found is not None and answer.p_adjusted <= alpha and survives,
        rho_clr=None if closure is None else _defined(float(closure.rho_clr[k])),
        rho_after_lead_removal=None if closure is None or is_lead else _defined(float(closure.rho[k])),
        p_after_lead_removal=removed,
        reason_code=None if answer.refusal is None else answer.refusal.code,
        reason=None if answer.refusal is None else str(answer.refusal),
    )


def _shared_denominators(
    plan: AttributesPlan, measured: Mapping[str, _Measured], units: Units
) -> list[SharedDenominator]:
    strata = np.array(units.strata)
    found = []
    for first, second in combinations([each for each in plan.attributes if each.denominator is not None], 2):
        if first.denominator is None or first.denominator != second.denominator:
            continue
        a, b = measured[first.attribute].ranked, measured[second.attribute].ranked
        both = ~np.isnan(a) & ~np.isnan(b)
        rho = stratified_rho(a[both][:, None], b[both], strata[both])[0] if np.count_nonzero(both) > 2 else np.nan  # noqa: PLR2004 - as above
        found.append(
            SharedDenominator(
                denominator=first.denominator,
                attributes=(first.attribute, second.attribute),
                rho_between=_defined(float(rho)),
                n_units=int(np.count_nonzero(both)),
            )
        )
    return found


def _warnings(plan: AttributesPlan, measured: Mapping[str, _Measured]) -> list[str]:
    said = []
    for each in plan.attributes:
        column = measured[each.attribute]
        if column.lots and 2 * column.below_detection > column.lots:
            said.append(
                f"{each.attribute}: {column.below_detection} of {column.lots} lots are below its limit of detection; "
                "all of them rank as one, so that little is left to follow potency"
            )
        if column.lots == 0:
            said.append(f"{each.attribute}: no lot has a value")
    return said


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
