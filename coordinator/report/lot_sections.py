"""The sections that show single lots against potency: large scatters and small multiples.

Rules: lots come from a :class:`LotView` only, which knows the edition. A lot without potency is counted in words, since
it cannot be drawn; a suppressed count is drawn and written as its range.
"""

import math

from coordinator.report import captions, sentences, texts
from coordinator.report.contents import MOST_LEADS, LotPoint, Panels, Scatter
from coordinator.report.grouping import lot_groups, mean_potency_cell, mean_share_cell
from coordinator.report.lots import LotView
from coordinator.report.verdicts import statistic_text
from protocol.results import Association, EndpointCard, ResultSet
from shared.pages.contents import Cell, Column, Row, Table
from shared.pages.numbering import Numbering
from shared.pages.rounding import decimal_text, p_text, rho_text, share_interval_text

MOST_PANELS = 40
_MOST_PANEL_MARKS = 10_000
_MOST_LEAD_MARKS = 20_000
_LEAD_COLUMNS = 4


def lead_rows(rows: tuple[Association, ...], n_lots: int = 1) -> tuple[Association, ...]:
    """Return the clusters that are shown large: the significant ones, else the one that comes closest."""
    most = max(1, min(MOST_LEADS, _MOST_LEAD_MARKS // max(n_lots, 1)))
    significant = tuple(row for row in rows if row.significant)[:most]
    return significant or tuple(row for row in rows if row.rho is not None)[:1] or rows[:1]


def lead_scatter(
    view: LotView, results: ResultSet, card: EndpointCard, row: Association, numbering: Numbering
) -> Scatter | None:
    """Return the large scatter of one cluster over the discovery's lots, or None where no lot may be shown."""
    lots = view.discovery_shown()
    if not lots:
        return None
    cluster = view.data.clusters.index(row.cluster)
    points = _points(view, lots, cluster, card.endpoint)
    suppressed = sum(point.suppressed for point in points)
    statistic = statistic_text(row, results.study.confidence)
    total = len(view.discovery_used()) - _without_potency(view, view.discovery_used(), card.endpoint)
    return Scatter(
        identifier=f"lead-{card.endpoint}-{cluster}",
        cluster=cluster,
        title=captions.lead_title(row.cluster, card.assay),
        name=row.cluster,
        statistic=statistic,
        finding=numbering.finding(
            captions.lead_finding(row.cluster, statistic, len(points), total, suppressed=suppressed)
        ),
        points=points,
        x_label=captions.potency_axis(card.assay, card.scale, card.unit),
        y_label=captions.share_axis(row.cluster),
        without_point=_cannot_be_drawn(view, lots, card.endpoint),
        table=_lead_table(view, lots, cluster, card),
    )


def panels(view: LotView, card: EndpointCard, rows: tuple[Association, ...], alpha: float) -> Panels | None:
    """Return a small scatter of every cluster, or None where no lot may be shown."""
    lots = view.discovery_shown()
    if not lots or not rows:
        return None
    drawn = rows[: min(MOST_PANELS, _MOST_PANEL_MARKS // len(lots))]
    if not drawn:
        return None
    return Panels(
        identifier=f"panels-{card.endpoint}",
        title=captions.panels_title(card.assay),
        sentence=captions.panels_sentence(len(drawn), len(rows)),
        panels=tuple(_panel(view, lots, card, row, alpha) for row in drawn),
        table=shares_table(view, lots, card),
    )


def shares_table(view: LotView, lots: tuple[int, ...], card: EndpointCard) -> Table:
    """Return the shares of every cluster in every lot, beside its potency; means where lots are too many."""
    data = view.data
    return Table(
        identifier=f"shares-{card.endpoint}",
        caption=f"{texts.COLUMN_SHARE}, {captions.potency_axis(card.assay, card.scale, card.unit)}",
        columns=(
            Column(texts.COLUMN_LOT),
            Column(texts.COLUMN_SITE),
            Column(card.scale, numeric=True),
            *(Column(name, numeric=True) for name in (*data.clusters, texts.UNASSIGNED)),
        ),
        rows=tuple(
            Row(
                (
                    Cell(group.name),
                    Cell(group.site_name),
                    mean_potency_cell(view, group.rows, card.endpoint),
                    *(mean_share_cell(view, group.rows, cluster) for cluster in (*range(len(data.clusters)), None)),
                ),
                lot=group.lot,
            )
            for group in lot_groups(view, lots, len(data.clusters))
        ),
    )


def validation_panel(
    view: LotView,
    card: EndpointCard,
    *,
    cluster: int,
    lots: tuple[int, ...],
    heading: str,
    statistic: str,
    identifier: str,
) -> Scatter:
    """Return the small scatter of one discovered cluster over some validation lots."""
    return Scatter(
        identifier=identifier,
        cluster=cluster,
        title=f"{heading}: {captions.lead_title(view.data.clusters[cluster], card.assay)}",
        name=heading,
        statistic=statistic,
        finding=None,
        points=_points(view, lots, cluster, card.endpoint),
        x_label=card.scale,
        y_label=texts.SHARE_SHORT,
        without_point=_cannot_be_drawn(view, lots, card.endpoint),
        table=None,
    )


def _panel(view: LotView, lots: tuple[int, ...], card: EndpointCard, row: Association, alpha: float) -> Scatter:
    cluster = view.data.clusters.index(row.cluster)
    statistic = f"{texts.RHO} {rho_text(row.rho)}, {texts.COLUMN_ADJUSTED} {p_text(row.p_adjusted, alpha=alpha)}"
    return Scatter(
        identifier=f"panel-{card.endpoint}-{cluster}",
        cluster=cluster,
        title=captions.lead_title(row.cluster, card.assay),
        name=sentences.cluster(row.cluster),
        statistic=statistic,
        finding=None,
        points=_points(view, lots, cluster, card.endpoint),
        x_label=card.scale,
        y_label=texts.SHARE_SHORT,
        without_point=(),
        table=None,
    )


def _points(view: LotView, lots: tuple[int, ...], cluster: int, endpoint: str) -> tuple[LotPoint, ...]:
    points = []
    for row in lots:
        potency = float(view.log_potency[endpoint][row])
        if math.isnan(potency):
            continue
        low, high = view.share_bounds(row, cluster)
        points.append(
            LotPoint(
                lot=view.number(row),
                label=view.labels[row],
                site=view.site_mark(row),
                share_low=low,
                share_high=high,
                suppressed=view.is_suppressed(row, cluster),
                share=share_interval_text(low, high),
                potency=potency,
                potency_text=decimal_text(potency, 2),
            )
        )
    return tuple(points)


def _lead_table(view: LotView, lots: tuple[int, ...], cluster: int, card: EndpointCard) -> Table:
    groups = lot_groups(view, lots, _LEAD_COLUMNS)
    single = view.data.counted and all(group.lot is not None for group in groups)
    return Table(
        identifier=f"lead-table-{card.endpoint}-{cluster}",
        caption=captions.lead_title(view.data.clusters[cluster], card.assay),
        columns=(
            Column(texts.COLUMN_LOT),
            Column(texts.COLUMN_SITE),
            *(
                (
                    Column(texts.COLUMN_TISSUE),
                    Column(texts.COLUMN_CELLS, numeric=True),
                    Column(texts.COLUMN_ALL_CELLS, numeric=True),
                )
                if single
                else ()
            ),
            Column(texts.COLUMN_SHARE, numeric=True),
            Column(card.scale, numeric=True),
        ),
        rows=tuple(
            Row(
                (
                    Cell(group.name),
                    Cell(group.site_name),
                    *(_one_lots_cells(view, group.rows[0], cluster) if single else ()),
                    mean_share_cell(view, group.rows, cluster),
                    mean_potency_cell(view, group.rows, card.endpoint),
                ),
                lot=group.lot,
            )
            for group in groups
        ),
    )


def _one_lots_cells(view: LotView, row: int, cluster: int) -> tuple[Cell, ...]:
    return Cell(view.data.tissues[row]), view.count_cell(row, cluster), view.total_cell(row)


def _without_potency(view: LotView, lots: tuple[int, ...], endpoint: str) -> int:
    return sum(math.isnan(float(view.log_potency[endpoint][row])) for row in lots)


def _cannot_be_drawn(view: LotView, lots: tuple[int, ...], endpoint: str) -> tuple[str, ...]:
    n = _without_potency(view, lots, endpoint)
    return (captions.without_potency(n),) if n else ()
