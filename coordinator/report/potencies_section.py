"""The section on several potencies: which cluster goes with which, on one map, only where the study has two or more."""

from coordinator.report import sentences
from coordinator.report.lots import LotView
from coordinator.report.potency_map import MapColumn, map_drawings
from protocol.modules.potencies_results import PotenciesResults, PotencyCell
from protocol.results import Association, EndpointCard, ResultSet
from shared.pages.contents import Cell, CellState, Column, Finding, ModuleFigure, ModuleSection, Row, Table
from shared.pages.numbering import Numbering
from shared.pages.rounding import interval_text, p_equation, p_text, rho_text

HEADING = "Several potencies side by side"
_LIMITS = (
    "Each potency is corrected for itself: the more potencies, the more chances for a false finding in one of them.",
    "Two potencies with one cluster in common need not be one mechanism, nor two without one be independent.",
    "Potencies in different units are not compared with each other: only their order over the lots is.",
)


def potencies_section(view: LotView, results: ResultSet, numbering: Numbering) -> ModuleSection | None:
    """Return the section, or None where the study has one potency."""
    found = results.potencies
    if found is None:
        return None
    cards = {card.endpoint: card for card in results.endpoints}
    blocks: list[str | Finding | Table | ModuleFigure] = [
        numbering.finding(_finding(found, results)),
        _correction(found, results),
        _map(view, results, found),
    ]
    if found.pairs:
        blocks += [_pairs_sentence(found), _pairs_table(found, {name: card.assay for name, card in cards.items()})]
    return ModuleSection(identifier="potencies", heading=HEADING, outcome=None, blocks=tuple(blocks), limits=_LIMITS)


def _finding(found: PotenciesResults, results: ResultSet) -> str:
    said = []
    for card in results.endpoints:
        hits = [cell for cell in found.cells if cell.endpoint == card.endpoint and cell.significant]
        rows = [cell for cell in found.cells if cell.endpoint == card.endpoint]
        if not rows:
            said.append(f"{card.assay}: not answered")
        elif not hits:
            said.append(f"{card.assay}: no cluster shown")
        else:
            said.append(f"{card.assay}: {', '.join(_hit(cell) for cell in hits)}")
    shared = _led_by_two(found)
    tail = f" {shared} in more than one column." if shared else " No cluster is significant in more than one column."
    return f"{'; '.join(said)}.{tail}"


def _hit(cell: PotencyCell) -> str:
    return f"{sentences.cluster(cell.cluster)} (rho {rho_text(cell.rho)}, corrected {p_equation(cell.p_adjusted)})"


def _led_by_two(found: PotenciesResults) -> str:
    columns: dict[str, set[str]] = {}
    for cell in found.cells:
        if cell.significant:
            columns.setdefault(cell.cluster, set()).add(cell.endpoint)
    names = [name for name, endpoints in columns.items() if len(endpoints) > 1]
    return (
        ", ".join(sentences.cluster(name) for name in names) + (" is" if len(names) == 1 else " are") if names else ""
    )


def _correction(found: PotenciesResults, results: ResultSet) -> str:
    alpha = results.study.alpha
    across = [cell for cell in found.cells if cell.p_holm is not None and cell.p_holm <= alpha]
    names = {card.endpoint: card.assay for card in results.endpoints}
    kept = ", ".join(f"{sentences.cluster(cell.cluster)} with {names[cell.endpoint]}" for cell in across)
    return (
        f"{found.families_tested} families were tested, one for each potency, each corrected for itself over its "
        f"clusters (max-T). Over all {found.tests} tests of all potencies together (Holm), "
        + (f"this remains: {kept}." if across else "nothing remains.")
    )


def _map(view: LotView, results: ResultSet, found: PotenciesResults) -> ModuleFigure:
    cells: dict[tuple[str, str], PotencyCell] = {(cell.endpoint, cell.cluster): cell for cell in found.cells}
    present = {str(cell.cluster) for cell in found.cells}
    clusters = [(number, name) for number, name in enumerate(view.data.clusters) if name in present]
    columns = [
        MapColumn(endpoint=card.endpoint, heading=card.assay, n=_donors(results.associations, card))
        for card in results.endpoints
    ]
    title = "Clusters against potencies: rho of share and log potency"
    return ModuleFigure(
        title=title,
        finding=None,
        sentences=("The darker, the stronger; a thick outline and a tick mark what is significant in its column.",),
        drawings=map_drawings(
            clusters,
            columns,
            cells,
            title=title,
            description="One row a cluster, one column a potency; the numbers stand in the table below.",
        ),
        table=_table(results, found, clusters),
    )


def _donors(associations: tuple[Association, ...], card: EndpointCard) -> str:
    rows = [row for row in associations if row.endpoint == card.endpoint]
    if not rows:
        return "not answered"
    lots, units = rows[0].n_lots, rows[0].n_units
    return f"{lots} lots" if units is None or units == lots else f"{lots} lots, {units} donors"


def _table(results: ResultSet, found: PotenciesResults, clusters: list[tuple[int, str]]) -> Table:
    alpha = results.study.alpha
    intervals = {(row.endpoint, str(row.cluster)): (row.ci_low, row.ci_high) for row in results.associations}
    names = {card.endpoint: card.assay for card in results.endpoints}
    order = {name: number for number, name in clusters}
    return Table(
        identifier="potencies",
        caption="Every cluster against every potency",
        columns=(
            Column("Cluster"),
            Column("Potency"),
            Column("rho", numeric=True),
            Column(f"{results.study.confidence:.0%} interval", numeric=True),
            Column("corrected p in its column", numeric=True),
            Column("p over all columns (Holm)", numeric=True),
            Column("State"),
        ),
        rows=tuple(
            Row(
                (
                    Cell(cell.cluster),
                    Cell(names[cell.endpoint]),
                    Cell(rho_text(cell.rho), _state(cell.rho), cell.rho),
                    _interval(intervals.get((cell.endpoint, str(cell.cluster)), (None, None))),
                    Cell(p_text(cell.p_adjusted, alpha=alpha), _state(cell.p_adjusted), cell.p_adjusted),
                    Cell(p_text(cell.p_holm, alpha=alpha), _state(cell.p_holm), cell.p_holm),
                    Cell("✓ significant", CellState.STRONG) if cell.significant else Cell("not significant"),
                ),
                cluster=order[cell.cluster],
            )
            for cell in found.cells
        ),
    )


def _interval(ends: tuple[float | None, float | None]) -> Cell:
    return Cell(interval_text(*ends), _state(ends[0]), ends[0])


def _state(value: float | None) -> CellState:
    return CellState.NO_VALUE if value is None else CellState.PLAIN


def _pairs_sentence(found: PotenciesResults) -> str:
    pairs = len(found.pairs)
    return f"How the potencies themselves go together over the same lots, within strata ({pairs} pairs, not tested):"


def _pairs_table(found: PotenciesResults, assays: dict[str, str]) -> Table:
    return Table(
        identifier="potency-pairs",
        caption="Potencies against each other",
        columns=(Column("Potency"), Column("Potency"), Column("rho", numeric=True), Column("Donors", numeric=True)),
        rows=tuple(
            Row(
                (
                    Cell(assays[pair.endpoints[0]]),
                    Cell(assays[pair.endpoints[1]]),
                    Cell(rho_text(pair.rho), _state(pair.rho), pair.rho),
                    Cell(f"{pair.n_units}", order=pair.n_units),
                )
            )
            for pair in found.pairs
        ),
    )
