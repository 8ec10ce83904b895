"""The composition of every lot that the edition shows, and averages where they hide each lot behind enough others.

Rules: the leading cluster comes first, so that it stands on the common zero line in every bar; the others follow by
their mean share, unassigned cells last. Lots stand by site, the most potent first.
"""

import math
import re
from collections.abc import Sequence

from coordinator.report import captions, sentences, texts
from coordinator.report.contents import Bar, Composition, Part, Segment
from coordinator.report.grouping import LotGroup, any_suppressed, lot_groups, mean_potency, mean_share, mean_share_cell
from coordinator.report.lots import LotView
from protocol.results import EndpointCard
from shared.pages.contents import Cell, CellState, Column, Row, Table
from shared.pages.numbering import Numbering
from shared.pages.rounding import decimal_text, share_interval_text, share_text

_SHORT_NAME = 3
_WORD = re.compile(r"^cluster[ _-]?", re.IGNORECASE)


def composition(view: LotView, card: EndpointCard, leads: tuple[int, ...], numbering: Numbering) -> Composition | None:
    """Return the composition figure, or None where the edition may show neither a lot nor an average."""
    averages = () if view.shown == view.used else _average_groups(view)
    if not view.shown and not averages:
        return None
    parts = _parts(view, leads)
    bars = (
        *_bars(view, card, parts),
        *(_average_bar(view, role, rows, parts) for role, rows in averages),
    )
    lead = parts[0]
    single = any(bar.lot is not None for bar in bars)
    of_lead = [bar.segments[0] for bar in bars if bar.lot is not None]
    suppressed = sum(segment.suppressed for bar in bars if bar.lot is not None for segment in bar.segments)
    return Composition(
        identifier="composition",
        title=captions.composition_title(),
        finding=numbering.finding(
            captions.composition_finding(
                lead.name,
                share_text(min(segment.low for segment in of_lead)),
                share_text(max(segment.high for segment in of_lead)),
                len(of_lead),
                suppressed,
            )
            if single and leads
            else texts.COMPOSITION_PLAIN
            if single
            else captions.composition_means(len(view.shown))
        ),
        parts=parts,
        bars=bars,
        potency_label=card.scale,
        table=_table(view, averages),
        key=(
            Cell(texts.ZERO, CellState.ZERO),
            Cell(texts.SUPPRESSED_EXAMPLE, CellState.SUPPRESSED),
            Cell(texts.MISSING, CellState.MISSING),
            Cell(texts.NOT_TESTED, CellState.NOT_ASKED),
        ),
    )


def _average_groups(view: LotView) -> tuple[tuple[str, tuple[int, ...]], ...]:
    groups = (
        (texts.DISCOVERY, view.discovery_used()),
        (texts.VALIDATION_ROLE, tuple(row for row in view.used if row in view.validation)),
    )
    return tuple(
        (role, rows) for role, rows in groups if view.edition.may_average([view.data.sites[row] for row in rows])
    )


