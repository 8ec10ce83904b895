"""The sections that hold aggregates only: forest plot, leave-one-out ranges, sensitivity. The same in every edition."""

from coordinator.report import captions, sentences, texts
from coordinator.report.contents import Forest, ForestRow, RangeRow, Ranges
from coordinator.report.verdicts import alpha_text
from protocol.results import Association, EndpointCard, LeaveOneOut, NullMethod, ResultSet, Sensitivity
from shared.pages.contents import Cell, CellState, Column, Finding, Row, Table
from shared.pages.numbering import Numbering
from shared.pages.rounding import (
    interval_text,
    p_equation,
    p_text,
    percent_text,
    rho_text,
)

_MOST_RANGES = 24
_NOISE = 1e-9
_UNDEFINED = NullMethod.UNDEFINED


def forest(
    results: ResultSet,
    card: EndpointCard,
    rows: tuple[Association, ...],
    clusters: tuple[str, ...],
    numbering: Numbering,
) -> Forest:
    """Return the forest plot of one endpoint with its table; clusters that were not asked for stand in the table."""
    study = results.study
    confidence = percent_text(study.confidence)
    significant = [row.cluster for row in rows if row.significant]
    dragged = [row.cluster for row in rows if _is_dragged(row, study.alpha)]
    undefined = sum(row.rho is None for row in rows)
    table = Table(
        identifier=f"associations-{card.endpoint}",
        caption=captions.forest_title(card.assay),
        columns=(
            Column(texts.COLUMN_CLUSTER),
            Column(texts.COLUMN_RHO, numeric=True),
            Column(captions.column_interval(confidence), numeric=True),
            Column(texts.COLUMN_P, numeric=True),
            Column(texts.COLUMN_ADJUSTED, numeric=True),
            Column(texts.COLUMN_Q, numeric=True),
            Column(texts.COLUMN_POOLED, numeric=True),
            Column(texts.COLUMN_LOTS, numeric=True),
            Column(texts.COLUMN_METHOD),
            Column(texts.COLUMN_SIGNIFICANT),
        ),
        rows=(
            *(_association_row(row, clusters, study.alpha) for row in rows),
            *(_not_asked_row(name, clusters) for name in clusters if name not in {row.cluster for row in rows}),
        ),
    )
    return Forest(
        identifier=f"forest-{card.endpoint}",
        title=captions.forest_title(card.assay),
        finding=numbering.finding(captions.forest_finding(significant, dragged, len(rows), undefined)),
        rows=tuple(_forest_row(row, clusters, study.alpha) for row in rows),
        confidence=captions.column_interval(confidence),
        decides=captions.decides(alpha_text(study.alpha)),
        table=table,
    )


def ranges(
    card: EndpointCard, rows: tuple[Association, ...], clusters: tuple[str, ...], numbering: Numbering
) -> Ranges | None:
    """Return the leave-one-out figure of one endpoint, or None where nothing was left out."""
    drawn = [
        row for row in rows if _pair(row.sensitivity.leave_one_lot_out) or _pair(row.sensitivity.leave_one_site_out)
    ]
    drawn = drawn[:_MOST_RANGES]
    if not drawn:
        return None
    range_rows = tuple(
        RangeRow(
            cluster=clusters.index(row.cluster),
            name=sentences.cluster(row.cluster),
            rho=row.rho,
            lots=_pair(row.sensitivity.leave_one_lot_out),
            sites=_pair(row.sensitivity.leave_one_site_out),
            note=texts.SIGN_HOLDS if _sign_holds(row.sensitivity) else texts.SIGN_TURNS,
        )
        for row in drawn
    )
    return Ranges(
        identifier=f"ranges-{card.endpoint}",
        title=captions.ranges_title(),
        finding=numbering.finding(
            captions.ranges_finding([row.cluster for row in drawn if not _sign_holds(row.sensitivity)], len(drawn))
        ),
        rows=range_rows,
        table=Table(
            identifier=f"ranges-table-{card.endpoint}",
            caption=captions.ranges_title(),
            columns=(
                Column(texts.COLUMN_CLUSTER),
                Column(texts.COLUMN_RHO, numeric=True),
                Column(texts.COLUMN_LOT_OUT, numeric=True),
                Column(texts.COLUMN_SITE_OUT, numeric=True),
                Column(texts.COLUMN_SIGN),
            ),
            rows=tuple(
                Row(
                    (
                        Cell(row.name),
                        _rho_cell(row.rho),
                        _left_out_cell(row.lots),
                        _left_out_cell(row.sites),
                        Cell(row.note, CellState.STRONG if row.note == texts.SIGN_TURNS else CellState.PLAIN),
                    ),
                    cluster=row.cluster,
                )
                for row in range_rows
            ),
        ),
    )


