"""Scatters of single lots: share (%) against log potency, large for leading clusters, small for every cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from markupsafe import Markup

from coordinator.report import sentences, texts
from coordinator.report.contents import MOST_LEADS, LotPoint, Panels, Scatter, SiteMark
from shared.drawing.scales import Scale, Ticks, enclosing, padded, round_ticks
from shared.drawing.svg import drawing, element, line, number, rectangle, shortened, text, text_width
from shared.pages.marks import SITE_COLOURS, site_mark
from shared.pages.rounding import decimal_text

_MOST_LABELLED = 30
_LABEL_SIZE = 11.5
_LABEL_STEPS = (
    (11, 4), (-11, 4), (0, -10), (0, 18), (8, -7), (8, 14), (-8, -7), (-8, 14),
    (14, -16), (-14, -16), (14, 24), (-14, 24), (20, -30), (-20, -30), (20, 38), (-20, 38),
)  # fmt: skip
_MOST_TITLED, _MOST_SHAPED = 900, 2_500
_NEAR = 12
_BOLD_SIZE = 14.3  # bold letters of 13 px are about as wide as plain ones of 14.3
_ZERO_IS_NEAR = 0.3


class _Detail(Enum):
    """How much a mark tells by itself: thousands of marks with all of it would burst the page."""

    TITLED = auto()  # a shape, and under the pointer its lot and values
    SHAPED = auto()
    DOTS = auto()  # one path of dots a site


@dataclass(frozen=True, kw_only=True)
class _Frame:
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    radius: float
    ticks: int


_LARGE = _Frame(width=860, height=396, left=66, right=190, top=18, bottom=56, radius=6.5, ticks=6)
_SMALL = _Frame(width=206, height=206, left=34, right=16, top=60, bottom=36, radius=4, ticks=3)


def lead_drawing(scatter: Scatter, sites: Sequence[SiteMark]) -> Markup:
    """Return the large scatter: labelled lots, a legend of sites with their number of lots."""
    frame = _LARGE
    x_scale, x_ticks, y_scale, y_ticks = _axes(frame, scatter.points, _potency_range(scatter.points))
    points = _marks(
        scatter.points, sites, x_scale, y_scale, frame.radius, detail=_detail(MOST_LEADS * len(scatter.points))
    )
    center, middle = (frame.left + frame.width - frame.right) / 2, (frame.top + frame.height - frame.bottom) / 2
    return drawing(
        scatter.identifier,
        width=frame.width,
        height=frame.height,
        title=scatter.title,
        description=f"{scatter.statistic}. {scatter.x_label}; {scatter.y_label}.",
        content=[
            *_frame_marks(frame, x_scale, x_ticks, y_scale, y_ticks),
            text(center, frame.height - 10, scatter.x_label, class_="axis", anchor="middle"),
            element(
                "text",
                scatter.y_label,
                x=0,
                y=0,
                class_="axis",
                text_anchor="middle",
                transform=f"translate(16 {middle:.1f}) rotate(-90)",
            ),
            *_labels(scatter.points, x_scale, y_scale, frame),
            *points,
            *_site_legend(scatter, sites, frame),
        ],
        class_="linked",
    )


def panel_drawings(panels: Panels, sites: Sequence[SiteMark], *, one_axis: bool) -> tuple[Markup, ...]:
    """Return one small drawing a panel, all with the same potency axis where ``one_axis``."""
    everything = [point for panel in panels.panels for point in panel.points]
    detail = _detail(len(everything))
    return tuple(
        _panel(panel, sites, _potency_range(everything if one_axis else panel.points), detail=detail)
        for panel in panels.panels
    )


def _panel(panel: Scatter, sites: Sequence[SiteMark], potency: tuple[float, float], *, detail: _Detail) -> Markup:
    frame = _SMALL
    x_scale, x_ticks, y_scale, y_ticks = _axes(frame, panel.points, potency)
    return drawing(
        panel.identifier,
        width=frame.width,
        height=frame.height,
        title=panel.title,
        description=f"{panel.statistic}. {panel.x_label}; {panel.y_label}.",
        content=[
            text(4, 15, shortened(panel.name, _BOLD_SIZE, frame.width - 8), class_="label strong"),
            text(4, 31, shortened(panel.statistic, 11.5, frame.width - 4), class_="small"),
            *_frame_marks(frame, x_scale, x_ticks, y_scale, y_ticks),
            text(frame.width - 4, frame.height - 5, panel.x_label, class_="small", anchor="end"),
            text(4, 50, panel.y_label, class_="small"),
            *_marks(panel.points, sites, x_scale, y_scale, frame.radius, detail=detail),
        ],
        class_="panel",
    )


def _detail(n_marks: int) -> _Detail:
    if n_marks <= _MOST_TITLED:
        return _Detail.TITLED
    return _Detail.SHAPED if n_marks <= _MOST_SHAPED else _Detail.DOTS


def _potency_range(points: Sequence[LotPoint]) -> tuple[float, float]:
    return padded([point.potency for point in points], 0.04) if points else (0.0, 1.0)


def _axes(frame: _Frame, points: Sequence[LotPoint], potency: tuple[float, float]) -> tuple[Scale, Ticks, Scale, Ticks]:
    x_ticks = round_ticks(*potency, frame.ticks)
    top = max((point.share_high for point in points), default=0.0)
    bottom = min((point.share_low for point in points), default=0.0)
    from_zero = frame is _SMALL or 0 <= bottom < _ZERO_IS_NEAR * top
    low, high = (0.0, top * 1.02) if from_zero else padded([bottom, top], 0.06)
    y_ticks = round_ticks(low, high or 1.0, max(frame.ticks - 1, 3))
    return (
        enclosing(x_ticks, frame.left, frame.width - frame.right),
        x_ticks,
        enclosing(y_ticks, frame.height - frame.bottom, frame.top),
        y_ticks,
    )


def _frame_marks(frame: _Frame, x_scale: Scale, x_ticks: Ticks, y_scale: Scale, y_ticks: Ticks) -> list[Markup]:
    right, base = frame.width - frame.right, frame.height - frame.bottom
    marks = []
    for tick in y_ticks.values:
        y = y_scale.at(tick)
        marks.append(line(frame.left, y, right, y, class_="grid"))
        marks.append(text(frame.left - 6, y + 4, decimal_text(tick, y_ticks.decimals), class_="tick", anchor="end"))
    for tick in x_ticks.values:
        x = x_scale.at(tick)
        marks.append(line(x, base, x, base + 4, class_="rule"))
        marks.append(text(x, base + 17, decimal_text(tick, x_ticks.decimals), class_="tick", anchor="middle"))
    marks.append(line(frame.left, base, right, base, class_="rule"))
    return marks


def _marks(
    points: Sequence[LotPoint],
    sites: Sequence[SiteMark],
    x_scale: Scale,
    y_scale: Scale,
    radius: float,
    *,
    detail: _Detail,
) -> list[Markup]:
    if detail is not _Detail.DOTS:
        return [_point(point, sites, x_scale, y_scale, radius, detail=detail) for point in points]
    # Thousands of marks of their own would burst the page: one path of dots a site; a suppressed count is a stroke.
    strokes: dict[int, list[str]] = {}
    for point in points:
        x, low, high = (
            number(value)
            for value in (x_scale.at(point.potency), y_scale.at(point.share_low), y_scale.at(point.share_high))
        )
        strokes.setdefault(sites[point.site].style % len(SITE_COLOURS), []).append(
            f"M{x} {high}h0" if not point.suppressed else f"M{x} {low}V{high}"
        )
    return [element("path", d="".join(path), class_=f"dots site-{colour}") for colour, path in sorted(strokes.items())]


def _point(
    point: LotPoint, sites: Sequence[SiteMark], x_scale: Scale, y_scale: Scale, radius: float, *, detail: _Detail
) -> Markup:
    x = x_scale.at(point.potency)
    site = sites[point.site]
    title = f"{point.label}, {site.name}: {point.share}, {point.potency_text}" if detail is _Detail.TITLED else ""
    middle = y_scale.at((point.share_low + point.share_high) / 2)
    mark = site_mark(site.style, x, middle, radius, lot=point.lot, title=title)
    if not point.suppressed:
        return mark
    top, bottom = y_scale.at(point.share_high), y_scale.at(point.share_low)
    return rectangle(x - radius * 0.8, top, radius * 1.6, max(bottom - top, 2), class_="hatched") + mark


def _labels(points: Sequence[LotPoint], x_scale: Scale, y_scale: Scale, frame: _Frame) -> list[Markup]:
    if len(points) > _MOST_LABELLED:
        return []
    places = [(x_scale.at(point.potency), y_scale.at((point.share_low + point.share_high) / 2)) for point in points]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    marks = []
    for point, (x, y) in zip(points, places, strict=True):
        width = text_width(point.label, _LABEL_SIZE)
        for dx, dy in _LABEL_STEPS:
            left = x + dx - (width if dx < 0 else 0 if dx > 0 else width / 2)
            box = (left, y + dy - 10, left + width, y + dy + 2)
            inside = (
                box[0] > frame.left and box[2] < frame.width - frame.right + 30 and box[3] < frame.height - frame.bottom
            )
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                if abs(dx) > _NEAR:
                    marks.append(line(x, y, x + dx, y + dy - 4, class_="leader"))
                marks.append(text(left, y + dy, point.label, class_="small"))
                break
    return marks


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _site_legend(scatter: Scatter, sites: Sequence[SiteMark], frame: _Frame) -> list[Markup]:
    x, y = frame.width - frame.right + 40, frame.top + 14
    marks = [text(x - 8, y, texts.COLUMN_SITE, class_="head")]
    for index, site in enumerate(sites):
        n = sum(point.site == index for point in scatter.points)
        if not n:
            continue
        y += 24
        if y > frame.height - frame.bottom:
            marks.append(text(x + 14, y, texts.MORE_SITES, class_="small"))
            break
        marks.append(site_mark(site.style, x, y - 4, 6))
        name = shortened(site.name, 13, frame.right - 100)
        marks.append(text(x + 14, y, f"{name} ({sentences.count_of(n, 'lot')})", class_="label"))
    if any(point.suppressed for point in scatter.points):
        y += 28
        marks += [
            rectangle(x - 5, y - 15, 10, 18, class_="hatched"),
            text(x + 14, y - 2, scatter.range_legend or texts.SUPPRESSED_LEGEND, class_="small"),
        ]
    return marks
