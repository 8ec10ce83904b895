"""The section on markers: what sets the found cluster's cells apart, a dot plot over all clusters, and their tables.

Rules: the lot-paired test decides, with donors as units; what cells as units say stands beside it and is called
descriptive. What an edition may not hold was taken out before (``markers_edition``).
"""

from collections.abc import Sequence

from coordinator.report import captions
from coordinator.report.lots import LotView
from coordinator.report.marker_dots import Dot, dot_drawings
from coordinator.report.markers_edition import edition_markers
from protocol.modules.markers_results import ClusterMarkers, MarkerPredictorRow, MarkerRow, MarkersResults
from protocol.results import ResultSet
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
from shared.pages.numbering import Numbering
from shared.pages.rounding import decimal_text, interval_text, p_equation, p_text, percent_text, rho_text

HEADING = "Markers of the clusters"
TOP = 20
_TOP_IN_FIGURE, _TOP_OF_OTHERS, _MOST_IN_FIGURE = 8, 3, 28
_LIMITS = (
    "A marker tells the cluster's cells from the others; it need not be what makes potency.",
    "Clusters are defined by expression: for a gene by which the atlas tells its clusters apart, a small p is no news.",
    "Only genes of the plan's allow-list were looked at; what is not on it was neither tested nor ruled out.",
    "The t over cells describes: cells of one lot are not independent, and as evidence it would reject far too often.",
)
_OTHERS = "The other clusters, and their first markers by the same test:"
_MARKS = {True: ("✓ marker", CellState.STRONG), False: ("not significant", CellState.PLAIN)}


def markers_section(view: LotView, results: ResultSet, numbering: Numbering) -> ModuleSection | None:
    """Return the section, or None where the study asks for no markers."""
    whole = results.markers
    found = edition_markers(whole, view.data, view.discovery_used(), view.edition)
    if whole is None or found is None:
        return None
    withheld = len(whole.clusters) - len(found.clusters)
    leads = _leads(found, results)
    blocks: list[str | Finding | Table | ModuleFigure] = [_what_was_done(whole)]
    if withheld:
        clusters = "1 cluster is" if withheld == 1 else f"{withheld} clusters are"
        blocks.append(f"{clusters} left out of this edition: too few lots of others stand behind them.")
    blocks += [numbering.finding(_cluster_sentence(cluster, results)) for cluster in leads]
    if found.clusters:
        blocks.append(_dot_plot(view, found, leads, numbering))
    for cluster in leads:
        blocks += [_table_sentence(cluster), _cluster_table(cluster, results)]
    others = [cluster for cluster in found.clusters if cluster not in leads]
    if others:
        blocks += [_OTHERS, _others_table(others)]
    blocks += _predictor_blocks(found, results, numbering)
    return ModuleSection(
        identifier="markers",
        heading=HEADING,
        outcome=_outcome(leads, results, withheld=bool(withheld)),
        blocks=tuple(blocks),
        limits=_LIMITS,
    )


def _leads(found: MarkersResults, results: ResultSet) -> list[ClusterMarkers]:
    """Return the clusters that follow a potency, best first; the first that sent moments where none does."""
    names = list(dict.fromkeys(row.cluster for row in results.associations if row.significant))
    leads = [cluster for name in names for cluster in found.clusters if cluster.cluster == name]
    return leads or list(found.clusters[:1])


def _up(cluster: ClusterMarkers) -> list[MarkerRow]:
    return [row for row in cluster.rows if row.significant and (row.difference or 0) > 0]


def _down(cluster: ClusterMarkers) -> list[MarkerRow]:
    lower = [row for row in cluster.rows if row.significant and (row.difference or 0) < 0]
    return sorted(lower, key=lambda row: (row.difference or 0.0, row.gene))


def _outcome(leads: Sequence[ClusterMarkers], results: ResultSet, *, withheld: bool) -> ModuleOutcome:
    if not leads:
        return ModuleOutcome(
            code="markers-withheld" if withheld else "markers-not-sent",
            word="Not in this edition" if withheld else "Not answered",
            icon="–",
            headline="Too few lots of others stand behind the averages."
            if withheld
            else "No lot sent moments of any cluster: its counts are hidden, too small, or bear noise.",
        )
    lead = leads[0]
    up, down = _up(lead), _down(lead)
    if not up and not down:
        return ModuleOutcome(
            code="markers-not-found",
            word="Not found",
            icon="○",
            headline=f"No gene of the allow-list is shown to set {lead.cluster} apart within the lots.",
        )
    parts = []
    if up:
        parts.append(f"higher: {_listed([row.gene for row in up[:5]])}{_more(len(up), 5)}")
    if down:
        parts.append(f"lower: {_listed([row.gene for row in down[:3]])}{_more(len(down), 3)}")
    return ModuleOutcome(
        code="markers-found",
        word="Found",
        icon="✓",
        headline=f"In {lead.cluster}, {'; '.join(parts)} (lot-paired, q within {results.study.alpha:g}).",
    )


