"""The dot plot of markers: genes by clusters; a dot's area is the share of expressing cells, its shade the mean.

Rules: the mean is written beside each dot, so that neither shade nor size has to be read exactly; shades are steps of
one hue that greyscale keeps in order. What no lot sent is a dashed ring with words, never a dot of size 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from markupsafe import Markup

from shared.drawing.svg import drawing, element, group, rectangle, shortened, text, text_width
from shared.pages.rounding import decimal_text

WIDTH = 860
_ROW, _TOP, _BOTTOM = 30, 34, 56
_LARGEST = 11.0
_SMALLEST = 1.2
_CLUSTERS_PER_DRAWING = 10
_WIDEST_COLUMN = 120.0
_STEPS = 5
_KEY_SHARES = (0.1, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One gene in one cluster: mean of log1p(1e4 x / library size), and share of expressing cells; None: not sent."""

    mean: float | None
    share: float | None
    marker: bool


def dot_drawings(
    genes: Sequence[str],
    clusters: Sequence[tuple[int, str]],
    dots: Mapping[tuple[str, str], Dot],
    *,
    title: str,
    description: str,
) -> tuple[Markup, ...]:
    """Return the dot plot, in several drawings where there are many clusters.

    Parameters
    ----------
    genes
        Rows, in order.
    clusters
        Index in the atlas and name, in the order of the columns.
    dots
        By gene and cluster.
    """
    highest = max((dot.mean for dot in dots.values() if dot.mean is not None), default=1.0) or 1.0
    room = min(max(max((text_width(gene, 13) * 1.04 for gene in genes), default=0.0), 70.0), 180.0)
    blocks = [clusters[at : at + _CLUSTERS_PER_DRAWING] for at in range(0, len(clusters), _CLUSTERS_PER_DRAWING)]
    width = min((WIDTH - room - 24) / max(len(blocks[0]), 1), _WIDEST_COLUMN) if blocks else _WIDEST_COLUMN
    return tuple(
        _drawing(genes, block, dots, title, description, f"markers-dots-{number}", room, width, highest)
        for number, block in enumerate(blocks)
    )


def radius_of(share: float) -> float:
    """Return the radius, in pixels, of a dot whose area is proportional to a share.

    >>> radius_of(1.0), radius_of(0.25)
    (11.0, 5.5)
    """
    return max(_LARGEST * sqrt(share), _SMALLEST)


def step_of(mean: float, highest: float) -> int:
    """Return the shade of a mean: 0 (none) to 5 (the highest that is drawn).

    >>> step_of(0.0, 2.0), step_of(1.0, 2.0), step_of(2.0, 2.0)
    (0, 3, 5)
    """
    return min(_STEPS, int(mean / highest * _STEPS + 0.5))


def _drawing(
    genes: Sequence[str],
    clusters: Sequence[tuple[int, str]],
    dots: Mapping[tuple[str, str], Dot],
    title: str,
    description: str,
    identifier: str,
    room: float,
    width: float,
    highest: float,
) -> Markup:
    left, bottom = room + 20, _TOP + _ROW * len(genes)
    heads = [
        text(left + width * (place + 0.5), 20, shortened(name, 12.5, width - 6), class_="head", anchor="middle")
        for place, (_, name) in enumerate(clusters)
    ]
    rows = [
        group(
            [
                rectangle(4, _TOP + _ROW * number + 1, WIDTH - 8, _ROW - 2, class_="band"),
                text(8, _TOP + _ROW * number + 20, shortened(gene, 13, room), class_="label"),
                *(
                    _dot(dots.get((gene, name)), left + width * place, _TOP + _ROW * (number + 0.5), highest)
                    for place, (_, name) in enumerate(clusters)
                ),
            ],
            class_="row",
        )
        for number, gene in enumerate(genes)
    ]
    return drawing(
        identifier,
        width=WIDTH,
        height=bottom + _BOTTOM,
        title=title,
        description=description,
        content=[text(8, 20, "Gene", class_="head"), *heads, *rows, *_key(bottom + 26, highest)],
    )


def _dot(dot: Dot | None, x: float, y: float, highest: float) -> Markup:
    centre = x + _LARGEST + 6
    if dot is None or dot.mean is None or dot.share is None:
        ring = element("circle", cx=centre, cy=y, r=4, class_="shade none")
        return ring + text(centre + _LARGEST + 5, y + 4.5, "not sent", class_="small")
    shade = f"shade up step-{step_of(dot.mean, highest)}" + (" significant" if dot.marker else "")
    said = decimal_text(dot.mean, 2) + (" ✓" if dot.marker else "")
    return element("circle", cx=centre, cy=y, r=radius_of(dot.share), class_=shade) + text(
        centre + _LARGEST + 5, y + 4.5, said, class_="label strong" if dot.marker else "label"
    )


def _key(y: float, highest: float) -> list[Markup]:
    marks = [text(8, y + 4, "expressing cells", class_="small")]
    at = 112.0
    for share in _KEY_SHARES:
        marks.append(element("circle", cx=at, cy=y, r=radius_of(share), class_="shade up step-2"))
        marks.append(text(at, y + 26, f"{share:.0%}", class_="tick", anchor="middle"))
        at += 34
    marks.append(text(at + 12, y + 4, "mean", class_="small"))
    at += 52
    for step in range(_STEPS + 1):
        marks.append(rectangle(at, y - 8, 30, 15, class_=f"shade up step-{step}"))
        marks.append(text(at + 15, y + 26, decimal_text(highest * step / _STEPS, 1), class_="tick", anchor="middle"))
        at += 32
    marks += [
        element("circle", cx=at + 22, cy=y, r=7, class_="shade none significant"),
        text(at + 36, y + 4, "✓ marker of the cluster (higher, q within alpha)", class_="small"),
    ]
    return marks
