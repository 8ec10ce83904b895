"""The site's lots over time: what the chart holds and what may be said of it.

Rules: control limits say what the process does and a specification what a lot must have; the two are drawn apart and
named apart. No control limit is drawn below 20 lots. A signal asks for a cause to be looked for; it fails no lot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from protocol.modules.signed_specification import Specification
from protocol.modules.specification_results import Side
from shared.pages.contents import Cell, CellState, Column, Row, Table
from shared.statistics.control_chart import BASELINE, TREND_ALPHA, TREND_LOTS, ControlChart, chart_of
from site_agent.qualification.judgement import QualificationVerdict, exact_share, threshold_of
from site_agent.qualification.records import QualifiedLot

_RESULTS: Final = {
    QualificationVerdict.PASS: "✓ met",
    QualificationVerdict.FAIL: "✕ not met",
    QualificationVerdict.CANNOT_BE_JUDGED: "? not judged",
}
NOT_A_SPECIFICATION: Final = (
    "Whether a lot is good enough: control limits are not specification limits, and a lot beyond them may well meet "
    "its specification, as one within them may fail it."
)
FALSE_ALARMS: Final = (
    "Of a process that never changes, about 1 new lot in 100 falls beyond limits that 20 lots made, and the trend "
    "test, asked anew at each of the next 20 lots, signals in about 1 of 10 such series."
)


@dataclass(frozen=True, kw_only=True)
class MonitorPoint:
    """One lot of the chart."""

    lot: str
    made: str
    percent: float
    low: float | None
    high: float | None
    outside: bool
    result: str


@dataclass(frozen=True, kw_only=True)
class MonitorView:
    """The page: the points in order, the lines in per cent, and the words."""

    heading: str
    tone: str
    icon: str
    word: str
    headline: str
    signals: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]
    points: tuple[MonitorPoint, ...]
    chart: ControlChart
    threshold: float | None
    at_least: bool
    axis: str
    table: Table
    limits: tuple[str, ...]


def monitor_view(records: Sequence[QualifiedLot], specification: Specification | None) -> MonitorView:
    """Return the page of the site's lots, in the order of making.

    Parameters
    ----------
    records : sequence of QualifiedLot
        At least one; all of one share and atlas, and each with its share.
    specification : Specification, optional
        Its threshold is drawn where it is given.
    """
    what = records[0].share_of
    chart = chart_of(np.array([each.share for each in records], dtype=np.float64))
    outside = set(chart.outside.tolist())
    points = tuple(
        MonitorPoint(
            lot=each.lot,
            made=each.made,
            percent=each.percent,
            low=None if each.share_low is None else 100 * each.share_low,
            high=None if each.share_high is None else 100 * each.share_high,
            outside=number in outside,
            result=_RESULTS[each.verdict],
        )
        for number, each in enumerate(records)
    )
    signals = _signals(points, chart)
    tone, icon, word = _word(chart, signals)
    at_least = specification is None or specification.basis.side is Side.AT_LEAST
    return MonitorView(
        heading=f"Share of {what}, lot by lot",
        tone=tone,
        icon=icon,
        word=word,
        headline=" ".join(signals) if signals else _quiet(points, chart),
        signals=signals,
        facts=_facts(records, specification),
        sentences=_sentences(chart, specification),
        points=points,
        chart=chart,
        threshold=None if specification is None else 100 * threshold_of(specification),
        at_least=at_least,
        axis=f"share of {what} (% of {'cells after QC' if records[0].marker is None else 'its cells'})",
        table=_table(points, drawn=chart.limits is not None),
        limits=(
            NOT_A_SPECIFICATION,
            "Why a share moved: a signal asks for a cause to be looked for.",
            FALSE_ALARMS,
        ),
    )


def _signals(points: Sequence[MonitorPoint], chart: ControlChart) -> tuple[str, ...]:
    signals = []
    names = [point.lot for point in points if point.outside]
    if names:
        verb = "lies" if len(names) == 1 else "lie"
        signals.append(f"{', '.join(names)} {verb} beyond the control limits.")
    if chart.has_trend:
        way = "rises" if chart.trend_rises else "falls"
        signals.append(f"The share {way} over the last {TREND_LOTS} lots (Mann-Kendall p = {chart.trend_p:.2g}).")
    return tuple(signals)


def _word(chart: ControlChart, signals: Sequence[str]) -> tuple[str, str, str]:
    if chart.limits is None:
        return "cannot-be-judged", "…", f"Fewer than {BASELINE} lots"
    if signals:
        return "cannot-be-judged", "!", "The process has changed, or a lot stands apart"
    return "pass", "✓", "No signal"


def _quiet(points: Sequence[MonitorPoint], chart: ControlChart) -> str:
    if chart.limits is None:
        lots = "lot" if len(points) == 1 else "lots"
        return f"{len(points)} {lots} on record: too few to say what the process does. The lots are shown as they are."
    return f"All {len(points)} lots lie within the control limits, and no trend is beyond chance."


def _facts(records: Sequence[QualifiedLot], specification: Specification | None) -> tuple[tuple[str, str], ...]:
    facts = [("Lots", str(len(records))), ("Made", f"{records[0].made} to {records[-1].made}")]
    if specification is not None:
        facts.append(("Specification", f"{specification.study}, version {specification.version}"))
    return tuple(facts)


def _sentences(chart: ControlChart, specification: Specification | None) -> tuple[str, ...]:
    sentences = []
    limits = chart.limits
    if limits is None:
        sentences.append(f"No control limit is drawn: {BASELINE} lots are needed to know what the process does.")
    else:
        sentences.append(
            f"Control limits, {exact_share(max(limits.low, 0.0))} to {exact_share(limits.high)}, are the mean of the "
            f"first {BASELINE} lots, {exact_share(limits.centre)}, and three standard deviations of "
            f"{exact_share(limits.sd)} (mean moving range / 1.128) to either side. Later lots do not move them."
        )
        sentences.append(
            f"The trend is that of the last {TREND_LOTS} lots, by the Mann-Kendall test at {TREND_ALPHA:g}: "
            f"p = {chart.trend_p:.2g}."
        )
    if specification is not None:
        side = "at least" if specification.basis.side is Side.AT_LEAST else "at most"
        threshold = f"{100 * threshold_of(specification):.4g}%"
        sentences.append(f"The specification asks each lot for {side} {threshold}; it is the thick line.")
    return tuple(sentences)


def _table(points: Sequence[MonitorPoint], *, drawn: bool) -> Table:
    def interval(point: MonitorPoint) -> str:
        return "not known" if point.low is None or point.high is None else f"{point.low:.2f} to {point.high:.2f}"

    return Table(
        identifier="lots",
        caption="Lots in the order of making",
        columns=(
            Column("Lot"),
            Column("Made"),
            Column("Share (%)", numeric=True),
            Column("Interval (%)", numeric=True),
            Column("Control limits"),
            Column("When qualified"),
        ),
        rows=tuple(
            Row(
                (
                    Cell(point.lot),
                    Cell(point.made),
                    Cell(f"{point.percent:.2f}", order=point.percent),
                    Cell(interval(point)),
                    Cell("! beyond", CellState.STRONG) if point.outside else Cell("within" if drawn else "not drawn"),
                    Cell(point.result),
                )
            )
            for point in points
        ),
    )
