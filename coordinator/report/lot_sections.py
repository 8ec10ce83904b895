"""The sections that show single lots: scatters, small multiples, lots not used, mapping quality.

Rules: lots come from a :class:`LotView` only, which knows the edition. A lot without potency is counted in words, since
it cannot be drawn; a suppressed count is drawn and written as its range.
"""

import math
from collections import Counter

from coordinator.report import sentences, texts
from coordinator.report.contents import (
    Cell,
    CellState,
    Column,
    Finding,
    LotPoint,
    Panels,
    Quality,
    Row,
    Scatter,
    Table,
)
from coordinator.report.edition import names_one_of
from coordinator.report.grouping import lot_groups, mean_potency_cell, mean_share_cell
from coordinator.report.lots import LotView
from coordinator.report.numbering import Numbering
from coordinator.report.rounding import count_text, decimal_text, measure_text, p_text, rho_text, share_interval_text
from coordinator.report.verdicts import statistic_text
from protocol.results import Association, EndpointCard, LotCounts, ResultSet

MOST_LEADS = 4
MOST_PANELS = 40
_MOST_PANEL_MARKS = 20_000
_MOST_LOTS_LISTED = 250
_LEAD_COLUMNS = 4
COLUMNS_PER_TABLE = 8


def lead_rows(rows: tuple[Association, ...]) -> tuple[Association, ...]:
    """Return the clusters that are shown large: the significant ones, else the one that comes closest."""
    significant = tuple(row for row in rows if row.significant)[:MOST_LEADS]
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
    suppressed = sum(point.share_low != point.share_high for point in points)
    statistic = statistic_text(row, results.study.confidence)
    total = len(view.discovery_used()) - _without_potency(view, view.discovery_used(), card.endpoint)
    return Scatter(
        identifier=f"lead-{card.endpoint}-{cluster}",
        cluster=cluster,
        title=sentences.lead_title(row.cluster, card.assay),
        name=row.cluster,
        statistic=statistic,
        finding=numbering.finding(
            sentences.lead_finding(row.cluster, statistic, len(points), total, suppressed=suppressed)
        ),
        points=points,
        x_label=sentences.potency_axis(card.assay, card.scale, card.unit),
        y_label=sentences.share_axis(row.cluster),
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
        title=sentences.panels_title(card.assay),
        sentence=sentences.panels_sentence(len(drawn), len(rows)),
        panels=tuple(_panel(view, lots, card, row, alpha) for row in drawn),
        table=shares_table(view, lots, card),
    )


def shares_table(view: LotView, lots: tuple[int, ...], card: EndpointCard) -> Table:
    """Return the shares of every cluster in every lot, beside its potency; means where lots are too many."""
    data = view.data
    return Table(
        identifier=f"shares-{card.endpoint}",
        caption=f"{texts.COLUMN_SHARE}, {sentences.potency_axis(card.assay, card.scale, card.unit)}",
        columns=(
            Column(texts.COLUMN_LOT),
            Column(texts.COLUMN_SITE),
            Column(card.scale, numeric=True),
            *(Column(name, numeric=True) for name in (*data.clusters, texts.UNASSIGNED)),
        ),
        rows=tuple(
            Row(
                (
                    Cell(group.label),
                    Cell(group.site_name),
                    mean_potency_cell(view, group.rows, card.endpoint),
                    *(mean_share_cell(view, group.rows, cluster) for cluster in (*range(len(data.clusters)), None)),
                ),
                lot=group.lot,
            )
            for group in lot_groups(view, lots, len(data.clusters))
        ),
    )


def excluded(counts: LotCounts, view: LotView, numbering: Numbering) -> tuple[Finding, Table | None]:
    """Return how many lots were not used and why, and those that the edition may name."""
    lots = counts.excluded
    if not lots:
        return numbering.finding(sentences.excluded_none()), None
    named = [lot for lot in lots if view.edition.shows_lots_of(lot.site)]
    reasons = sorted(Counter(lot.code for lot in lots).items())
    finding = numbering.finding(sentences.excluded_some(len(lots), reasons, len(lots) - len(named)))
    if not named or len(named) > _MOST_LOTS_LISTED:
        return finding, None
    hidden = view.hidden_names
    return finding, Table(
        identifier="lots-not-used",
        caption=texts.EXCLUDED,
        columns=(
            Column(texts.COLUMN_LOT),
            Column(texts.COLUMN_SITE),
            Column(texts.COLUMN_CODE),
            Column(texts.COLUMN_REASON),
        ),
        rows=tuple(
            Row(
                (
                    Cell(lot.lot),
                    Cell(lot.site),
                    Cell(lot.code),
                    Cell(texts.WITHHELD_SENTENCE if names_one_of(lot.reason, hidden) else lot.reason),
                )
            )
            for lot in named
        ),
    )


