"""Individual lots, before and after, one small panel a value: the fold of each lot against the mean before.

Each value is relative to the mean of the lots before of its own site and tissue, so that lots of several sites stand on
one scale and the quality range, mean +- k SD, is one band. Shape and colour tell the site. A suppressed count is a
hatched bar over all that it may be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log

from markupsafe import Markup

from shared.comparability.equivalence_drawing import FOLDS
from shared.comparability.findings import Compared
from shared.drawing.scales import Scale, padded
from shared.drawing.svg import drawing, line, rectangle, shortened, text
from shared.pages.marks import site_mark

_SIZE, _LEFT, _TOP, _BOTTOM, _RIGHT = 206.0, 38.0, 44.0, 30.0, 8.0
_RADIUS = 4.0
_SPREAD = 26.0
_TICK_ROOM = 13.0


@dataclass(frozen=True, kw_only=True)
class LotValue:
    """One value of one lot relative to the mean before (natural logarithms), and what it may be."""

    middle: float
    low: float
    high: float

    @property
    def suppressed(self) -> bool:
        """Whether a hidden count is within."""
        return self.low != self.high


@dataclass(frozen=True, kw_only=True)
class ShownLot:
    """A lot that the page may show: its label, its site's style, its arm, and its values (potency first)."""

    label: str
    site: str
    style: int
    after: bool
    values: tuple[LotValue, ...]
    number: int | None = None  # of the lot within the page, to link it with its other marks


def lots_panel(compared: Compared, k: int, lots: tuple[ShownLot, ...], identifier: str, statistic: str) -> Markup:
    """Return the panel of the ``k``-th value."""
    own = compared.own_range
    half = None if own is None else (own.high - own.low) / 2
    values = [end for lot in lots for end in (lot.values[k].low, lot.values[k].high)]
    least, most = padded([*values, *(() if half is None else (-half, half)), 0.0], 0.05)
    scale = Scale(least, most, _SIZE - _BOTTOM, _TOP)
    right = _SIZE - _RIGHT
    marks = [
        text(4, 15, shortened(compared.name, 14.3, _SIZE - 8), class_="label strong"),
        text(4, 31, shortened(statistic, 11.5, _SIZE - 4), class_="small"),
    ]
    if half is not None:
        top, bottom = scale.at(half), scale.at(-half)
        marks += [
            rectangle(_LEFT, top, right - _LEFT, bottom - top, class_="margin-band"),
            line(_LEFT, top, right, top, class_="margin-bound"),
            line(_LEFT, bottom, right, bottom, class_="margin-bound"),
        ]
    lowest = _SIZE
    for fold in FOLDS:
        y = scale.at(log(fold))
        if not least <= log(fold) <= most or lowest - y < _TICK_ROOM:
            continue
        lowest = y
        marks.append(line(_LEFT, y, right, y, class_="zero" if fold == 1 else "grid"))
        marks.append(text(_LEFT - 5, y + 4, f"{fold:g}", class_="tick", anchor="end"))
    for after, word in ((False, "before"), (True, "after")):
        centre = _LEFT + (right - _LEFT) * (0.75 if after else 0.25)
        marks.append(text(centre, _SIZE - 9, word, class_="tick", anchor="middle"))
        arm = [lot for lot in lots if lot.after is after]
        for place, lot in enumerate(arm):
            marks += _mark(lot, lot.values[k], centre + _jitter(place, len(arm)), scale.at)
    return drawing(
        identifier,
        width=_SIZE,
        height=_SIZE,
        title=f"{compared.name}: lots before and after",
        description=f"{statistic}. Fold against the mean before.",
        content=marks,
        class_="panel",
    )


def fold_of(value: LotValue) -> str:
    """Return a lot's value as a fold, or as the folds that it may be.

    >>> fold_of(LotValue(middle=0.0, low=0.0, high=0.0)), fold_of(LotValue(middle=0.0, low=-0.7, high=0.7))
    ('1.00', '0.50–2.01')
    """
    return f"{exp(value.low):.2f}–{exp(value.high):.2f}" if value.suppressed else f"{exp(value.middle):.2f}"


def _mark(lot: ShownLot, value: LotValue, x: float, at: Callable[[float], float]) -> list[Markup]:
    title = f"{lot.label}, {lot.site}, {'after' if lot.after else 'before'}: {fold_of(value)}-fold"
    mark = site_mark(lot.style, x, at(value.middle), _RADIUS, lot=lot.number, title=title)
    if not value.suppressed:
        return [mark]
    top, bottom = at(value.high), at(value.low)
    return [rectangle(x - 3, top, 6, max(bottom - top, 2.0), class_="hatched"), mark]


def _jitter(place: int, of: int) -> float:
    # Lots stand side by side in their order: no chance, and no lot behind another.
    return 0.0 if of == 1 else _SPREAD * (2.0 * place / (of - 1) - 1.0)
