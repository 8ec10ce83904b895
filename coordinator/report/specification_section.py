"""The section on the specification: the threshold or why there is none, its error rates, and what they rest on.

Rules: the word is "specification" only where the results say so; rates never stand without n and without what resampled
data sets make of them; single lots only where the edition shows them.
"""

from math import log

import numpy as np

from coordinator.modules.specification_shares import LotShares, shares_of_cluster, shares_of_marker
from coordinator.report.lots import LotView
from coordinator.report.specification_figure import SpecificationPoint, specification_drawing
from protocol.modules.specification_results import (
    DecisionCounts,
    RateRange,
    Side,
    SpecificationOutcome,
    SpecificationResults,
)
from protocol.results import EndpointCard, ResultSet
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
from shared.pages.rounding import measure_text, share_interval_text, share_text
from shared.statistics.specification import Line

HEADING = "Specification for release"
_GRID_ROWS = 7
_WORDS = {
    SpecificationOutcome.THRESHOLD: ("✓", "A specification"),
    SpecificationOutcome.INDICATIVE: ("!", "Indicative, not a specification"),
    SpecificationOutcome.NONE: ("○", "None exists"),
}
_LIMITS = (
    "That raising the share would raise potency: lots were observed, not altered.",
    "Lots of another tissue, another process or another atlas, and shares outside the range seen.",
    "That a lot is fit for release: the threshold supports that decision and does not replace it.",
    "The error rates hold where log potency follows the share along a straight line with one spread, as in these lots.",
)


def specification_section(view: LotView, results: ResultSet, numbering: Numbering) -> ModuleSection | None:
    """Return the section, or None where the study asks for no specification."""
    found = results.specification
    if found is None:
        return None
    card = next(card for card in results.endpoints if card.endpoint == found.endpoint)
    icon, word = _WORDS[found.outcome]
    blocks: list[str | Finding | Table | ModuleFigure] = []
    if found.outcome is not SpecificationOutcome.NONE:
        blocks += [numbering.finding(sentence) for sentence in (_rates_sentence(found), _resampled_sentence(found))]
    blocks += [numbering.finding(f"Doubt: {doubt}.") for doubt in found.doubts]
    if found.line is not None and found.seen is not None:
        blocks.append(_figure(view, found, card))
        if view.discovery_shown():
            blocks += ["What line and bound say at shares over the range:", _line_table(found, card)]
    if found.cluster is not None or found.marker is not None:
        blocks += ["What the specification asks, and what it rests on:", _basis_table(found, card)]
    blocks += _remarks(found)
    return ModuleSection(
        identifier="specification",
        heading=HEADING,
        outcome=ModuleOutcome(
            code=f"specification-{found.outcome.value}", word=word, icon=icon, headline=found.sentence
        ),
        blocks=tuple(blocks),
        limits=_LIMITS,
    )


def _n(found: SpecificationResults) -> str:
    return f"{found.n_units} donors, {found.n_lots} lots, {found.n_sites} sites"


def _rates_sentence(found: SpecificationResults) -> str:
    return (
        f"Of lots that pass, {_rate(found.false_pass)} would miss the limit of potency (false pass); of lots with "
        f"enough potency, {_rate(found.false_fail)} would be turned away (false fail). Of lots such as these "
        f"{share_text(100 * (found.passing or 0))} pass. It rests on {_n(found)}."
    )


def _resampled_sentence(found: SpecificationResults) -> str:
    if found.threshold_low is None or found.threshold_high is None:
        span = "no threshold came of it"
    else:
        span = f"the threshold lies between {100 * found.threshold_low:.3g}% and {100 * found.threshold_high:.3g}%"
    return (
        f"With the donors resampled {found.resamples:,} times, {span} (middle 95%); in "
        f"{share_text(100 * (found.resamples_without or 0))} of the resampled data sets none exists."
    )


def _rate(rate: RateRange | None) -> str:
    if rate is None or rate.value is None:
        return "an undefined part"
    text = share_text(100 * rate.value)
    if rate.low is None or rate.high is None:
        return text
    return f"{text} ({share_text(100 * rate.low)} to {share_text(100 * rate.high)} in resampled data sets)"


