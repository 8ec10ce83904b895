"""How a site looks: a colour and a shape, both different for the first eight sites; later sites have other pairs.

Every colour has at least 3:1 on white (a test holds it) and every mark a dark outline, so that shape alone suffices in
greyscale. The colours are in the style sheet as ``.site-0`` to ``.site-7``.
"""

from markupsafe import Markup

from shared.drawing.svg import element, number

SITE_COLOURS = ("#0067a5", "#c2500a", "#00796b", "#8e3b8c", "#946300", "#c2185b", "#4d4d4d", "#1b7fa3")
_SHAPES = 8

# Points of each shape for a radius of 1, areas alike; None is a circle.
_OUTLINES: tuple[tuple[tuple[float, float], ...] | None, ...] = (
    None,
    ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)),
    ((0.0, -1.25), (1.12, 0.8), (-1.12, 0.8)),
    ((0.0, -1.28), (1.28, 0.0), (0.0, 1.28), (-1.28, 0.0)),
    ((0.0, 1.25), (1.12, -0.8), (-1.12, -0.8)),
    ((-0.4, -1.15), (0.4, -1.15), (0.4, -0.4), (1.15, -0.4), (1.15, 0.4), (0.4, 0.4),
     (0.4, 1.15), (-0.4, 1.15), (-0.4, 0.4), (-1.15, 0.4), (-1.15, -0.4), (-0.4, -0.4)),
    ((0.0, -1.2), (1.14, -0.37), (0.71, 0.97), (-0.71, 0.97), (-1.14, -0.37)),
    ((-1.1, -0.75), (1.1, -0.75), (0.55, 0.9), (-0.55, 0.9)),
)  # fmt: skip


def site_mark(style: int, x: float, y: float, radius: float, *, lot: int | None = None, title: str = "") -> Markup:
    """Return the mark of a site at a place; ``lot`` links it with the lot's rows and other marks."""
    colour = style % len(SITE_COLOURS)
    outline = _OUTLINES[(style + style // len(SITE_COLOURS)) % _SHAPES]
    content = [element("title", title)] if title else []
    class_ = f"mark site-{colour}"
    link = None if lot is None else str(lot)
    if outline is None:
        return element("circle", content, cx=x, cy=y, r=radius, class_=class_, data_lot=link)
    points = " ".join(f"{number(x + radius * dx)},{number(y + radius * dy)}" for dx, dy in outline)
    return element("polygon", content, points=points, class_=class_, data_lot=link)
