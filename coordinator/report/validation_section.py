"""What became of the discovered clusters in lots that took no part in finding them.

Rules: a row holds, does not hold, or was not eligible or not testable, each in words with its reason; nothing is drawn
greener than that. Panels show the lots of one tissue that the edition may show.
"""

from coordinator.report import captions, sentences, texts
from coordinator.report.contents import Panels, ValidationSection
from coordinator.report.edition import names_one_of
from coordinator.report.lot_sections import shares_table, validation_panel
from coordinator.report.lots import LotView
from coordinator.report.verdicts import outcome
from protocol.results import EndpointCard, ResultSet, ValidationRow
from shared.pages.contents import Cell, CellState, Column, Row, Table
from shared.pages.numbering import Numbering
from shared.pages.rounding import interval_text, p_equation, p_text, percent_text, rho_text


def validation_section(
    view: LotView, results: ResultSet, card: EndpointCard, numbering: Numbering
) -> ValidationSection | None:
    """Return the validation of one endpoint, or None where there is none."""
    rows = tuple(row for row in results.validation if row.endpoint == card.endpoint)
    if not rows:
        return None
    tested = [row for row in rows if row.holds is not None]
    finding = numbering.finding(
        sentences.validation_finding(sum(row.holds is True for row in tested), len(tested), len(rows) - len(tested))
        + _by_tissue(rows, view.hidden_names)
    )
    return ValidationSection(finding=finding, panels=_panels(view, card, rows), table=_table(view, results, card, rows))


def _by_tissue(rows: tuple[ValidationRow, ...], hidden: frozenset[str]) -> str:
    """Return in words where each cluster held and which tissues could not speak, and why."""
    said = ""
    for row in rows:
        if row.tissue is None:
            continue
        cluster = sentences.cluster(row.cluster)
        if row.holds:
            said += f" In {row.tissue}, {cluster} held ({row.n_lots} lots)."
        elif not row.eligible:
            said += f" {row.tissue} was not eligible to speak on {cluster}: {_reason_in_words(row, hidden)}."
    return said


def _reason_in_words(row: ValidationRow, hidden: frozenset[str]) -> str:
    return (
        texts.WITHHELD_SENTENCE if names_one_of(row.eligibility_reason, hidden) else row.eligibility_reason.rstrip(".")
    )


def _panels(view: LotView, card: EndpointCard, rows: tuple[ValidationRow, ...]) -> Panels | None:
    drawn = []
    all_lots: set[int] = set()
    for index, row in enumerate(rows):
        if row.tissue is None or row.cluster not in view.data.clusters:
            continue
        lots = tuple(
            lot
            for lot in view.shown
            if lot in view.validation and view.data.cohorts[lot] == row.cohort and view.data.tissues[lot] == row.tissue
        )
        if not lots:
            continue
        all_lots |= set(lots)
        drawn.append(
            validation_panel(
                view,
                card,
                cluster=view.data.clusters.index(row.cluster),
                lots=lots,
                heading=f"{row.tissue}, {sentences.cluster(row.cluster)}",
                statistic=f"{outcome(row)}: {texts.RHO} {rho_text(row.rho)}, {p_equation(row.p_value)}"
                if row.rho is not None
                else outcome(row),
                identifier=f"validation-panel-{card.endpoint}-{index}",
            )
        )
    if not drawn:
        return None
    table = shares_table(view, tuple(sorted(all_lots)), card)
    return Panels(
        identifier=f"validation-panels-{card.endpoint}",
        title=captions.validation_title(card.assay),
        sentence=texts.VALIDATION_SENTENCE,
        panels=tuple(drawn),
        table=Table(f"validation-{table.identifier}", table.caption, table.columns, table.rows),
    )


def _table(view: LotView, results: ResultSet, card: EndpointCard, rows: tuple[ValidationRow, ...]) -> Table:
    hidden = view.hidden_names
    return Table(
        identifier=f"validation-{card.endpoint}",
        caption=texts.VALIDATION,
        columns=(
            Column(texts.COLUMN_CLUSTER),
            Column(texts.COLUMN_COHORT),
            Column(texts.COLUMN_TISSUE),
            Column(texts.COLUMN_STATE),
            Column(texts.COLUMN_RHO, numeric=True),
            Column(captions.column_interval(percent_text(results.study.confidence)), numeric=True),
            Column(texts.COLUMN_P, numeric=True),
            Column(texts.COLUMN_LOTS, numeric=True),
            Column(texts.COLUMN_DIRECTION),
            Column(texts.COLUMN_REASON),
        ),
        rows=tuple(
            Row(
                (
                    Cell(row.cluster),
                    Cell(row.cohort),
                    Cell(row.tissue or texts.ALL_TISSUES),
                    Cell(outcome(row), CellState.STRONG if row.holds is not None else CellState.NOT_ASKED),
                    _cell(row.rho, rho_text(row.rho)),
                    _cell(row.ci_low, interval_text(row.ci_low, row.ci_high)),
                    _cell(row.p_value, p_text(row.p_value, alpha=results.study.alpha)),
                    Cell(f"{row.n_lots:,}", order=row.n_lots),
                    Cell(texts.DIRECTIONS[row.alternative]),
                    Cell(_reason(row, hidden)),
                ),
                cluster=view.data.clusters.index(row.cluster) if row.cluster in view.data.clusters else None,
            )
            for row in rows
        ),
    )


def _cell(value: float | None, text: str) -> Cell:
    return Cell(text, CellState.NO_VALUE if value is None else CellState.PLAIN, value)


def _reason(row: ValidationRow, hidden: frozenset[str]) -> str:
    reason = row.eligibility_reason if row.reason_code is None else f"{row.eligibility_reason} ({row.reason_code})"
    return texts.WITHHELD_SENTENCE if names_one_of(reason, hidden) else reason
