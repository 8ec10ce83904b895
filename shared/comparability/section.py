"""The page's section on a comparison: the answer, the path, the intervals, the lots, the method, and what comes next.

The same section stands in a study's report and on the page that a site makes for itself. Which lots it shows is decided
by who calls: a report's edition, or the site that owns them.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from shared.comparability import sentences
from shared.comparability.equivalence_drawing import equivalence_drawings, state_word
from shared.comparability.findings import Check, CheckState, Compared, Findings, Range
from shared.comparability.lots_drawing import ShownLot, fold_of, lots_panel
from shared.comparability.path_drawing import path_drawing
from shared.pages.contents import (
    Cell,
    CellState,
    Column,
    Finding,
    ModuleFigure,
    ModuleOutcome,
    ModuleSection,
    Row,
    Table,
)
from shared.pages.rounding import p_text

IDENTIFIER = "comparability"
HEADING = "Comparability after the change"
_STATES = {
    CheckState.PASSED: Cell("✓ passed"),
    CheckState.FAILED: Cell("✕ failed", CellState.STRONG),
    CheckState.NOT_TOLD: Cell("not recorded", CellState.MISSING),
}
_PATH_SENTENCE = (
    "Questions are asked from the top; the first that settles the matter ends the path. The thick branch and the "
    "double frame are the one that was taken."
)
_CHECKS_SENTENCE = "Assay, reference and mapping, by the limits that were fixed before:"
_LOTS_SENTENCE = (
    "Each mark is a lot, relative to the mean of the lots before of its own site and tissue. The band is the quality "
    "range of the lots before. A hatched bar is a count that its site suppressed."
)


class FindingMaker(Protocol):
    """Whatever numbers findings in the order of the page."""

    def finding(self, text: str) -> Finding:
        """Return ``text`` as the next finding."""


def comparability_section(
    findings: Findings, lots: Sequence[ShownLot], numbering: FindingMaker, *, legend: tuple[int, ...], potency: str
) -> ModuleSection:
    """Return the section.

    Parameters
    ----------
    findings : Findings
        What was found.
    lots : sequence of ShownLot
        Those that the page may show; none: the figure of lots is left out.
    numbering : FindingMaker
        Numbers the findings.
    legend : tuple of int
        The sites whose marks are explained, as indices into the page's sites.
    potency : str
        What was measured, with its unit and scale.
    """
    blocks: list[str | Finding | Table | ModuleFigure] = [
        numbering.finding(_arms(findings, potency)),
        sentences.margin_text(findings),
        *(numbering.finding(f"What would be needed next: {step}") for step in findings.next_steps),
        ModuleFigure(
            title="The decision path",
            finding=None,
            sentences=(_PATH_SENTENCE,),
            drawings=(path_drawing(findings, f"{IDENTIFIER}-path"),),
            table=_path_table(findings),
        ),
    ]
    if findings.potency is not None:
        blocks.append(
            ModuleFigure(
                title="Every value after against before, and its margin",
                finding=numbering.finding(_intervals(findings)),
                sentences=(),
                drawings=equivalence_drawings(findings, f"{IDENTIFIER}-equivalence"),
                table=_values_table(findings),
            )
        )
        if lots:
            blocks.append(_lots_figure(findings, tuple(lots), legend))
    blocks += [_CHECKS_SENTENCE, _checks_table(findings.checks)]
    blocks += [numbering.finding(note) for note in findings.notes]
    return ModuleSection(
        identifier=IDENTIFIER,
        heading=HEADING,
        outcome=ModuleOutcome(
            code=findings.outcome.value,
            word=sentences.WORDS[findings.outcome],
            icon=sentences.ICONS[findings.outcome],
            headline=findings.sentence,
        ),
        blocks=tuple(blocks),
        limits=sentences.LIMITS,
    )


def _arms(findings: Findings, potency: str) -> str:
    arms = findings.arms
    return (
        f"The change: {findings.criteria.change.rstrip('.')}. {arms.lots_before} lots before ({arms.units_before} "
        f"donors) and {arms.lots_after} after ({arms.units_after} donors); {arms.compared_before} and "
        f"{arms.compared_after} donors enter the differences, within {arms.strata} "
        f"{'site and tissue' if arms.strata == 1 else 'sites and tissues'}. "
        f"Potency: {potency}. The planned power of its test is "
        f"{sentences.power_text(findings.power)}"
        + ("." if findings.planned_sd is None else f", at an SD between lots of {findings.planned_sd:.2f} in ln.")
    )


def _intervals(findings: Findings) -> str:
    rows = _rows(findings)
    within, outside, lost = (sum(test(row) for row in rows) for test in (_is_within, _is_outside, _is_lost))
    beyond = len(rows) - within - outside - lost
    return (
        f"Over {findings.arms.compared_before} donors before and {findings.arms.compared_after} after, of {len(rows)} "
        f"values (potency and {len(findings.parts)} clusters), {within} lie within their margin, {outside} wholly "
        f"outside it, and {beyond} reach beyond it"
        + (f"; of {lost} more, noise on counts leaves it open." if lost else ".")
    )


def _rows(findings: Findings) -> tuple[Compared, ...]:
    return (*((findings.potency,) if findings.potency is not None else ()), *findings.parts)


def _is_within(row: Compared) -> bool:
    return row.within


def _is_outside(row: Compared) -> bool:
    return row.outside


def _is_lost(row: Compared) -> bool:
    return row.lost_in_noise


def _path_table(findings: Findings) -> Table:
    answers = {True: "yes", False: "no", None: "not asked"}
    return Table(
        identifier=f"{IDENTIFIER}-path",
        caption="The decision path",
        columns=(Column("Question"), Column("Answer"), Column("On the path"), Column("Reason")),
        rows=tuple(
            Row(
                (
                    Cell(sentences.QUESTIONS[step.name]),
                    Cell(answers[step.answer], CellState.STRONG if step.reached else CellState.PLAIN),
                    Cell("yes" if step.reached else "not reached"),
                    Cell(sentences.step_reason(findings, step)),
                )
            )
            for step in findings.path
        ),
    )


def _values_table(findings: Findings) -> Table:
    level = f"{findings.criteria.level:.0%}"
    n = f"{findings.arms.compared_before} before, {findings.arms.compared_after} after"
    with_consortium = any(row.consortium is not None for row in _rows(findings))
    return Table(
        identifier=f"{IDENTIFIER}-values",
        caption=f"Fold after against before, {n} (donors)",
        columns=(
            Column("Value"),
            Column(f"Fold ({level} interval)"),
            Column("Margin"),
            Column("Against the margin"),
            Column("SD in ln: before, after"),
            Column("Power at no difference"),
            Column("Lots in each arm for 80%"),
            Column("Sites alike, p"),
            Column("Lots after in the quality range"),
            *((Column("In the consortium's range"),) if with_consortium else ()),
        ),
        rows=tuple(_value_row(row, findings, with_consortium=with_consortium) for row in _rows(findings)),
    )


def _value_row(row: Compared, findings: Findings, *, with_consortium: bool) -> Row:
    fold = sentences.interval(row, findings.criteria.level).replace(f"{findings.criteria.level:.0%} interval ", "")
    placeholder = row is findings.potency and findings.criteria.justification is None
    low, high = (sentences.fold_text(end) for end in (-row.margin, row.margin))
    margin = f"{low.removesuffix('-fold')} to {high}{', placeholder' if placeholder else ''}"
    return Row(
        (
            Cell(row.name),
            Cell(fold, CellState.SUPPRESSED if row.suppressed else CellState.PLAIN, row.estimate),
            Cell(margin),
            Cell(state_word(row), CellState.STRONG),
            Cell("not estimable" if row.sd_before is None else f"{row.sd_before:.2f}, {row.sd_after:.2f}"),
            *_power_cells(row),
            _sites_cell(row),
            _range_cell(row.own_range),
            *((_range_cell(row.consortium),) if with_consortium else ()),
        )
    )


def _power_cells(row: Compared) -> tuple[Cell, Cell]:
    if row.lost_in_noise:
        return Cell("none", CellState.NO_VALUE), Cell("lots do not help", CellState.NO_VALUE)
    return (
        Cell(sentences.power_text(row.power), order=row.power),
        Cell("more than 400" if row.lots_needed is None else f"{row.lots_needed}", order=row.lots_needed),
    )


def _sites_cell(row: Compared) -> Cell:
    if row.p_sites is None:
        return Cell("one site", CellState.NO_VALUE)
    return Cell(f"{'✓' if row.sites_agree else '✕'} {p_text(row.p_sites)}", order=row.p_sites)


def _range_cell(own: Range | None) -> Cell:
    if own is None:
        return Cell("not asked", CellState.NOT_ASKED)
    return Cell(f"{'✓' if own.passes else '✕'} {own.inside} of {own.of}", order=own.inside)


def _lots_figure(findings: Findings, lots: tuple[ShownLot, ...], legend: tuple[int, ...]) -> ModuleFigure:
    rows = _rows(findings)
    return ModuleFigure(
        title="Lot by lot, before and after",
        finding=None,
        sentences=(_LOTS_SENTENCE,),
        drawings=tuple(
            lots_panel(row, k, lots, f"{IDENTIFIER}-lots-{k}", f"{state_word(row)}; {_range_text(row.own_range)}")
            for k, row in enumerate(rows)
        ),
        table=Table(
            identifier=f"{IDENTIFIER}-lots",
            caption="Fold of each lot against the mean of the lots before of its site and tissue",
            columns=(
                Column("Lot"),
                Column("Site"),
                Column("Arm"),
                *(Column(row.name, numeric=True) for row in rows),
            ),
            rows=tuple(
                Row(
                    (
                        Cell(lot.label),
                        Cell(lot.site),
                        Cell("after" if lot.after else "before"),
                        *(
                            Cell(
                                fold_of(value),
                                CellState.SUPPRESSED if value.suppressed else CellState.PLAIN,
                                value.middle,
                            )
                            for value in lot.values
                        ),
                    ),
                    lot=lot.number,
                )
                for lot in lots
            ),
        ),
        in_panels=True,
        legend=legend,
    )


def _range_text(own: Range | None) -> str:
    return "no range" if own is None else f"range {own.inside} of {own.of}"


def _checks_table(checks: Sequence[Check]) -> Table:
    return Table(
        identifier=f"{IDENTIFIER}-method",
        caption="Assay, reference and mapping",
        columns=(Column("Check"), Column("Found", numeric=True), Column("Limit", numeric=True), Column("State")),
        rows=tuple(
            Row(
                (
                    Cell(sentences.CHECKS[check.name]),
                    _number(check.found, "{:.2f}".format),
                    _number(check.limit, "{:g}".format),
                    _STATES[check.state],
                )
            )
            for check in checks
        ),
    )


def _number(value: float | None, shown: Callable[[float], str]) -> Cell:
    return Cell("not recorded", CellState.NO_VALUE) if value is None else Cell(shown(value), order=value)