def quality(view: LotView) -> Quality:
    """Return the mapping quality of the lots shown, and how much is suppressed or missing."""
    data = view.data
    counted = view.shown or view.used
    suppressed = sum(int((data.counts_low[row] != data.counts_high[row]).sum()) for row in counted)
    about_counts = sentences.quality_suppressed(suppressed, len(counted) * len(data.clusters))
    measured = data.quality
    if measured is None:
        return Quality(sentences=(texts.QUALITY_ABSENT, about_counts), table=None)
    if not view.shown:
        return Quality(sentences=(texts.QUALITY_WITHHELD, about_counts), table=None)
    if len(view.shown) > _MOST_LOTS_LISTED:
        return Quality(sentences=(sentences.quality_too_many(len(view.shown)), about_counts), table=None)
    columns = (
        (texts.COLUMN_COUNTS, measured.median_counts, 1.0, 0),
        (texts.COLUMN_GENES, measured.median_genes, 1.0, 0),
        (texts.COLUMN_MITO, measured.median_mitochondrial_share, 100.0, 1),
        (texts.COLUMN_COVERAGE, measured.gene_coverage, 100.0, 1),
    )
    missing = sum(math.isnan(float(values[row])) for _, values, _, _ in columns for row in view.shown)
    return Quality(
        sentences=(sentences.quality_lots(len(view.shown), missing), about_counts),
        table=Table(
            identifier="mapping-quality",
            caption=texts.QUALITY,
            columns=(
                Column(texts.COLUMN_LOT),
                Column(texts.COLUMN_SITE),
                Column(texts.COLUMN_TISSUE),
                Column(texts.COLUMN_ALL_CELLS, numeric=True),
                Column(texts.COLUMN_UNASSIGNED, numeric=True),
                *(Column(heading, numeric=True) for heading, *_ in columns),
            ),
            rows=tuple(
                Row(
                    (
                        Cell(view.labels[row]),
                        Cell(data.sites[row]),
                        Cell(data.tissues[row]),
                        _total_cell(view, row),
                        view.share_cell(row, None),
                        *(
                            _measure_cell(scale * float(values[row]), decimals)
                            for _, values, scale, decimals in columns
                        ),
                    ),
                    lot=view.number(row),
                )
                for row in view.shown
            ),
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
        title=f"{heading}: {sentences.lead_title(view.data.clusters[cluster], card.assay)}",
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
        title=sentences.lead_title(row.cluster, card.assay),
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
                share=share_interval_text(low, high),
                potency=potency,
                potency_text=decimal_text(potency, 2),
            )
        )
    return tuple(points)


def _lead_table(view: LotView, lots: tuple[int, ...], cluster: int, card: EndpointCard) -> Table:
    groups = lot_groups(view, lots, _LEAD_COLUMNS)
    single = all(group.lot is not None for group in groups)
    return Table(
        identifier=f"lead-table-{card.endpoint}-{cluster}",
        caption=sentences.lead_title(view.data.clusters[cluster], card.assay),
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
                    Cell(group.label),
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
    return Cell(view.data.tissues[row]), view.count_cell(row, cluster), _total_cell(view, row)


def _total_cell(view: LotView, row: int) -> Cell:
    if not view.data.counted:
        return Cell(texts.SHARES_ONLY, CellState.NO_VALUE)
    low, high = int(view.data.totals_low[row]), int(view.data.totals_high[row])
    return Cell(count_text(low, high), CellState.PLAIN if low == high else CellState.SUPPRESSED, low)


def _measure_cell(value: float, decimals: int) -> Cell:
    if math.isnan(value):
        return Cell(texts.MISSING, CellState.MISSING, -math.inf)
    return Cell(measure_text(value, decimals=decimals), order=value)


def _without_potency(view: LotView, lots: tuple[int, ...], endpoint: str) -> int:
    return sum(math.isnan(float(view.log_potency[endpoint][row])) for row in lots)


def _cannot_be_drawn(view: LotView, lots: tuple[int, ...], endpoint: str) -> tuple[str, ...]:
    n = _without_potency(view, lots, endpoint)
    return (sentences.without_potency(n),) if n else ()
