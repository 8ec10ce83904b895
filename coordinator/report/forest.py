"""The forest plot: rho of every cluster with its interval, adjusted p, and the bounds that suppression leaves."""

from collections.abc import Sequence

from markupsafe import Markup

from coordinator.report import texts
from coordinator.report.contents import Forest, ForestRow
from shared.drawing.scales import Scale
from shared.drawing.svg import Anchor, drawing, element, group, line, rectangle, shortened, text, text_width
from shared.pages.rounding import decimal_text

WIDTH = 860
_ROW = 28
_TOP, _BOTTOM = 46, 66
_WIDEST_NAME, _NARROWEST_NAME = 190, 70
_PLOT_END = 520
_RHO_X, _INTERVAL_X, _P_X, _ADJUSTED_X = 572, 700, 766, 846
_ROWS_PER_DRAWING = 30
_TICKS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def forest_drawings(forest: Forest) -> tuple[Markup, ...]:
    """Return the forest plot, in several drawings where one would not fit on a page."""
    blocks = [forest.rows[at : at + _ROWS_PER_DRAWING] for at in range(0, len(forest.rows), _ROWS_PER_DRAWING)]
    return tuple(
        _drawing(forest, block, f"{forest.identifier}-{index}" if index else forest.identifier)
        for index, block in enumerate(blocks)
    )


def name_column(names: Sequence[str]) -> float:
    """Return how wide the column of names is: as wide as the longest one, within bounds."""
    longest = max((text_width(name, 13) * 1.04 for name in names), default=0.0)
    return min(max(longest, _NARROWEST_NAME), _WIDEST_NAME)


def _drawing(forest: Forest, rows: Sequence[ForestRow], identifier: str) -> Markup:
    name_room = name_column([row.name for row in forest.rows])
    scale = Scale(-1, 1, name_room + 22, _PLOT_END)
    bottom = _TOP + _ROW * len(rows)
    return drawing(
        identifier,
        width=WIDTH,
        height=bottom + _BOTTOM,
        title=forest.title,
        description=forest.finding.text,
        content=[
            *_head(forest, scale),
            *_grid(scale, bottom),
            *(_row(row, scale, _TOP + _ROW * index, name_room) for index, row in enumerate(rows)),
            *_legend(scale.start, bottom + 50, suppressed=any(row.suppressed_low is not None for row in forest.rows)),
        ],
    )


def _head(forest: Forest, scale: Scale) -> list[Markup]:
    columns: tuple[tuple[float, str, Anchor], ...] = (
        (8, texts.COLUMN_CLUSTER, "start"),
        (_RHO_X, texts.COLUMN_RHO, "end"),
        (_INTERVAL_X, forest.confidence, "end"),
        (_P_X, texts.COLUMN_P, "end"),
        (_ADJUSTED_X, texts.COLUMN_ADJUSTED, "end"),
    )
    return [
        *(text(x, 18, heading, class_="head", anchor=anchor) for x, heading, anchor in columns),
        text(_ADJUSTED_X, 34, forest.decides, class_="small", anchor="end"),
        text(scale.at(0), 18, texts.FOREST_ZERO, class_="small", anchor="middle"),
        line(8, _TOP - 4, WIDTH - 8, _TOP - 4, class_="rule"),
    ]


def _grid(scale: Scale, bottom: float) -> list[Markup]:
    marks = []
    for tick in _TICKS:
        x = scale.at(tick)
        marks.append(line(x, _TOP - 4 if tick else 24, x, bottom + 4, class_="zero" if tick == 0 else "grid"))
        marks.append(text(x, bottom + 19, decimal_text(tick, 1), class_="tick", anchor="middle"))
    return marks


def _row(row: ForestRow, scale: Scale, top: float, name_room: float) -> Markup:
    middle = top + _ROW / 2
    base = middle + 4.5
    marks = [rectangle(4, top + 1, WIDTH - 8, _ROW - 2, class_="band")]
    if row.suppressed_low is not None and row.suppressed_high is not None:
        left, right = scale.at(row.suppressed_low), scale.at(row.suppressed_high)
        marks.append(rectangle(left, middle - 8, right - left, 16, class_="hatched"))
    if row.low is not None and row.high is not None:
        left, right = scale.at(row.low), scale.at(row.high)
        marks += [
            line(left, middle, right, middle, class_="interval"),
            line(left, middle - 4, left, middle + 4, class_="interval"),
            line(right, middle - 4, right, middle + 4, class_="interval"),
        ]
    if row.rho is None:
        marks.append(text(scale.at(0) + 6, base, row.rho_text, class_="small"))
    else:
        marks.append(_estimate(scale.at(row.rho), middle, significant=row.significant))
    weight = "label strong" if row.significant else "label"
    marks.append(text(8, base, shortened(row.name, 13, name_room), class_=weight))
    if row.rho is not None:
        marks += [
            text(_RHO_X, base, row.rho_text, class_=weight, anchor="end"),
            text(_INTERVAL_X, base, row.interval, class_="label", anchor="end"),
        ]
    marks += [
        text(_P_X, base, row.p, class_="label", anchor="end"),
        text(_ADJUSTED_X, base, row.p_adjusted, class_=weight, anchor="end"),
    ]
    return group(marks, class_="row", data_cluster=str(row.cluster))


def _estimate(x: float, y: float, *, significant: bool) -> Markup:
    if not significant:
        return element("circle", cx=x, cy=y, r=4.5, class_="estimate")
    points = f"{x - 7:.1f},{y:.1f} {x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f}"
    return element("polygon", points=points, class_="estimate significant")


def _legend(left: float, y: float, *, suppressed: bool) -> list[Markup]:
    marks = [
        _estimate(left, y - 4, significant=True),
        text(left + 14, y, texts.FOREST_LEGEND_SIGNIFICANT, class_="small"),
        _estimate(left + 168, y - 4, significant=False),
        text(left + 180, y, texts.FOREST_LEGEND_POINT, class_="small"),
    ]
    if suppressed:
        marks += [
            rectangle(left + 348, y - 12, 26, 16, class_="hatched"),
            text(left + 382, y, texts.FOREST_LEGEND_SUPPRESSED, class_="small"),
        ]
    return marks