def _parts(view: LotView, leads: tuple[int, ...]) -> tuple[Part, ...]:
    names = view.data.clusters
    mean = {
        cluster: math.fsum(sum(view.share_bounds(row, cluster)) for row in view.shown or view.used)
        for cluster in range(len(names))
    }
    rest = sorted((cluster for cluster in mean if cluster not in leads), key=lambda cluster: (-mean[cluster], cluster))
    order = (*leads, *rest)
    shorts = short_names([names[cluster] for cluster in order])
    return (
        *(
            Part(
                cluster=cluster,
                name=names[cluster],
                short=shorts[style],
                key=_key(shorts[style], names[cluster]),
                style=style,
                is_lead=cluster in leads,
            )
            for style, cluster in enumerate(order)
        ),
        Part(
            cluster=None,
            name=texts.UNASSIGNED,
            short=texts.UNASSIGNED_SHORT,
            key=f"{texts.UNASSIGNED_SHORT}  {texts.UNASSIGNED}",
            style=len(names),
            is_lead=False,
        ),
    )


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return what fits into a bar: names that are short but for the word "cluster", else their places in order."""
    bare = tuple(_WORD.sub("", name) for name in names)
    if all(0 < len(name) <= _SHORT_NAME for name in bare) and len(set(bare)) == len(bare):
        return bare
    return tuple(str(number) for number in range(1, len(names) + 1))


def _key(short: str, name: str) -> str:
    return sentences.cluster(name) if _WORD.sub("", name) == short else f"{short}  {name}"


def _by_site_and_potency(view: LotView, card: EndpointCard) -> list[int]:
    potency = view.log_potency[card.endpoint]

    def key(row: int) -> tuple[bool, str, str, bool, float, int]:
        value = float(potency[row])
        missing = math.isnan(value)
        return (
            row in view.validation,
            view.data.sites[row],
            view.data.tissues[row],
            missing,
            0.0 if missing else -value,
            row,
        )

    return sorted(view.shown, key=key)


def _bars(view: LotView, card: EndpointCard, parts: tuple[Part, ...]) -> tuple[Bar, ...]:
    groups = lot_groups(view, _by_site_and_potency(view, card), len(parts))
    tissues = len({view.data.tissues[row] for row in view.shown}) > 1
    return tuple(_bar(view, group, card, parts, tissues=tissues) for group in groups)


def _bar(view: LotView, group: LotGroup, card: EndpointCard, parts: tuple[Part, ...], *, tissues: bool) -> Bar:
    value = mean_potency(view, group.rows, card.endpoint)
    missing = math.isnan(value)
    words = [group.site_name]
    if group.lot is not None:
        row = group.rows[0]
        if tissues:
            words.append(view.data.tissues[row])
        if view.validation:
            words.append(texts.VALIDATION_ROLE if row in view.validation else texts.DISCOVERY)
    return Bar(
        label=group.label,
        lot=group.lot,
        group=" · ".join(words),
        site=group.site,
        segments=tuple(_segment(view, group.rows, index, part.cluster) for index, part in enumerate(parts)),
        potency=None if missing else value,
        potency_text=texts.MISSING if missing else decimal_text(value, 2),
    )


def _average_bar(view: LotView, role: str, rows: tuple[int, ...], parts: tuple[Part, ...]) -> Bar:
    return Bar(
        label=captions.average_label(len(rows)),
        lot=None,
        group=captions.average_group(role),
        site=None,
        segments=tuple(_segment(view, rows, index, part.cluster) for index, part in enumerate(parts)),
        potency=None,
        potency_text="",
    )


def _segment(view: LotView, rows: tuple[int, ...], part: int, cluster: int | None) -> Segment:
    low, high = mean_share(view, rows, cluster)
    suppressed = any_suppressed(view, rows, cluster)
    return Segment(part=part, low=low, high=high, suppressed=suppressed, text=share_interval_text(low, high))


def _table(view: LotView, averages: tuple[tuple[str, tuple[int, ...]], ...]) -> Table:
    clusters: tuple[int | None, ...] = (*range(len(view.data.clusters)), None)
    groups = lot_groups(view, view.shown, len(clusters))
    return Table(
        identifier="cells",
        caption=texts.COLUMN_CELLS
        if view.data.counted and any(group.lot is not None for group in groups)
        else texts.COLUMN_SHARE,
        columns=(
            Column(texts.COLUMN_LOT),
            Column(texts.COLUMN_SITE),
            *(Column(name, numeric=True) for name in (*view.data.clusters, texts.UNASSIGNED)),
        ),
        rows=(
            *(
                Row(
                    (
                        Cell(group.name),
                        Cell(group.site_name),
                        *(
                            mean_share_cell(view, group.rows, cluster)
                            if group.lot is None
                            else view.count_cell(group.rows[0], cluster)
                            for cluster in clusters
                        ),
                    ),
                    lot=group.lot,
                )
                for group in groups
            ),
            *(
                Row(
                    (
                        Cell(f"{captions.average_group(role)}, {captions.average_label(len(rows))}"),
                        Cell(texts.COLUMN_SHARE),
                        *(mean_share_cell(view, rows, cluster) for cluster in clusters),
                    )
                )
                for role, rows in averages
            ),
        ),
    )
