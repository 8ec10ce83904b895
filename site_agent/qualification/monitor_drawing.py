"""The control chart: lots in the order of making, control limits dashed, the specification thick, signals ringed."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from shared.drawing.scales import Scale, enclosing, round_ticks
from shared.drawing.svg import drawing, element, line, number, rectangle, text
from shared.pages.rounding import decimal_text
from site_agent.qualification.monitor_view import MonitorPoint, MonitorView

WIDTH: Final = 860
_HEIGHT = 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 190, 16, 66
_MOST_LABELS = 14
_TICKS = 6
_BAND = 9  # on the failing side of the specification


def monitor_drawing(view: MonitorView) -> Markup:
    """Return the chart of a monitor page."""
    scale, marks = _frame(view)
    places = _places(len(view.points))
    marks += _lines(view, scale)
    marks.append(_path(view.points, places, scale))
    for point, x in zip(view.points, places, strict=True):
        marks += _point(point, x, scale)
    marks += _labels(view.points, places)
    return drawing(
        "monitor",
        width=WIDTH,
        height=_HEIGHT,
        title=view.heading,
        description=view.headline,
        content=marks,
    )


def _frame(view: MonitorView) -> tuple[Scale, list[Markup]]:
    limits = view.chart.limits
    values = [point.percent for point in view.points]
    values += [end for point in view.points for end in (point.low, point.high) if end is not None]
    values += [] if limits is None else [max(100 * limits.low, 0.0), 100 * limits.high]
    values += [] if view.threshold is None else [view.threshold]
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 1.0
    ticks = round_ticks(max(low - room, 0.0), high + room, _TICKS)
    scale = enclosing(ticks, _HEIGHT - _BOTTOM, _TOP)
    marks = []
    for tick in ticks.values:
        y = scale.at(tick)
        marks += [
            line(_LEFT, y, WIDTH - _RIGHT, y, class_="grid"),
            text(_LEFT - 6, y + 4, decimal_text(tick, ticks.decimals), class_="tick", anchor="end"),
        ]
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    marks.append(
        element(
            "text",
            view.axis,
            x=0,
            y=0,
            class_="small",
            text_anchor="middle",
            transform=f"translate(14 {middle:.1f}) rotate(-90)",
        )
    )
    return scale, marks


def _lines(view: MonitorView, scale: Scale) -> list[Markup]:
    right, marks = WIDTH - _RIGHT, []
    limits = view.chart.limits
    named: list[tuple[float, str, str]] = []
    if view.threshold is not None:
        named.append(
            (
                view.threshold,
                "limit",
                f"specification: {'at least' if view.at_least else 'at most'} {view.threshold:.4g}%",
            )
        )
    if limits is not None:
        low, high = max(100 * limits.low, 0.0), 100 * limits.high
        named += [
            (high, "control", f"upper control limit {high:.2f}%"),
            (100 * limits.centre, "centre", f"mean of the first lots {100 * limits.centre:.2f}%"),
            (low, "control", f"lower control limit {low:.2f}%"),
        ]
    taken: list[float] = []
    for value, class_, words in sorted(named, key=lambda each: -each[0]):
        y = scale.at(value)
        marks.append(line(_LEFT, y, right, y, class_=class_))
        at = max([y + 4, *(before + 14 for before in taken[-1:])])  # words never stand on words
        taken.append(at)
        marks.append(text(right + 8, at, words, class_="small strong" if class_ == "limit" else "small"))
    if view.threshold is not None:
        y = scale.at(view.threshold)
        top = y if view.at_least else y - _BAND
        marks.insert(0, rectangle(_LEFT, top, right - _LEFT, _BAND, class_="hatched"))
    return marks


def _places(n: int) -> list[float]:
    room = WIDTH - _RIGHT - _LEFT
    return [_LEFT + room * (number + 0.5) / n for number in range(n)]


def _path(points: Sequence[MonitorPoint], places: Sequence[float], scale: Scale) -> Markup:
    at = [f"{number(x)},{number(scale.at(point.percent))}" for point, x in zip(points, places, strict=True)]
    return element("polyline", points=" ".join(at), class_="path")


def _point(point: MonitorPoint, x: float, scale: Scale) -> list[Markup]:
    y, marks = scale.at(point.percent), []
    if point.low is not None and point.high is not None:
        marks.append(line(x, scale.at(point.low), x, scale.at(point.high), class_="interval"))
    if point.outside:
        marks.append(element("circle", cx=x, cy=y, r=9, class_="signal"))
        marks.append(text(x, y - 13, "!", class_="label strong", anchor="middle"))
    marks.append(element("circle", cx=x, cy=y, r=4.5, class_="estimate significant"))
    return marks


def _labels(points: Sequence[MonitorPoint], places: Sequence[float]) -> list[Markup]:
    step = max(1, -(-len(points) // _MOST_LABELS))
    base = _HEIGHT - _BOTTOM
    dates = (
        element(
            "text",
            points[place].made,
            x=0,
            y=0,
            class_="tick",
            text_anchor="end",
            transform=f"translate({places[place] + 4:.1f} {base + 12}) rotate(-45)",
        )
        for place in range(0, len(points), step)
    )
    return [line(_LEFT, base, WIDTH - _RIGHT, base, class_="rule"), *dates]
