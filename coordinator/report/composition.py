"""Composition as stacked bars, one a lot, grouped by site, with potency beside them on an axis of its own.

A suppressed part is as wide as the middle of its range, hatched beyond what is sure. The key numbers every part, and
the numbers stand in the bars too, so that no colour has to be told from another.
"""

from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup

from coordinator.report import texts
from coordinator.report.contents import Bar, Composition, Part, SiteMark
from shared.drawing.scales import Scale, enclosing, padded, round_ticks
from shared.drawing.svg import drawing, group, line, rectangle, shortened, text, text_width
from shared.pages.marks import site_mark
from shared.pages.rounding import decimal_text

WIDTH = 860
PART_STYLES = 16
_ROW, _BAR = 24, 18
_GROUP_HEAD = 26
_TOP, _BOTTOM = 12, 46
_LABEL_ROOM = 118
_BARS = (128, 640)
_POTENCY = (674, 800)
_BARS_PER_DRAWING = 30
_KEY_COLUMNS, _KEY_ROW = 4, 22


def composition_drawings(composition: Composition, sites: Sequence[SiteMark]) -> tuple[Markup, ...]:
    """Return the stacked bars, in several drawings where one would not fit on a page."""
    blocks = [
        composition.bars[at : at + _BARS_PER_DRAWING] for at in range(0, len(composition.bars), _BARS_PER_DRAWING)
    ]
    return tuple(
        _drawing(composition, block, sites, f"{composition.identifier}-{index}" if index else composition.identifier)
        for index, block in enumerate(blocks)
    )


def part_class(part: Part) -> str:
    """Return the style classes of a part: the lead's own, unassigned's own, else one of the tints."""
    if part.cluster is None:
        return "part unassigned"
    return "part lead" if part.is_lead else f"part tint-{part.style % PART_STYLES}"


def _drawing(composition: Composition, bars: Sequence[Bar], sites: Sequence[SiteMark], identifier: str) -> Markup:
    parts = composition.parts
    share = Scale(0, 100, *_BARS)
    potencies = [bar.potency for bar in composition.bars if bar.potency is not None]
    ticks = round_ticks(*padded(potencies, 0.05), 3) if potencies else None
    potency = enclosing(ticks, *_POTENCY) if ticks else None
    key_rows = -(-len(parts) // _KEY_COLUMNS)
    y = _TOP + key_rows * _KEY_ROW + 14
    top = y
    grid: list[Markup] = []
    marks = list(_key(parts))
    for name, members in groupby(bars, key=lambda bar: bar.group):
        marks.append(text(8, y + 17, name, class_="label strong"))
        marks.append(line(8, y + 23, _POTENCY[1] + 52, y + 23, class_="grid"))
        y += _GROUP_HEAD
        for bar in members:
            marks.append(_bar(bar, parts, share, potency, sites, y))
            y += _ROW
    for tick in (0, 25, 50, 75, 100):
        marks.append(line(share.at(tick), y + 2, share.at(tick), y + 7, class_="rule"))
        marks.append(text(share.at(tick), y + 21, f"{tick}%", class_="tick", anchor="middle"))
    if ticks and potency:
        for value in ticks.values:
            grid.append(line(potency.at(value), top + _GROUP_HEAD, potency.at(value), y + 4, class_="grid"))
            label = decimal_text(value, ticks.decimals)
            marks.append(text(potency.at(value), y + 21, label, class_="tick", anchor="middle"))
        marks.append(text(sum(_POTENCY) / 2, y + 37, composition.potency_label, class_="axis", anchor="middle"))
    marks.append(text(sum(_BARS) / 2, y + 37, texts.COMPOSITION_AXIS, class_="axis", anchor="middle"))
    return drawing(
        identifier,
        width=WIDTH,
        height=y + _BOTTOM,
        title=composition.title,
        description=composition.finding.text,
        content=[*grid, *marks],
        class_="linked",
    )


def _key(parts: Sequence[Part]) -> list[Markup]:
    marks = []
    width = (WIDTH - 16) / _KEY_COLUMNS
    rows = -(-len(parts) // _KEY_COLUMNS)
    for index, part in enumerate(parts):
        x, y = 8 + width * (index // rows), _TOP + _KEY_ROW * (index % rows)
        class_ = part_class(part)
        marks.append(
            group(
                [
                    rectangle(x, y, 22, 14, class_=class_),
                    text(x + 29, y + 12, shortened(part.key, 12.5, width - 36), class_="label"),
                ],
                data_cluster=None if part.cluster is None else str(part.cluster),
            )
        )
    return marks


def _bar(
    bar: Bar, parts: Sequence[Part], share: Scale, potency: Scale | None, sites: Sequence[SiteMark], y: float
) -> Markup:
    marks = [text(_LABEL_ROOM, y + 15, shortened(bar.label, 12.5, _LABEL_ROOM - 10), class_="label", anchor="end")]
    at = 0.0
    for segment in bar.segments:
        part = parts[segment.part]
        middle = (segment.low + segment.high) / 2
        sure = segment.low if segment.suppressed else middle
        left, certain = share.at(min(at, 100)), share.at(min(at + sure, 100))
        link = None if part.cluster is None else str(part.cluster)
        inner = [rectangle(left, y + 2, certain - left, _BAR, class_=part_class(part))] if sure else []
        if segment.suppressed:
            right = share.at(min(at + middle, 100))
            inner.append(rectangle(certain, y + 2, max(right - certain, 2), _BAR, class_="hatched"))
        if text_width(part.short, 11) + 4 <= certain - left:
            tone = "inside lead" if part.is_lead else "inside"
            inner.append(text((left + certain) / 2, y + 15, part.short, class_=tone, anchor="middle"))
        if inner:
            marks.append(group(inner, data_cluster=link))
        at += middle
    if bar.potency is not None and bar.site is not None and potency is not None:
        x = potency.at(bar.potency)
        marks.append(site_mark(sites[bar.site].style, x, y + 11, 5))
    marks.append(text(WIDTH - 8, y + 15, bar.potency_text, class_="tick", anchor="end"))
    return group(marks, class_="row", data_lot=None if bar.lot is None else str(bar.lot))