def _more(count: int, shown: int) -> str:
    return f" and {count - shown} more" if count > shown else ""


def _what_was_done(found: MarkersResults) -> str:
    without = f"; {found.n_lots_without} sent none" if found.n_lots_without else ""
    return (
        f"{found.genes} genes in {len(found.clusters)} clusters, from moments of {found.n_lots} discovery lots"
        f"{without}. A lot's cluster of fewer than {found.minimum_cells} cells sends nothing. For each gene and "
        "cluster, the mean of log1p(counts per 10,000) in the cluster less that in the rest of the same lot, donors as "
        "units: one-sample t, two-sided, Benjamini-Hochberg over the genes of a cluster."
    )


def _cluster_sentence(cluster: ClusterMarkers, results: ResultSet) -> str:
    up, down = _up(cluster), _down(cluster)
    tested = sum(row.p_value is not None for row in cluster.rows)
    said = f"{cluster.cluster} ({cluster.n_lots} lots, {cluster.cells:,} cells): of {tested} genes tested, "
    said += f"{len(up)} are higher and {len(down)} lower than in the rest of the same lots."
    best = up[0] if up else None
    if best is not None:
        said += (
            f" First is {best.gene}: {decimal_text(best.difference or 0.0, 2)} higher "
            f"({percent_text(results.study.confidence)} interval {interval_text(best.ci_low, best.ci_high)}, "
            f"{best.n_units} donors), {p_equation(best.p_value)}."
        )
    return said


def _dot_plot(
    view: LotView, found: MarkersResults, leads: Sequence[ClusterMarkers], numbering: Numbering
) -> ModuleFigure:
    genes: list[str] = []
    for cluster in (*leads, *(each for each in found.clusters if each not in leads)):
        most = _TOP_IN_FIGURE if cluster in leads else _TOP_OF_OTHERS
        rows = _up(cluster)[:most] or list(cluster.rows[: 1 if cluster in leads else 0])
        genes += [row.gene for row in rows if row.gene not in genes]
    genes = genes[:_MOST_IN_FIGURE]
    dots = {
        (row.gene, cluster.cluster): Dot(
            mean=row.mean, share=row.share, marker=row.significant and (row.difference or 0) > 0
        )
        for cluster in found.clusters
        for row in cluster.rows
        if row.gene in genes
    }
    clusters = [(view.data.clusters.index(each.cluster), each.cluster) for each in found.clusters]
    title = "Expression of the first markers in every cluster"
    finding = numbering.finding(
        f"The first markers of each cluster, {len(genes)} genes: the area of a dot is the share of cells that express "
        f"the gene, its shade and the number the mean of log1p(counts per 10,000), over {found.n_lots} lots."
    )
    table = Table(
        identifier="markers-dots",
        caption=f"{title}: mean, and share of expressing cells",
        columns=(Column("Gene"), *(Column(each.cluster, numeric=True) for each in found.clusters)),
        rows=tuple(
            Row((Cell(gene), *(_dot_cell(dots.get((gene, each.cluster))) for each in found.clusters))) for gene in genes
        ),
    )
    return ModuleFigure(
        title=title,
        finding=finding,
        sentences=(),
        drawings=dot_drawings(genes, clusters, dots, title=title, description=finding.text),
        table=table,
    )


def _dot_cell(dot: Dot | None) -> Cell:
    if dot is None or dot.mean is None or dot.share is None:
        return Cell("not sent", CellState.MISSING)
    return Cell(f"{decimal_text(dot.mean, 2)} ({percent_text(dot.share)})", order=dot.mean)


def _table_sentence(cluster: ClusterMarkers) -> str:
    return (
        f"{cluster.cluster}: the {TOP} first genes, markers by their difference, then the lowest. Differences and "
        "means are of log1p(counts per 10,000)."
    )