def sensitivity_table(card: EndpointCard, rows: tuple[Association, ...], clusters: tuple[str, ...]) -> Table:
    """Return rho of every cluster under each other choice."""
    return Table(
        identifier=f"sensitivity-{card.endpoint}",
        caption=texts.SENSITIVITY,
        columns=(
            Column(texts.COLUMN_CLUSTER),
            Column(texts.COLUMN_RHO, numeric=True),
            Column(texts.COLUMN_POOLED, numeric=True),
            Column(texts.COLUMN_CLR, numeric=True),
            Column(texts.COLUMN_LEAD_REMOVED, numeric=True),
            Column(texts.COLUMN_HETEROGENEITY, numeric=True),
            Column(texts.COLUMN_DISATTENUATED, numeric=True),
            Column(texts.COLUMN_BOUNDS, numeric=True),
        ),
        rows=tuple(
            Row(
                (
                    Cell(row.cluster),
                    _rho_cell(row.rho),
                    _rho_cell(row.rho_pooled),
                    _computed(row.sensitivity.rho_clr),
                    _lead_removed_cell(row.sensitivity),
                    _percent_cell(row.sensitivity.heterogeneity_i2),
                    _computed(row.sensitivity.rho_disattenuated),
                    _bounds_cell(row.sensitivity),
                ),
                cluster=clusters.index(row.cluster),
            )
            for row in rows
        ),
    )


def sensitivity_findings(
    rows: tuple[Association, ...], *, suppressed: bool, numbering: Numbering
) -> tuple[Finding, ...]:
    """Return what each other choice says of the leading cluster."""
    lead = next((row for row in rows if row.rho is not None), None)
    if lead is None:
        return ()
    how, name, primary = lead.sensitivity, lead.cluster, rho_text(lead.rho)
    said: list[str] = []
    if how.rho_clr is not None:
        said.append(sentences.clr_finding(name, rho_text(how.rho_clr), primary))
    anew = [
        f"{row.cluster} ({texts.RHO} = {rho_text(row.sensitivity.rho_after_lead_removal)}, "
        f"{p_equation(row.sensitivity.p_after_lead_removal)})"
        for row in rows
        if row is not lead and row.sensitivity.p_after_lead_removal is not None
    ]
    if anew:
        said.append(sentences.lead_removal_finding(anew, name))
    if how.heterogeneity_i2 is not None:
        said.append(
            sentences.heterogeneity_finding(name, percent_text(how.heterogeneity_i2), p_equation(how.heterogeneity_p))
        )
    if how.rho_disattenuated is not None and how.reliability_share is not None and how.reliability_potency is not None:
        share, potency = f"{how.reliability_share:.2f}", f"{how.reliability_potency:.2f}"
        said.append(sentences.attenuation_finding(name, share, potency, rho_text(how.rho_disattenuated), primary))
    bounds = suppression_bounds(how)
    if bounds is not None:
        said.append(sentences.suppression_finding(name, rho_text(bounds[0]), rho_text(bounds[1])))
    elif not suppressed:
        said.append(texts.NO_SUPPRESSION)
    return tuple(numbering.finding(sentence) for sentence in said)


def _forest_row(row: Association, clusters: tuple[str, ...], alpha: float) -> ForestRow:
    bounds = suppression_bounds(row.sensitivity)
    return ForestRow(
        cluster=clusters.index(row.cluster),
        name=sentences.cluster(row.cluster),
        rho=row.rho,
        low=row.ci_low,
        high=row.ci_high,
        suppressed_low=None if bounds is None else bounds[0],
        suppressed_high=None if bounds is None else bounds[1],
        rho_text=rho_text(row.rho),
        interval=interval_text(row.ci_low, row.ci_high),
        p=p_text(row.p_value),
        p_adjusted=p_text(row.p_adjusted, alpha=alpha),
        significant=row.significant,
    )


