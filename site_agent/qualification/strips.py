"""Strips: one criterion a row, with the new lot's value and its uncertainty, the limit, and the site's past lots.

The side of the limit on which a lot does not meet the criterion is hatched, and the limit is labelled in words: nothing
is told by colour alone. Every strip has a scale of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from shared.drawing.scales import Scale, Ticks, enclosing, round_ticks
from shared.drawing.svg import drawing, element, group, line, rectangle, shortened, text
from shared.pages.rounding import decimal_text

WIDTH: Final = 860
_ROW, _TOP, _BOTTOM = 72, 4, 28
_PLOT = (226.0, 610.0)
_NAME_ROOM = 206.0
_VALUE_X = 630.0
_MOST_TICKS = 5
_PAST_RADIUS = 3.2


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One criterion.

    Attributes
    ----------
    name, note : str
        What it is, with its unit; a second line.
    value, low, high : float
        The new lot's value and its interval; ``low`` and ``high`` are None where none is known, all three where the
        lot has no value.
    limit : float or None
        The limit, ``limit_text`` in words; a lot meets it at or above it where ``at_least``.
    seen : tuple of float or None
        The range that the study saw.
    past : sequence of float
        The site's earlier lots.
    most : float or None
        What no value can exceed.
    value_text, result : str
        As they stand beside the strip.
    """

    name: str
    note: str
    value: float | None
    low: float | None
    high: float | None
    limit: float | None
    limit_text: str
    at_least: bool
    seen: tuple[float, float] | None
    past: Sequence[float]
    value_text: str
    result: str
    most: float | None = None


def strips_drawing(strips: Sequence[Strip], *, title: str, description: str) -> Markup:
    """Return all strips as one drawing, and under them what the marks mean."""
    bottom = _TOP + _ROW * len(strips)
    return drawing(
        "strips",
        width=WIDTH,
        height=bottom + _BOTTOM,
        title=title,
        description=description,
        content=[
            *(_strip(strip, _TOP + _ROW * number) for number, strip in enumerate(strips)),
            *_legend(bottom + 20),
        ],
    )


def _strip(strip: Strip, top: float) -> Markup:
    middle, base = top + 36, top + 52
    scale, ticks = _scale(strip)
    marks = [line(8, top, WIDTH - 8, top, class_="rule")]
    if strip.seen is not None:
        left, right = (min(max(scale.at(end), _PLOT[0]), _PLOT[1]) for end in strip.seen)
        marks.append(rectangle(left, middle - 15, right - left, 30, class_="seen"))
    marks += _limit(strip, scale, top, middle)
    marks.append(line(_PLOT[0], base, _PLOT[1], base, class_="rule"))
    for tick in ticks.values:
        x = scale.at(tick)
        marks += [
            line(x, base, x, base + 4, class_="rule"),
            text(x, base + 16, decimal_text(tick, ticks.decimals), class_="tick", anchor="middle"),
        ]
    marks += [element("circle", cx=scale.at(past), cy=middle + 9, r=_PAST_RADIUS, class_="past") for past in strip.past]
    marks += _value(strip, scale, middle)
    marks += [
        text(8, top + 26, shortened(strip.name, 13.6, _NAME_ROOM), class_="label strong"),
        text(8, top + 44, shortened(strip.note, 11.5, _NAME_ROOM), class_="small"),
        text(_VALUE_X, top + 26, strip.value_text, class_="label strong"),
        text(_VALUE_X, top + 44, strip.result, class_="label"),
    ]
    return group(marks, class_="strip")


def _scale(strip: Strip) -> tuple[Scale, Ticks]:
    known = [strip.value, strip.low, strip.high, strip.limit, *(strip.seen or ()), *strip.past]
    values = [value for value in known if value is not None] or [0.0, 1.0]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    ticks = round_ticks(max(low - room, 0.0), min(high + room, strip.most or math.inf), _MOST_TICKS)
    return enclosing(ticks, *_PLOT), ticks


def _limit(strip: Strip, scale: Scale, top: float, middle: float) -> list[Markup]:
    if strip.limit is None:
        return []
    x = scale.at(strip.limit)
    left, right = (_PLOT[0], x) if strip.at_least else (x, _PLOT[1])
    # The words stand on the side with more room.
    on_right = x < sum(_PLOT) / 2
    return [
        rectangle(left, middle - 15, right - left, 30, class_="hatched"),
        line(x, top + 8, x, middle + 16, class_="limit"),
        text(
            x + (6 if on_right else -6),
            top + 16,
            strip.limit_text,
            class_="small strong",
            anchor="start" if on_right else "end",
        ),
    ]


def _value(strip: Strip, scale: Scale, middle: float) -> list[Markup]:
    if strip.value is None:
        return []
    y, marks = middle - 4, []
    if strip.low is not None and strip.high is not None:
        left, right = scale.at(strip.low), scale.at(strip.high)
        marks += [line(left, y, right, y, class_="interval")]
        marks += [line(x, y - 5, x, y + 5, class_="interval") for x in (left, right)]
    return [*marks, _diamond(scale.at(strip.value), y)]


def _diamond(x: float, y: float) -> Markup:
    points = f"{x - 7:.1f},{y:.1f} {x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f}"
    return element("polygon", points=points, class_="estimate significant")


def _legend(y: float) -> list[Markup]:
    return [
        _diamond(18, y - 4),
        text(32, y, "this lot, with its interval", class_="small"),
        element("circle", cx=206, cy=y - 4, r=_PAST_RADIUS, class_="past"),
        text(216, y, "past lots of this site", class_="small"),
        line(352, y - 13, 352, y + 4, class_="limit"),
        text(360, y, "limit", class_="small"),
        rectangle(408, y - 13, 24, 16, class_="hatched"),
        text(440, y, "does not meet the limit", class_="small"),
        rectangle(590, y - 13, 24, 16, class_="seen"),
        text(622, y, "range that the study saw", class_="small"),
    ]
