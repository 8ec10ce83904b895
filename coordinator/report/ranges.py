"""The leave-one-out figure: where rho goes when one lot, or one whole site, is left out."""

from markupsafe import Markup

from coordinator.report import texts
from coordinator.report.contents import RangeRow, Ranges
from coordinator.report.forest import name_column
from shared.drawing.scales import Scale
from shared.drawing.svg import drawing, element, group, line, rectangle, shortened, text
from shared.pages.rounding import decimal_text

WIDTH = 860
_ROW = 30
_TOP, _BOTTOM = 34, 30
_PLOT_END = 742


def ranges_drawing(ranges: Ranges) -> Markup:
    """Return the leave-one-out figure."""
    name_room = name_column([row.name for row in ranges.rows])
    scale = Scale(-1, 1, name_room + 22, _PLOT_END)
    bottom = _TOP + _ROW * len(ranges.rows)
    grid = []
    for tick in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x = scale.at(tick)
        grid.append(line(x, _TOP - 6, x, bottom + 4, class_="zero" if tick == 0 else "grid"))
        grid.append(text(x, bottom + 20, decimal_text(tick, 1), class_="tick", anchor="middle"))
    return drawing(
        ranges.identifier,
        width=WIDTH,
        height=bottom + _BOTTOM,
        title=ranges.title,
        description=ranges.finding.text,
        content=[
            *_legend(scale.start),
            *grid,
            *(_row(row, scale, _TOP + _ROW * index, name_room) for index, row in enumerate(ranges.rows)),
        ],
    )


def _row(row: RangeRow, scale: Scale, top: float, name_room: float) -> Markup:
    middle = top + _ROW / 2
    marks = [
        rectangle(4, top + 1, WIDTH - 8, _ROW - 2, class_="band"),
        text(8, middle + 4.5, shortened(row.name, 13, name_room), class_="label"),
    ]
    if row.lots is not None:
        left, right = (scale.at(end) for end in row.lots)
        marks.append(rectangle(left, middle - 9, max(right - left, 2), 7, class_="left-out lots"))
    if row.sites is not None:
        left, right = (scale.at(end) for end in row.sites)
        marks.append(rectangle(left, middle + 2, max(right - left, 2), 7, class_="left-out sites"))
    if row.rho is not None:
        x = scale.at(row.rho)
        marks.append(line(x, middle - 12, x, middle + 12, class_="estimate-line"))
    turns = row.note == texts.SIGN_TURNS
    note = f"{texts.COLUMN_SIGN} {row.note}"
    marks.append(text(WIDTH - 8, middle + 4.5, note, class_="label strong" if turns else "small", anchor="end"))
    return group(marks, class_="row", data_cluster=str(row.cluster))


def _legend(x: float) -> list[Markup]:
    return [
        element("line", x1=x + 2, y1=4, x2=x + 2, y2=20, class_="estimate-line"),
        text(x + 10, 17, texts.RANGES_ALL, class_="small"),
        rectangle(x + 80, 8, 26, 8, class_="left-out lots"),
        text(x + 112, 17, texts.RANGES_LOTS, class_="small"),
        rectangle(x + 220, 8, 26, 8, class_="left-out sites"),
        text(x + 252, 17, texts.RANGES_SITES, class_="small"),
    ]