def _figure(view: LotView, found: SpecificationResults, card: EndpointCard) -> ModuleFigure:
    shares, potency = _shares(view, found), view.log_potency[card.endpoint]
    rows = [row for row in view.discovery_shown() if not np.isnan(potency[row]) and shares.known[row]]
    points = tuple(
        SpecificationPoint(
            lot=view.number(row),
            label=view.labels[row],
            site=view.site_mark(row),
            share_low=100 * float(shares.low[row]),
            share_high=100 * float(shares.high[row]),
            potency=float(potency[row]),
        )
        for row in rows
    )
    shown = "Lots are single marks." if rows else "This edition shows no single lot; line and bound are of all lots."
    return ModuleFigure(
        title=f"Share of {found.share_of} against {card.assay}, with the bound that sets the threshold",
        finding=None,
        sentences=(
            (
                f"A new lot's potency lies above the lower bound with {found.confidence:.0%} confidence; the threshold "
                f"is where the bound reaches the limit. {shown}"
            ),
        ),
        drawings=(
            specification_drawing(
                found,
                points,
                view.sites,
                x_label=f"share of {found.share_of} (% of {_cells(found)})",
                y_label=_potency_label(card),
                description=found.sentence,
            ),
        ),
        table=_lots_table(view, found, card, rows, shares) if rows else _line_table(found, card),
        legend=tuple(sorted({point.site for point in points})),
    )


def _shares(view: LotView, found: SpecificationResults) -> LotShares:
    """Return the share of every lot, as the specification took it."""
    if found.marker is None:
        return shares_of_cluster(view.data, str(found.cluster))
    return shares_of_marker(view.data, found.marker, minimum_cells=found.marker_minimum_cells)


def _cells(found: SpecificationResults) -> str:
    """Return what the share is a part of."""
    if found.marker is None or found.marker.cluster is None:
        return "the lot's cells"
    return f"the lot's cells in {found.marker.cluster}"


def _potency_label(card: EndpointCard) -> str:
    return f"{card.assay} ({'times the reference' if 'relative' in card.scale else card.unit})"


def _lots_table(
    view: LotView, found: SpecificationResults, card: EndpointCard, rows: list[int], shares: LotShares
) -> Table:
    def share(row: int) -> Cell:
        low, high = 100 * float(shares.low[row]), 100 * float(shares.high[row])
        exact = CellState.ZERO if low == 0 else CellState.PLAIN
        state = CellState.SUPPRESSED if shares.suppressed[row] else exact
        return Cell(share_interval_text(low, high), state, (low + high) / 2)

    def result(row: int) -> Cell:
        if found.threshold is None or found.side is None:
            return Cell("no threshold", CellState.NO_VALUE)
        middle = (shares.low[row] + shares.high[row]) / 2
        passes = middle >= found.threshold if found.side is Side.AT_LEAST else middle <= found.threshold
        sufficient = view.log_potency[card.endpoint][row] >= log(found.limit)
        return Cell(f"{'✓ passes' if passes else '✕ fails'}, {'sufficient' if sufficient else 'too weak'}")

    return Table(
        identifier="specification-lots",
        caption="Lots that this edition shows, held to the threshold",
        columns=(
            Column("Lot"),
            Column("Site"),
            Column(f"Share of {found.share_of}", numeric=True),
            Column(_potency_label(card), numeric=True),
            Column("Held to the threshold"),
        ),
        rows=tuple(
            Row(
                (
                    Cell(view.names[row]),
                    Cell(view.data.sites[row]),
                    share(row),
                    _potency_cell(float(view.log_potency[card.endpoint][row])),
                    result(row),
                ),
                lot=view.number(row),
            )
            for row in rows
        ),
    )


def _potency_cell(log_potency: float) -> Cell:
    value = float(np.exp(log_potency))
    return Cell(f"{value:.3g}" if value < 1_000 else measure_text(value), order=value)  # noqa: PLR2004 - digits


