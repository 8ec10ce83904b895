"""The map of an atlas: one ellipse a class, drawn from its mean and covariance. No cell is in the file to be drawn.

The ellipse ``(x - m)' S^-1 (x - m) = 2 log 2`` holds half of a class's cells if they are normally distributed. Both
axes have one scale, so that distances can be compared in every direction. Every name stands where it covers no
other and no mean, as far as there is room; a line leads back to the mean of a name that stands far off.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from shared.drawing.scales import Scale
from shared.drawing.svg import drawing, element, group, line, number, rectangle, shortened, text, text_width
from site_agent.atlas_show.model import ShownClass

WIDTH: Final = 860.0
MOST_NAMES: Final = 40
"""Above so many classes the map shows numbers, which the tables explain."""

_MARGIN: Final = 28.0
_LEAST_HEIGHT, _MOST_HEIGHT = 300.0, 640.0
_RADIUS: Final = math.sqrt(2 * math.log(2))
_COLOURS: Final = 8
_FONT: Final = 12.5
_LINE: Final = 15.0
_ROOM: Final = 170.0
_ABOVE: Final = 11.5  # from a mean up to the middle of its name
_DOT: Final = 3.5
_EDGE: Final = 3.0
_STEP, _STEPS = 5.0, 60
_FAR: Final = 18.0

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Ellipse:
    """Half axes in units of the map, and the angle of the first from the x axis."""

    long: float
    short: float
    radians: float

    def reach(self) -> tuple[float, float]:
        """Return how far it reaches along x and along y."""
        cosine, sine = math.cos(self.radians), math.sin(self.radians)
        return math.hypot(self.long * cosine, self.short * sine), math.hypot(self.long * sine, self.short * cosine)


def map_drawing(classes: Sequence[ShownClass], *, title: str, description: str) -> Markup:
    """Return the map as one SVG element."""
    ellipses = [_ellipse(each.covariance) for each in classes]
    x_axis, y_axis = _scales([each.mean for each in classes], ellipses)
    height = y_axis.start + _MARGIN
    means = np.array([(x_axis.at(each.mean[0]), y_axis.at(each.mean[1])) for each in classes])
    unit = abs(x_axis.end - x_axis.start) / (x_axis.high - x_axis.low)
    names = [
        shortened(each.name, _FONT, _ROOM) if len(classes) <= MOST_NAMES else f"#{each.number}" for each in classes
    ]
    centres = _apart(means, names, height)
    return drawing(
        "atlas-map",
        width=WIDTH,
        height=height,
        title=title,
        description=description,
        content=(
            rectangle(0.5, 0.5, WIDTH - 1, height - 1, class_="frame"),
            group(_ellipse_marks(classes, ellipses, means, unit)),
            group(_leaders(means, centres)),
            group(
                text(float(x), float(y) + 4.3, name, class_="halo label", anchor="middle")
                for (x, y), name in zip(centres, names, strict=True)
            ),
            group(element("circle", cx=float(x), cy=float(y), r=2.6, class_="mean") for x, y in means),
            text(WIDTH - 8, height - 9, "axis 1 →", class_="small", anchor="end"),
            text(8, 18, "↑ axis 2", class_="small"),
        ),
    )


def _ellipse(covariance: tuple[tuple[float, float], tuple[float, float]]) -> _Ellipse:
    (a, b), (_, d) = covariance
    middle, half = (a + d) / 2, math.hypot((a - d) / 2, b)
    return _Ellipse(
        long=_RADIUS * math.sqrt(max(middle + half, 0.0)),
        short=_RADIUS * math.sqrt(max(middle - half, 0.0)),
        radians=0.5 * math.atan2(2 * b, a - d),
    )


def _scales(means: Sequence[tuple[float, float]], ellipses: Sequence[_Ellipse]) -> tuple[Scale, Scale]:
    """Return the scales of x and y, with one unit for both, around everything that is drawn."""
    reaches = [each.reach() for each in ellipses]
    bounds = []
    for axis in (0, 1):
        low = min(mean[axis] - reach[axis] for mean, reach in zip(means, reaches, strict=True))
        high = max(mean[axis] + reach[axis] for mean, reach in zip(means, reaches, strict=True))
        bounds.append((low, high))
    spans = [max(high - low, 1e-9) for low, high in bounds]
    unit = min((WIDTH - 2 * _MARGIN - _ROOM / 2) / spans[0], (_MOST_HEIGHT - 2 * _MARGIN) / spans[1])
    inner = min(max(unit * spans[1], _LEAST_HEIGHT - 2 * _MARGIN), _MOST_HEIGHT - 2 * _MARGIN)
    wide, high = (WIDTH - 2 * _MARGIN) / unit, inner / unit
    (left, right), (bottom, top) = bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    return (
        Scale(x - wide / 2, x + wide / 2, _MARGIN, WIDTH - _MARGIN),
        Scale(y - high / 2, y + high / 2, _MARGIN + inner, _MARGIN),
    )


def _ellipse_marks(
    classes: Sequence[ShownClass], ellipses: Sequence[_Ellipse], means: FloatArray, unit: float
) -> Iterator[Markup]:
    order = sorted(range(len(classes)), key=lambda place: (-ellipses[place].long * ellipses[place].short, place))
    for place in order:  # large ones first, so that small ones stay visible
        x, y = (float(value) for value in means[place])
        degrees = -math.degrees(ellipses[place].radians)  # y grows downward on a page
        yield element(
            "ellipse",
            cx=x,
            cy=y,
            rx=max(unit * ellipses[place].long, 1.0),
            ry=max(unit * ellipses[place].short, 1.0),
            transform=f"rotate({number(degrees)} {number(x)} {number(y)})",
            class_=f"spread hue-{place % _COLOURS}",
        )


def _apart(means: FloatArray, names: Sequence[str], height: float) -> FloatArray:
    """Return the centres ``(C, 2)`` of the names: each at the nearest free place around its mean.

    A place is free if the name covers no mean and no name before it. Where no place is, it stands above its mean.
    """
    half = np.array([(text_width(name, _FONT) / 2 + 2, _LINE / 2) for name in names])
    taken, taken_half = means, np.full_like(half, _DOT)
    centres = np.zeros_like(means)
    for place, (mean, own) in enumerate(zip(means, half, strict=True)):
        candidates = mean + _around(float(own[0]))
        inside = ((candidates - own > _EDGE) & (candidates + own < (WIDTH - _EDGE, height - _EDGE))).all(axis=1)
        gaps = np.abs(candidates[:, None, :] - taken[None, :, :]) - own - taken_half
        free = inside & ~(gaps < 0).all(axis=2).any(axis=1)
        centres[place] = candidates[int(free.argmax())]  # the first where none is free
        taken, taken_half = np.vstack((taken, centres[place])), np.vstack((taken_half, own))
    return centres


def _around(half_width: float) -> FloatArray:
    """Return where a name may stand ``(n, 2)``, from its mean, the nearest first: above, below, beside, farther."""
    beside = half_width + _DOT + 3
    places = [(beside, 0.0), (-beside, 0.0)]
    for step in range(_STEPS):
        away = _ABOVE + _STEP * step
        places.extend((x, y) for y in (-away, away) for x in (0.0, half_width, -half_width))
    return np.array(sorted(places, key=lambda place: place[0] ** 2 / 9 + place[1] ** 2))  # a line is low and wide


def _leaders(means: FloatArray, centres: FloatArray) -> Iterator[Markup]:
    for (x, y), (to_x, to_y) in zip(means.tolist(), centres.tolist(), strict=True):
        if math.hypot(x - to_x, y - to_y) > _FAR:
            yield line(x, y, to_x, to_y, class_="leader")
