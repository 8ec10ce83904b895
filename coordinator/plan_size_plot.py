"""Power against lots as an SVG: one curve for each rho, the same bytes for the same rows.

Plain lines of text, no drawing library: nothing in it depends on a version, a font or a clock.
"""

from collections.abc import Sequence
from html import escape

from coordinator.plan_size import power_curve
from shared.errors import InputError
from shared.statistics.arrays import Tail

_WIDTH, _HEIGHT = 720, 430
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 120, 46, 56
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")  # Okabe and Ito
_TICKS = (1, 2, 5)


def power_plot(
    rho: Sequence[float],
    *,
    clusters: int,
    sites: int = 1,
    power: float = 0.8,
    most_lots: int = 60,
    alpha: float = 0.05,
    tail: Tail = "two-sided",
) -> str:
    """Return an SVG of the power by the formula against the lots in all, one curve for each of ``rho``.

    ``rho`` is what can be observed. The power that is aimed at is a dashed line.

    Raises
    ------
    InputError
        If there is no rho, more than seven, or no room for a curve.
    """
    if not 1 <= len(rho) <= len(_COLOURS):
        raise InputError(f"expected 1 to {len(_COLOURS)} values of rho in one plot, found {len(rho)}")
    if most_lots < sites + 4:
        raise InputError(f"expected a plot of more than {sites + 3} lots, found {most_lots}")
    lots = range(3 + sites, most_lots + 1)
    title = f"Power to find one of {clusters} clusters, {sites} site{'s' if sites != 1 else ''}, alpha {alpha:g}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"',
        f' aria-label="{escape(title)}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="26" font-size="15">{escape(title)}</text>',
    ]
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        parts.append(f'<path d="M{_LEFT} {y}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{tenth * 10}%</text>')
    for tick in range(0, most_lots + 1, _step(most_lots)):
        x = _x(tick, most_lots)
        parts.append(f'<path d="M{x} {_y(0)}v5" stroke="#666"/>')
        parts.append(f'<text x="{x}" y="{_y(0) + 20}" text-anchor="middle">{tick}</text>')
    parts.append(f'<path d="M{_LEFT} {_y(power)}H{_WIDTH - _RIGHT}" stroke="#666" stroke-dasharray="5 4"/>')
    for value, colour in zip(rho, _COLOURS, strict=False):
        curve = power_curve(value, lots, clusters=clusters, sites=sites, alpha=alpha, tail=tail)
        points = " ".join(f"{_x(n, most_lots)},{_y(p)}" for n, p in zip(lots, curve, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    # Names stand in a column of their own: the curves' ends lie on each other near 100%.
    for line, (value, colour) in enumerate(zip(rho, _COLOURS, strict=False)):
        y = _TOP + 14 + 20 * line
        x = _WIDTH - _RIGHT + 16
        parts.append(f'<path d="M{x} {y - 4}h22" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 28}" y="{y}">rho {value:.2f}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) // 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 14}" text-anchor="middle">lots in all</text>')
    half = (_TOP + _HEIGHT - _BOTTOM) // 2
    parts.append(f'<text transform="translate(16 {half}) rotate(-90)" text-anchor="middle">power</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _x(lots: int, most: int) -> float:
    return round(_LEFT + (_WIDTH - _RIGHT - _LEFT) * lots / most, 1)


def _y(power: float) -> float:
    return round(_HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * power, 1)


def _step(most: int) -> int:
    """Return the distance of ticks: 1, 2 or 5 times a power of ten, at most a dozen of them."""
    scale = 1
    while True:
        for tick in _TICKS:
            if most / (tick * scale) <= 12:  # noqa: PLR2004 - a dozen labels fit
                return tick * scale
        scale *= 10
