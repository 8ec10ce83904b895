"""The specification drawn: lots, the line, its lower bound, the limit of potency and the threshold that they give.

Potency stands on a logarithmic axis in the endpoint's own unit. Lots are those that the edition shows; line and bound
are aggregates of all. The failing side of the threshold is hatched and every line is named in words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup

from coordinator.report.contents import SiteMark
from protocol.modules.specification_results import Side, SpecificationResults
from shared.drawing.scales import Scale, enclosing, round_ticks
from shared.drawing.svg import drawing, element, line, number, rectangle, text
from shared.pages.marks import site_mark
from shared.pages.rounding import decimal_text
from shared.statistics.arrays import FloatArray
from shared.statistics.specification import Line

WIDTH: Final = 860
_HEIGHT = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 196, 24, 56
_RADIUS = 6.0
_STEPS = 40
_X_TICKS = 7
_LEADING = (1.0, 2.0, 5.0)
_NEAR = 14


@dataclass(frozen=True, kw_only=True)
class SpecificationPoint:
    """A lot that the edition shows: share in per cent (bounds, equal where exact), log potency, and how it looks."""

    lot: int
    label: str
    site: int
    share_low: float
    share_high: float
    potency: float


def specification_drawing(
    found: SpecificationResults,
    points: Sequence[SpecificationPoint],
    sites: Sequence[SiteMark],
    *,
    x_label: str,
    y_label: str,
    description: str,
) -> Markup:
    """Return the drawing of a specification that has a line and a range."""
    assert found.line is not None  # noqa: S101 - the section asks for no other
    assert found.seen is not None  # noqa: S101 - the same
    fitted = Line(**found.line.model_dump())
    shares = np.linspace(100 * found.seen.low, 100 * found.seen.high, _STEPS)
    middle, bound = fitted.predicted(shares / 100), fitted.lower_bound(shares / 100, found.confidence)
    x_values = [*shares[[0, -1]], *(end for point in points for end in (point.share_low, point.share_high))]
    y_values = [*middle, *bound, math.log(found.limit), *(point.potency for point in points)]
    x_ticks = round_ticks(0.0 if min(x_values) < 0.3 * max(x_values) else min(x_values), max(x_values), _X_TICKS)
    x_scale = enclosing(x_ticks, _LEFT, WIDTH - _RIGHT)
    room = 0.04 * (max(y_values) - min(y_values))
    y_scale = Scale(min(y_values) - room, max(y_values) + room, _HEIGHT - _BOTTOM, _TOP)
    right, base = WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    marks: list[Markup] = []
    if found.threshold is not None:
        x = x_scale.at(100 * found.threshold)
        ends = (_LEFT, x) if found.side is Side.AT_LEAST else (x, right)
        marks.append(rectangle(ends[0], base - _NEAR, ends[1] - ends[0], _NEAR, class_="hatched"))
    for tick in _natural_ticks(y_scale):
        y = y_scale.at(math.log(tick))
        marks += [
            line(_LEFT, y, right, y, class_="grid"),
            text(_LEFT - 6, y + 4, f"{tick:g}", class_="tick", anchor="end"),
        ]
    for tick in x_ticks.values:
        x = x_scale.at(tick)
        marks += [
            line(x, base, x, base + 4, class_="rule"),
            text(x, base + 17, decimal_text(tick, x_ticks.decimals), class_="tick", anchor="middle"),
        ]
    marks += [
        line(_LEFT, base, right, base, class_="rule"),
        _polyline(shares, middle, x_scale, y_scale, "estimate-line"),
        _polyline(shares, bound, x_scale, y_scale, "interval"),
        *_names(found, fitted, x_scale, y_scale),
        *(_point(point, sites, x_scale, y_scale) for point in points),
        text((_LEFT + right) / 2, _HEIGHT - 8, x_label, class_="axis", anchor="middle"),
        element(
            "text",
            y_label,
            x=0,
            y=0,
            class_="axis",
            text_anchor="middle",
            transform=f"translate(16 {(_TOP + base) / 2:.1f}) rotate(-90)",
        ),
    ]
    return drawing(
        "specification", width=WIDTH, height=_HEIGHT, title="Specification", description=description, content=marks
    )


def _natural_ticks(scale: Scale) -> list[float]:
    low, high = math.exp(scale.low), math.exp(scale.high)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [lead * 10.0**power for power in powers for lead in _LEADING if low <= lead * 10.0**power <= high]


def _polyline(xs: FloatArray, ys: FloatArray, x_scale: Scale, y_scale: Scale, class_: str) -> Markup:
    places = " ".join(
        f"{number(x_scale.at(x))},{number(y_scale.at(y))}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True)
    )
    return element("polyline", points=places, class_=f"{class_} unfilled")


def _names(found: SpecificationResults, fitted: Line, x_scale: Scale, y_scale: Scale) -> list[Markup]:
    """Return limit and threshold, and every line's name at its right end, none upon another."""
    assert found.seen is not None  # noqa: S101 - the drawing has a range
    right, top, base = WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    end = found.seen.high
    limit = y_scale.at(math.log(found.limit))
    marks = [line(_LEFT, limit, right, limit, class_="zero")]
    names = [
        (y_scale.at(float(fitted.predicted(end))), "expected"),
        (y_scale.at(float(fitted.lower_bound(end, found.confidence))), f"{found.confidence:.0%} lower bound of a lot"),
        (limit, f"limit of potency {found.limit:g}"),
    ]
    last = -math.inf
    for y, words in sorted(names):
        last = max(y + 4, last + _NEAR)
        marks.append(text(right + 6, last, words, class_="small"))
    if found.threshold is not None:
        x = x_scale.at(100 * found.threshold)
        side = "at least" if found.side is Side.AT_LEAST else "at most"
        marks += [
            line(x, top - 6, x, base, class_="zero"),
            text(x + 5, top, f"threshold: {side} {100 * found.threshold:.4g}%", class_="small strong"),
        ]
    return marks


def _point(point: SpecificationPoint, sites: Sequence[SiteMark], x_scale: Scale, y_scale: Scale) -> Markup:
    y = y_scale.at(point.potency)
    low, high = x_scale.at(point.share_low), x_scale.at(point.share_high)
    style = sites[point.site].style
    mark = site_mark(
        style, (low + high) / 2, y, _RADIUS, lot=point.lot, title=f"{point.label}, {sites[point.site].name}"
    )
    if point.share_low == point.share_high:
        return mark
    return rectangle(low, y - 5, max(high - low, 2), 10, class_="hatched") + mark
