"""The files that a report carries inside itself, made from what its edition may hold.

Rules: tables are CSV by RFC 4180 with line feeds; a cell that a spreadsheet would run as a formula is made plain text.
A suppressed count is written -5 (meaning "fewer than 5") beside its declared bounds. The results are the edition's.
"""

import csv
import io
import json
from collections.abc import Iterable

from coordinator.report import texts
from coordinator.report.comparability_section import edition_comparability
from coordinator.report.contents import Download
from coordinator.report.edition import names_one_of
from coordinator.report.lots import LotView
from coordinator.report.markers_edition import edition_markers, for_the_page
from protocol.results import ResultSet

_MOST_ROWS = 1_500
_MOST_MARKER_ROWS = 600
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def edition_results(results: ResultSet, view: LotView) -> ResultSet:
    """Return the results less every lot, and every remark that names a lot, which the edition may not hold."""
    hidden = view.hidden_names
    lots = results.lots.model_copy(
        update={"excluded": tuple(lot for lot in results.lots.excluded if view.edition.shows_lots_of(lot.site))}
    )
    return results.model_copy(
        update={
            "lots": lots,
            "warnings": tuple(warning for warning in results.warnings if not names_one_of(warning, hidden)),
            "verdicts": tuple(
                verdict.model_copy(update={"sentence": texts.WITHHELD_SENTENCE})
                if names_one_of(verdict.sentence, hidden)
                else verdict
                for verdict in results.verdicts
            ),
            "validation": tuple(
                row.model_copy(update={"eligibility_reason": texts.WITHHELD_SENTENCE})
                if names_one_of(row.eligibility_reason, hidden)
                else row
                for row in results.validation
            ),
            "markers": for_the_page(
                edition_markers(results.markers, view.data, view.discovery_used(), view.edition), most=_MOST_MARKER_ROWS
            ),
            "comparability": edition_comparability(results.comparability, view.data, view.edition),
        }
    )


def downloads(results: ResultSet, view: LotView) -> tuple[Download, ...]:
    """Return the files of an edition; ``results`` are the edition's own."""
    study = results.study.study
    files = [
        Download(
            filename=f"{study}-associations.csv",
            media_type="text/csv",
            content=_associations_csv(results),
            sentence=texts.DOWNLOAD_ASSOCIATIONS,
        )
    ]
    if view.shown and fits_into_page(view):
        files.append(
            Download(
                filename=f"{study}-lots.csv",
                media_type="text/csv",
                content=_lots_csv(view),
                sentence=texts.DOWNLOAD_LOTS,
            )
        )
    document = results.model_dump(mode="json")
    files.append(
        Download(
            filename=f"{study}-results-{view.edition.kind.value}.json",
            media_type="application/json",
            content=json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n",
            sentence=texts.DOWNLOAD_RESULTS,
        )
    )
    return tuple(files)


def fits_into_page(view: LotView) -> bool:
    """Return whether the lots' own file is small enough to be carried."""
    return len(view.shown) * len(view.data.clusters) <= _MOST_ROWS


def plain_cell(text: str) -> str:
    """Return ``text`` so that no spreadsheet takes it for a formula.

    >>> plain_cell("=1+1"), plain_cell("CD14 Mono")
    ("'=1+1", 'CD14 Mono')
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _csv(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if cell is None else plain_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return buffer.getvalue()


def _associations_csv(results: ResultSet) -> str:
    header = (
        "endpoint", "cluster", "n_lots", "rho", "ci_low", "ci_high", "p_value", "p_adjusted", "q_value", "rho_pooled",
        "method", "significant",
    )  # fmt: skip
    return _csv(
        header,
        (
            (
                row.endpoint,
                row.cluster,
                row.n_lots,
                row.rho,
                row.ci_low,
                row.ci_high,
                row.p_value,
                row.p_adjusted,
                row.q_value,
                row.rho_pooled,
                row.method.value,
                str(row.significant).lower(),
            )
            for row in results.associations
        ),
    )


def _lots_csv(view: LotView) -> str:
    data = view.data
    endpoints = tuple(view.log_potency)
    counted = ("cells", "cells_low", "cells_high", "all_cells_low", "all_cells_high")
    header = (
        "lot", "site", "donor", "tissue", "cohort", "cluster",
        *(counted if data.counted else ("share_percent",)),
        *(f"log_potency_{endpoint}" for endpoint in endpoints),
    )  # fmt: skip

    def rows() -> Iterable[tuple[object, ...]]:
        for row in view.shown:
            potency = tuple(float(view.log_potency[endpoint][row]) for endpoint in endpoints)
            for cluster, name in (*enumerate(data.clusters), (None, texts.UNASSIGNED)):
                low, high = view.count_bounds(row, cluster)
                totals = int(data.totals_low[row]), int(data.totals_high[row])
                amount = (
                    (_count(low, high), low, high, *totals) if data.counted else view.share_bounds(row, cluster)[:1]
                )
                yield (
                    data.lots[row],
                    data.sites[row],
                    data.donors[row],
                    data.tissues[row],
                    data.cohorts[row],
                    name,
                    *amount,
                    *(None if value != value else value for value in potency),  # noqa: PLR0124 - NaN alone differs from itself
                )

    return _csv(header, rows())


def _count(low: int, high: int) -> int | None:
    if low == high:
        return low
    return -(high + 1) if low <= 1 else None