def _association_row(row: Association, clusters: tuple[str, ...], alpha: float) -> Row:
    strong = CellState.STRONG if row.significant else CellState.PLAIN
    return Row(
        (
            Cell(row.cluster, strong),
            _rho_cell(row.rho),
            Cell(interval_text(row.ci_low, row.ci_high), _defined(row.ci_low), row.ci_low),
            Cell(p_text(row.p_value), _defined(row.p_value), row.p_value),
            Cell(
                p_text(row.p_adjusted, alpha=alpha),
                strong if row.significant else _defined(row.p_adjusted),
                row.p_adjusted,
            ),
            Cell(p_text(row.q_value), _defined(row.q_value), row.q_value),
            _rho_cell(row.rho_pooled),
            Cell(_lots_text(row), order=row.n_lots),
            Cell(_methods_text(row)),
            Cell(_correction_text(row, alpha), strong),
        ),
        cluster=clusters.index(row.cluster),
    )


def suppression_bounds(how: Sensitivity) -> tuple[float, float] | None:
    """Return the bounds that suppression leaves of rho, or None where it leaves no room (beyond floating noise)."""
    low, high = how.rho_low_under_suppression, how.rho_high_under_suppression
    return None if low is None or high is None or high - low < _NOISE else (low, high)


def _is_dragged(row: Association, alpha: float) -> bool:
    return not row.significant and row.p_adjusted is not None and row.p_adjusted <= alpha


def _correction_text(row: Association, alpha: float) -> str:
    if row.significant:
        return texts.SIGNIFICANT
    return texts.DRAGGED if _is_dragged(row, alpha) else texts.NOT_SIGNIFICANT


def _lots_text(row: Association) -> str:
    units = row.n_lots if row.n_units is None else row.n_units
    return sentences.lots_and_units(row.n_lots, units)


def _methods_text(row: Association) -> str:
    methods = dict.fromkeys(method for method in (row.method, row.method_adjusted) if method is not _UNDEFINED)
    return " / ".join(texts.NULL_METHODS[method] for method in methods) or texts.NULL_METHODS[_UNDEFINED]


def _not_asked_row(name: str, clusters: tuple[str, ...]) -> Row:
    blank = Cell(texts.NOT_COMPUTED, CellState.NO_VALUE)
    return Row((Cell(name), *(blank,) * 8, Cell(texts.NOT_TESTED, CellState.NOT_ASKED)), cluster=clusters.index(name))


def _defined(value: float | None) -> CellState:
    return CellState.NO_VALUE if value is None else CellState.PLAIN


def _rho_cell(rho: float | None) -> Cell:
    return Cell(rho_text(rho), _defined(rho), rho)


def _computed(rho: float | None) -> Cell:
    return Cell(texts.NOT_COMPUTED, CellState.NO_VALUE) if rho is None else _rho_cell(rho)


def _percent_cell(value: float | None) -> Cell:
    return Cell(texts.NOT_COMPUTED, CellState.NO_VALUE) if value is None else Cell(percent_text(value), order=value)


def _lead_removed_cell(how: Sensitivity) -> Cell:
    if how.rho_after_lead_removal is None:
        return Cell(texts.NOT_COMPUTED, CellState.NO_VALUE)
    p = "" if how.p_after_lead_removal is None else f" ({p_text(how.p_after_lead_removal)})"
    return Cell(rho_text(how.rho_after_lead_removal) + p, order=how.rho_after_lead_removal)


def _bounds_cell(how: Sensitivity) -> Cell:
    bounds = suppression_bounds(how)
    if bounds is None:
        return Cell(texts.NOT_COMPUTED, CellState.NO_VALUE)
    return Cell(interval_text(*bounds), CellState.SUPPRESSED, bounds[0])


def _left_out_cell(pair: tuple[float, float] | None) -> Cell:
    if pair is None:
        return Cell(texts.NOT_COMPUTED, CellState.NO_VALUE)
    return Cell(interval_text(*pair), order=pair[0])


def _pair(left: LeaveOneOut | None) -> tuple[float, float] | None:
    if left is None or left.low is None or left.high is None:
        return None
    return left.low, left.high


def _sign_holds(how: Sensitivity) -> bool:
    return all(left is None or left.sign_holds for left in (how.leave_one_lot_out, how.leave_one_site_out))