def _cluster_table(cluster: ClusterMarkers, results: ResultSet) -> Table:
    rows = list(cluster.rows[:TOP])
    rows += [row for row in _down(cluster)[: TOP // 2] if row not in rows]
    columns = (
        Column("Gene"),
        Column("difference", numeric=True),
        Column(captions.column_interval(percent_text(results.study.confidence)), numeric=True),
        Column("p", numeric=True),
        Column("q", numeric=True),
        Column("p by sign flips", numeric=True),
        Column("Donors", numeric=True),
        Column("Lots", numeric=True),
        Column("State"),
        Column("mean here", numeric=True),
        Column("mean in the rest", numeric=True),
        Column("expressing here", numeric=True),
        Column("expressing in the rest", numeric=True),
        Column("log2 fold change", numeric=True),
        Column("t over cells (descriptive)", numeric=True),
    )
    return Table(
        identifier=f"markers-{cluster.cluster.replace(' ', '-')}",
        caption=_table_sentence(cluster),
        columns=columns,
        rows=tuple(_gene_row(row, results.study.alpha) for row in rows),
    )


def _gene_row(row: MarkerRow, alpha: float) -> Row:
    state = Cell(*_MARKS[row.significant]) if row.p_value is not None else Cell("not tested", CellState.NO_VALUE)
    if row.significant and (row.difference or 0) < 0:
        state = Cell("✓ lower", CellState.STRONG)
    if row.hidden:
        state = Cell(f"{state.text}; few cells in {row.hidden} lots", CellState.SUPPRESSED)
    return Row(
        (
            Cell(row.gene),
            _number(row.difference, 2),
            Cell(interval_text(row.ci_low, row.ci_high), order=row.ci_low),
            Cell(p_text(row.p_value), order=row.p_value),
            Cell(p_text(row.q_value, alpha=alpha), order=row.q_value),
            Cell(p_text(row.p_sign_flip), order=row.p_sign_flip),
            Cell(f"{row.n_units}", order=row.n_units),
            Cell(f"{row.n_lots}", order=row.n_lots),
            state,
            _number(row.mean, 2),
            _number(row.mean_rest, 2),
            _share(row.share),
            _share(row.share_rest),
            _number(row.log2_fold_change, 2),
            _number(row.cell_t, 1),
        )
    )


def _number(value: float | None, decimals: int) -> Cell:
    if value is None:
        return Cell("not defined", CellState.NO_VALUE)
    return Cell(decimal_text(value, decimals), order=value)


def _share(value: float | None) -> Cell:
    return Cell("not defined", CellState.NO_VALUE) if value is None else Cell(percent_text(value), order=value)


def _others_table(clusters: Sequence[ClusterMarkers]) -> Table:
    return Table(
        identifier="markers-others",
        caption=_OTHERS,
        columns=(
            Column("Cluster"),
            Column("Lots", numeric=True),
            Column("Cells", numeric=True),
            Column("Genes higher", numeric=True),
            Column("Genes lower", numeric=True),
            Column("First higher"),
            Column("First lower"),
        ),
        rows=tuple(
            Row(
                (
                    Cell(each.cluster),
                    Cell(f"{each.n_lots}", order=each.n_lots),
                    Cell(f"{each.cells:,}", order=each.cells),
                    Cell(f"{len(_up(each))}", order=len(_up(each))),
                    Cell(f"{len(_down(each))}", order=len(_down(each))),
                    Cell(", ".join(row.gene for row in _up(each)[:5]) or "none"),
                    Cell(", ".join(row.gene for row in _down(each)[:3]) or "none"),
                )
            )
            for each in clusters
        ),
    )


def _predictor_blocks(
    found: MarkersResults, results: ResultSet, numbering: Numbering
) -> list[str | Finding | Table | ModuleFigure]:
    if not found.predictors:
        return []
    best = found.predictors[0]
    assay = {card.endpoint: card.assay for card in results.endpoints}
    alpha = results.study.alpha
    if best.rho is None:
        said = f"The share of {_named(best)} could not be tested against {assay[best.endpoint]} ({best.reason_code})."
    else:
        verb = ("rises with" if best.rho > 0 else "falls with") if best.significant else "is not shown to follow"
        said = (
            f"The share of {_named(best)} {verb} {assay[best.endpoint]} over {best.n_lots} lots: rho "
            f"{rho_text(best.rho)} ({percent_text(results.study.confidence)} interval "
            f"{interval_text(best.ci_low, best.ci_high)}), "
            f"corrected {p_equation(best.p_adjusted, alpha=alpha)}."
        )
    table = Table(
        identifier="markers-predictors",
        caption="Shares of marker-high cells against potency, a family of their own",
        columns=(
            Column("Potency"),
            Column("Cells"),
            Column("rho", numeric=True),
            Column(captions.column_interval(percent_text(results.study.confidence)), numeric=True),
            Column("p", numeric=True),
            Column("corrected p", numeric=True),
            Column("Lots", numeric=True),
            Column("State"),
        ),
        rows=tuple(
            Row(
                (
                    Cell(assay[row.endpoint]),
                    Cell(_named(row)),
                    Cell(rho_text(row.rho), CellState.NO_VALUE if row.rho is None else CellState.PLAIN, row.rho),
                    Cell(interval_text(row.ci_low, row.ci_high), order=row.ci_low),
                    Cell(p_text(row.p_value), order=row.p_value),
                    Cell(p_text(row.p_adjusted, alpha=alpha), order=row.p_adjusted),
                    Cell(f"{row.n_lots}", order=row.n_lots),
                    Cell("✓ significant", CellState.STRONG)
                    if row.significant
                    else Cell(row.reason_code or "not significant"),
                )
            )
            for row in found.predictors
        ),
    )
    return [numbering.finding(said), table]


def _named(row: MarkerPredictorRow) -> str:
    return f"{row.gene}-high cells (log1p at least {row.threshold:g}) in {row.cluster or 'the lot'}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
