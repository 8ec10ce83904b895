"""The lots behind one attribute: value against potency, one mark a lot that the edition shows, with their table.

A lot below the limit of detection is drawn as a hatched range below every known value: where it lies is not known.
"""

import math

from coordinator.report import captions
from coordinator.report.contents import LotPoint, Scatter
from coordinator.report.grouping import MOST_CELLS
from coordinator.report.lots import LotView
from coordinator.report.scatter import lead_drawing
from coordinator.study_data import AttributeTable
from protocol.modules.attributes import AttributeTransform
from protocol.modules.attributes_results import AttributeAssociation
from protocol.results import EndpointCard
from shared.pages.contents import Cell, CellState, Column, ModuleFigure, Row, Table
from shared.pages.rounding import decimal_text, p_equation, rho_text

_LOT_COLUMNS = ("Lot", "Site", "Value", "Potency")
_SCALES = {AttributeTransform.NONE: "{unit}", AttributeTransform.LOG: "ln {unit}", AttributeTransform.LOGIT: "logit"}


def lead_figure(
    view: LotView, card: EndpointCard, lead: AttributeAssociation, table: AttributeTable
) -> ModuleFigure | None:
    """Return the lots behind one attribute, or None where none may or can be shown; ``table`` has all lots' values."""
    column = table.names.index(lead.attribute)
    lots = [row for row in view.discovery_shown() if not math.isnan(float(view.log_potency[card.endpoint][row]))]
    known = [row for row in lots if not math.isnan(float(table.values[row, column]))]
    below = [row for row in lots if bool(table.below[row, column])]
    if not known or (len(known) + len(below)) * len(_LOT_COLUMNS) > MOST_CELLS:
        return None
    scaled = {row: _scaled(lead.transform, float(table.values[row, column])) for row in known}
    bottom, floor = _undetected_range(list(scaled.values()))
    points = tuple(
        LotPoint(
            lot=view.number(row),
            label=view.labels[row],
            site=view.site_mark(row),
            share_low=scaled.get(row, bottom),
            share_high=scaled.get(row, floor),
            suppressed=row in below,
            share=_value_text(table, row, column),
            potency=float(view.log_potency[card.endpoint][row]),
            potency_text=decimal_text(float(view.log_potency[card.endpoint][row]), 2),
        )
        for row in lots
        if row in scaled or row in below
    )
    title = f"{lead.attribute} against {card.assay}, one mark a lot"
    scatter = Scatter(
        identifier=f"attribute-{card.endpoint}-{lead.attribute}",
        cluster=0,
        title=title,
        name=lead.attribute,
        statistic=f"rho {rho_text(lead.rho)}, corrected {p_equation(lead.p_adjusted)}",
        finding=None,
        points=points,
        x_label=captions.potency_axis(card.assay, card.scale, card.unit),
        y_label=f"{lead.attribute} [{_SCALES[lead.transform].format(unit=lead.unit)}]",
        without_point=(),
        table=None,
        range_legend="below detection",
    )
    return ModuleFigure(
        title=title,
        finding=None,
        sentences=(_shown_sentence(lead, len(points), len(below)),),
        drawings=(lead_drawing(scatter, view.sites),),
        table=_lots_table(view, card, lead, table, [row for row in lots if row in scaled or row in below]),
    )


def _shown_sentence(lead: AttributeAssociation, shown: int, below: int) -> str:
    hidden = lead.n_lots - shown
    sentence = f"{shown} of the {lead.n_lots} lots with a value are shown"
    sentence += "." if not hidden else "; the others are in the statistic and not in this edition."
    return sentence + (f" {below} below detection: hatched, anywhere in the range." if below else "")


def _lots_table(
    view: LotView, card: EndpointCard, lead: AttributeAssociation, table: AttributeTable, lots: list[int]
) -> Table:
    column = table.names.index(lead.attribute)
    return Table(
        identifier=f"attribute-lots-{card.endpoint}-{lead.attribute}",
        caption=f"{lead.attribute} and {card.assay} of each lot",
        columns=(
            Column(_LOT_COLUMNS[0]),
            Column(_LOT_COLUMNS[1]),
            Column(f"{lead.attribute} [{lead.unit}]", numeric=True),
            Column(card.scale, numeric=True),
        ),
        rows=tuple(
            Row(
                (
                    Cell(view.names[row]),
                    Cell(view.data.sites[row]),
                    Cell(
                        _value_text(table, row, column),
                        CellState.SUPPRESSED if bool(table.below[row, column]) else CellState.PLAIN,
                        -math.inf if bool(table.below[row, column]) else float(table.values[row, column]),
                    ),
                    Cell(decimal_text(float(view.log_potency[card.endpoint][row]), 2)),
                ),
                lot=view.number(row),
            )
            for row in lots
        ),
    )


def _undetected_range(known: list[float]) -> tuple[float, float]:
    """Return where lots below detection are drawn: a band below every value that is known."""
    low, high = min(known), max(known)
    room = (high - low) * 0.08 or max(abs(low), 1.0) * 0.08
    return low - 2 * room, low - room


def _scaled(transform: AttributeTransform, value: float) -> float:
    match transform:
        case AttributeTransform.NONE:
            return value
        case AttributeTransform.LOG:
            return math.log(value)
        case AttributeTransform.LOGIT:
            return math.log(value / (1.0 - value))


def _value_text(table: AttributeTable, row: int, column: int) -> str:
    return "below detection" if bool(table.below[row, column]) else f"{float(table.values[row, column]):g}"
