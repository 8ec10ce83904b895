"""The equivalence plot: the interval of every value against its margin. The interval inside the margin decides.

The scale is the fold, after against before, with equal steps for equal folds. The margin is a band with its bounds
drawn; potency and parts have margins of their own. What suppression leaves open is hatched. A filled diamond lies
within, an open circle reaches beyond or is lost in noise, a square lies wholly outside; the word stands beside each.
"""

from math import exp, log

from markupsafe import Markup

from shared.comparability.findings import Compared, Findings
from shared.comparability.sentences import end_text
from shared.drawing.scales import Scale
from shared.drawing.svg import Anchor, drawing, element, group, line, rectangle, shortened, text, text_width

_WIDTH, _ROW, _TOP, _BOTTOM = 860, 32, 52, 74
_NAMES, _PLOT_END, _ESTIMATE_X, _STATE_X = 190, 520, 690, 708
FOLDS = (0.05, 0.1, 0.2, 0.33, 0.5, 0.67, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
_WIDEST = log(20.0)
_ROWS_PER_DRAWING = 24
WITHIN, BEYOND, OUTSIDE, LOST = "within", "reaches beyond", "outside", "lost in noise"


def state_word(compared: Compared) -> str:
    """Return where an interval lies, in a word."""
    if compared.lost_in_noise:
        return LOST
    return WITHIN if compared.within else OUTSIDE if compared.outside else BEYOND


def equivalence_drawings(findings: Findings, identifier: str) -> tuple[Markup, ...]:
    """Return the plot, in several drawings where one would not fit on a page; empty where nothing can be estimated."""
    rows = (*((findings.potency,) if findings.potency else ()), *findings.parts)
    reach = max((_reach(row) for row in rows), default=0.0) * 1.08
    return tuple(
        _drawing(findings, rows[at : at + _ROWS_PER_DRAWING], min(reach, _WIDEST), f"{identifier}-{at}")
        for at in range(0, len(rows), _ROWS_PER_DRAWING)
    )


def _reach(row: Compared) -> float:
    ends = [abs(end) for end in (row.bound_low, row.bound_high, row.margin) if end is not None]
    return max(ends)


def _drawing(findings: Findings, rows: tuple[Compared, ...], reach: float, identifier: str) -> Markup:
    room = min(max(max(text_width(row.name, 13) for row in rows) + 4, 70), _NAMES)
    scale = Scale(-reach, reach, room + 24, _PLOT_END)
    bottom = _TOP + _ROW * len(rows)
    level = f"{findings.criteria.level:.0%} interval"
    columns: tuple[tuple[float, str, Anchor], ...] = (
        (8, "value", "start"),
        (_ESTIMATE_X, f"fold ({level})", "end"),
        (_STATE_X, "against the margin", "start"),
    )
    return drawing(
        identifier,
        width=_WIDTH,
        height=bottom + _BOTTOM,
        title="Every value after against before, and its margin",
        description="; ".join(f"{row.name} {_numbers(row)}, {state_word(row)}" for row in rows),
        content=[
            *(text(x, 18, heading, class_="head", anchor=anchor) for x, heading, anchor in columns),
            text(scale.at(0), 18, "no change", class_="small", anchor="middle"),
            text(scale.at(0) - 8, 38, "lower after \N{LEFTWARDS ARROW}", class_="small", anchor="end"),
            text(scale.at(0) + 8, 38, "\N{RIGHTWARDS ARROW} higher after", class_="small"),
            line(8, _TOP - 6, _WIDTH - 8, _TOP - 6, class_="rule"),
            *_ticks(scale, reach, bottom),
            *(_row(row, scale, _TOP + _ROW * number, room, reach) for number, row in enumerate(rows)),
            *_legend(
                scale.start,
                bottom + 56,
                suppressed=any(row.suppressed for row in rows),
                lost=any(row.lost_in_noise for row in rows),
            ),
        ],
    )


def _ticks(scale: Scale, reach: float, bottom: float) -> list[Markup]:
    marks = []
    taken = -1e9
    for fold in FOLDS:
        if abs(log(fold)) > reach:
            continue
        x = scale.at(log(fold))
        marks.append(line(x, _TOP - 6 if fold != 1 else 22, x, bottom + 4, class_="zero" if fold == 1 else "grid"))
        label = f"{fold:g}"
        if x - taken > text_width(label, 11.5) + 10:
            marks.append(text(x, bottom + 19, label, class_="tick", anchor="middle"))
            taken = x
    marks.append(
        text((scale.start + scale.end) / 2, bottom + 35, "fold, after / before", class_="tick", anchor="middle")
    )
    return marks


def _row(row: Compared, scale: Scale, top: float, room: float, reach: float) -> Markup:
    middle = top + _ROW / 2
    base = middle + 4.5
    left, right = scale.at(-min(row.margin, reach)), scale.at(min(row.margin, reach))
    marks = [
        rectangle(left, top + 3, right - left, _ROW - 6, class_="margin-band"),
        line(left, top + 3, left, top + _ROW - 3, class_="margin-bound"),
        line(right, top + 3, right, top + _ROW - 3, class_="margin-bound"),
        text(8, base, shortened(row.name, 13, room), class_="label"),
        text(_ESTIMATE_X, base, _numbers(row), class_="label", anchor="end"),
        text(_STATE_X, base, _icon(row) + " " + state_word(row), class_="label strong"),
    ]
    if row.low is None or row.high is None or row.estimate is None:
        return group(marks)
    if row.suppressed and row.bound_low is not None and row.bound_high is not None:
        marks.append(_bar(scale, row.bound_low, row.bound_high, middle, reach))
    low, high = (scale.at(max(-reach, min(reach, each))) for each in (row.low, row.high))
    marks += [
        line(low, middle, high, middle, class_="interval"),
        line(low, middle - 5, low, middle + 5, class_="interval"),
        line(high, middle - 5, high, middle + 5, class_="interval"),
        _mark(row, scale.at(max(-reach, min(reach, row.estimate))), middle),
    ]
    return group(marks)


def _bar(scale: Scale, low: float, high: float, middle: float, reach: float) -> Markup:
    start, end = scale.at(max(-reach, low)), scale.at(min(reach, high))
    return rectangle(start, middle - 7, end - start, 14, class_="hatched")


def _mark(row: Compared, x: float, y: float) -> Markup:
    if row.within:
        points = f"{x - 7:.1f},{y:.1f} {x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f}"
        return element("polygon", points=points, class_="estimate within")
    if row.outside:
        return rectangle(x - 5, y - 5, 10, 10, class_="estimate outside")
    return element("circle", cx=x, cy=y, r=4.8, class_="estimate")


def _icon(row: Compared) -> str:
    return "◆" if row.within else "■" if row.outside else "○"


def _numbers(row: Compared) -> str:
    if row.estimate is None or row.bound_low is None or row.bound_high is None:
        return "not estimable"
    low, high = (end_text(end, row.margin) for end in (row.bound_low, row.bound_high))
    return f"{exp(row.estimate):.2f} ({low}–{high})"


def _legend(left: float, y: float, *, suppressed: bool, lost: bool) -> list[Markup]:
    passes = "margin: an interval inside it passes" + (f", unless {LOST}" if lost else "")
    after = left + 34 + text_width(passes, 11.5) + 24
    marks = [
        rectangle(left, y - 11, 26, 14, class_="margin-band"),
        line(left, y - 11, left, y + 3, class_="margin-bound"),
        line(left + 26, y - 11, left + 26, y + 3, class_="margin-bound"),
        text(left + 34, y, passes, class_="small"),
    ]
    if suppressed:
        marks += [
            rectangle(after, y - 11, 26, 14, class_="hatched"),
            text(after + 34, y, "left open by suppressed counts; decides", class_="small"),
        ]
    return marks
