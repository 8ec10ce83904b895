"""Lots that were not used, mapping quality, and what is missing or suppressed.

Rules: every lot that was received is accounted for; of those that the edition may not name, only the number is told.
"""

import math
from collections import Counter

import numpy as np

from coordinator.report import sentences, texts
from coordinator.report.contents import Quality
from coordinator.report.edition import names_one_of
from coordinator.report.lots import LotView
from protocol.results import LotCounts
from shared.pages.contents import Cell, CellState, Column, Finding, Row, Table
from shared.pages.numbering import Numbering
from shared.pages.rounding import measure_text

_MOST_LOTS_LISTED = 250


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
    columns = [
        (texts.COLUMN_COUNTS, measured.median_counts, 1.0, 0),
        (texts.COLUMN_GENES, measured.median_genes, 1.0, 0),
        (texts.COLUMN_MITO, measured.median_mitochondrial_share, 100.0, 1),
        (texts.COLUMN_COVERAGE, measured.gene_coverage, 100.0, 1),
    ]
    if np.isnan(measured.median_counts).all() and np.isnan(measured.median_genes).all():
        columns = columns[3:]  # morphology: features are neither counts nor genes
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
                        Cell(view.names[row]),
                        Cell(data.sites[row]),
                        Cell(data.tissues[row]),
                        view.total_cell(row),
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


def _measure_cell(value: float, decimals: int) -> Cell:
    if math.isnan(value):
        return Cell(texts.MISSING, CellState.MISSING, -math.inf)
    return Cell(measure_text(value, decimals=decimals), order=value)