def _line_table(found: SpecificationResults, card: EndpointCard) -> Table:
    """Return what line and bound say at shares over the range: the figure's lines in numbers."""
    assert found.line is not None  # noqa: S101 - asked for with a line only
    assert found.seen is not None  # noqa: S101 - the same
    fitted = Line(**found.line.model_dump())
    shares = np.linspace(found.seen.low, found.seen.high, _GRID_ROWS)
    return Table(
        identifier="specification-line",
        caption="Expected potency and its lower bound by share",
        columns=(
            Column(f"Share of {found.share_of} (%)", numeric=True),
            Column(f"Expected {_potency_label(card)}", numeric=True),
            Column(f"Lower bound of a lot, {found.confidence:.0%}", numeric=True),
            Column(f"Chance that a lot misses {found.limit:g}", numeric=True),
        ),
        rows=tuple(
            Row(
                (
                    Cell(f"{100 * share:.3g}", order=float(share)),
                    _potency_cell(float(fitted.predicted(share))),
                    _potency_cell(float(fitted.lower_bound(share, found.confidence))),
                    Cell(share_text(100 * float(fitted.chance_below(share, log(found.limit))))),
                )
            )
            for share in shares.tolist()
        ),
    )


def _basis_table(found: SpecificationResults, card: EndpointCard) -> Table:
    side = "at least" if found.side is Side.AT_LEAST else "at most"
    seen = found.seen
    rows = [
        ("Limit of potency", f"{found.limit:g} {'× reference' if 'relative' in card.scale else card.unit}"),
        ("Confidence for each lot", f"{found.confidence:.0%}, one-sided"),
        ("Declared in the plan", "yes" if found.declared else "no: it stands in no plan that was signed before"),
        ("Share", _share_fact(found)),
        ("Threshold", "none" if found.threshold is None else f"{side} {100 * found.threshold:.4g}%"),
        ("Shares seen (rounded inward)", "–" if seen is None else f"{100 * seen.low:.3g}% to {100 * seen.high:.3g}%"),
        ("Rests on", _n(found)),
        ("Tissues", ", ".join(found.tissues) or "–"),
    ]
    if found.share_tolerance is not None:
        word = "above" if found.side is Side.AT_LEAST else "below"
        rows.append(
            (
                "What such lots reach (95% tolerance bound)",
                f"90% of lots lie {word} {100 * max(found.share_tolerance, 0.0):.3g}%",
            )
        )
    if found.unassigned_limit is not None:
        rows.append(("Most unassigned cells of a sound lot (99%)", share_text(100 * found.unassigned_limit)))
    return Table(
        identifier="specification-basis",
        caption="What the specification asks, and what it rests on",
        columns=(Column("What"), Column("Value")),
        rows=tuple(Row((Cell(name), Cell(value))) for name, value in rows),
    )


def _share_fact(found: SpecificationResults) -> str:
    if found.marker is None:
        return found.share_of
    return (
        f"{found.share_of}: log1p of 10,000 counts / library size is {found.marker.threshold:g} or more; of at least "
        f"{found.marker_minimum_cells} cells"
    )


def _remarks(found: SpecificationResults) -> list[str]:
    remarks = []
    if found.discovery is not None:
        remarks.append(f"The discovery's own lots: {_counts(found.discovery)}.")
    if found.validation is not None:
        remarks.append(f"Validation lots of the same tissue, which set nothing: {_counts(found.validation)}.")
    if found.suppressed_lots:
        remarks.append(
            f"{found.suppressed_lots} lots have a suppressed count of {found.share_of}: the threshold is the strictest "
            "of four readings of them (middle, all low, all high, and the one that weakens the association most)."
        )
    if found.lots_without:
        remarks.append(
            f"{found.lots_without} lots are not in it: their share of {found.share_of} is not known, or of fewer than "
            f"{found.marker_minimum_cells} cells."
        )
    return remarks


def _counts(counts: DecisionCounts) -> str:
    passed = counts.passed_sufficient + counts.passed_insufficient
    failed = counts.failed_sufficient + counts.failed_insufficient
    verb = "is" if counts.passed_insufficient == 1 else "are"
    return (
        f"{passed} pass, of which {counts.passed_insufficient} {verb} too weak; {failed} fail, of which "
        f"{counts.failed_sufficient} would have been sufficient"
    )
