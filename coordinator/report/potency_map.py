"""The map of clusters by potencies: rho written in each cell, its strength as a shade, its sign as a symbol.

Rules: the shade tells |rho| alone, so that greyscale loses nothing; the sign is a triangle up or down, and the minus.
What is significant within its endpoint has a thick outline and a tick. What is not defined is empty and said to be so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from coordinator.report import texts
from protocol.modules.potencies_results import PotencyCell
from shared.drawing.svg import drawing, element, group, rectangle, shortened, text, text_width
from shared.pages.rounding import rho_text

WIDTH = 860
_ROW, _TOP, _BOTTOM = 34, 58, 52
_WIDEST_NAME, _NARROWEST_NAME, _WIDEST_COLUMN = 230, 90, 150
_ROWS_PER_DRAWING = 24
_STEPS = 5
_MARK_ROOM = 22


@dataclass(frozen=True, kw_only=True)
class MapColumn:
    """One endpoint: its code, its heading, and on how many donors its column rests."""

    endpoint: str
    heading: str
    n: str


def map_drawings(
    clusters: Sequence[tuple[int, str]],
    columns: Sequence[MapColumn],
    cells: Mapping[tuple[str, str], PotencyCell],
    *,
    title: str,
    description: str,
) -> tuple[Markup, ...]:
    """Return the map, in several drawings where one would not fit on a page.

    Parameters
    ----------
    clusters
        Index in the atlas and name, in the order of the rows.
    columns
        Endpoints.
    cells
        By endpoint and cluster; one that is absent could not be answered.
    """
    blocks = [clusters[at : at + _ROWS_PER_DRAWING] for at in range(0, len(clusters), _ROWS_PER_DRAWING)]
    widest = max((text_width(name, 13) * 1.04 for _, name in clusters), default=0.0)
    room = min(max(widest, _NARROWEST_NAME), _WIDEST_NAME)
    width = min((WIDTH - room - 24) / max(len(columns), 1), _WIDEST_COLUMN)
    return tuple(
        _drawing(block, columns, cells, title, description, f"potencies-{number}", room, width)
        for number, block in enumerate(blocks)
    )


def step_of(rho: float) -> int:
    """Return the shade of a correlation, 0 (none) to 5.

    >>> step_of(0.04), step_of(-0.5), step_of(1.0)
    (0, 3, 5)
    """
    return min(_STEPS, int(abs(rho) * _STEPS + 0.5))


def _drawing(
    clusters: Sequence[tuple[int, str]],
    columns: Sequence[MapColumn],
    cells: Mapping[tuple[str, str], PotencyCell],
    title: str,
    description: str,
    identifier: str,
    room: float,
    width: float,
) -> Markup:
    bottom = _TOP + _ROW * len(clusters)
    left = room + 20
    heads = []
    for place, column in enumerate(columns):
        middle = left + width * (place + 0.5)
        heads += [
            text(middle, 20, shortened(column.heading, 12.5, width - 8), class_="head", anchor="middle"),
            text(middle, 38, shortened(column.n, 11.5, width - 8), class_="small", anchor="middle"),
        ]
    rows = [
        group(
            [
                text(8, _TOP + _ROW * number + 22, shortened(name, 13, room), class_="label"),
                *(
                    _cell(cells.get((column.endpoint, name)), left + width * place, _TOP + _ROW * number, width)
                    for place, column in enumerate(columns)
                ),
            ],
            class_="row",
            data_cluster=str(index),
        )
        for number, (index, name) in enumerate(clusters)
    ]
    return drawing(
        identifier,
        width=WIDTH,
        height=bottom + _BOTTOM,
        title=title,
        description=description,
        content=[text(8, 20, texts.COLUMN_CLUSTER, class_="head"), *heads, *rows, *_key(left, bottom + 24)],
    )


def _cell(cell: PotencyCell | None, x: float, y: float, width: float) -> Markup:
    middle, base = x + width / 2, y + 22
    if cell is None or cell.rho is None:
        said = "not answered" if cell is None else "not defined"
        box = rectangle(x + 3, y + 3, width - 6, _ROW - 6, class_="shade none")
        return box + text(middle, base - 1, shortened(said, 11.5, width - 8), class_="small", anchor="middle")
    sign = "up" if cell.rho > 0 else "down"
    shade = f"shade {sign} step-{step_of(cell.rho)}" + (" significant" if cell.significant else "")
    said = rho_text(cell.rho) + (" ✓" if cell.significant else "")
    return (
        rectangle(x + 3, y + 3, width - 6, _ROW - 6, class_=shade)
        + _triangle(x + _MARK_ROOM - 6, y + _ROW / 2, up=cell.rho > 0)
        + text(middle + 8, base, said, class_="label strong" if cell.significant else "label", anchor="middle")
    )


def _triangle(x: float, y: float, *, up: bool) -> Markup:
    points = ((x - 5, y + 4), (x + 5, y + 4), (x, y - 5)) if up else ((x - 5, y - 4), (x + 5, y - 4), (x, y + 5))
    return element("polygon", points=" ".join(f"{px:.1f},{py:.1f}" for px, py in points), class_="sign")


def _key(left: float, y: float) -> list[Markup]:
    marks: list[Markup] = [
        text(8, y + 11, "|rho|", class_="small"),
    ]
    at = left
    for step in range(_STEPS + 1):
        marks += [
            rectangle(at, y, 26, 15, class_=f"shade up step-{step}"),
            text(at + 13, y + 27, f"{step / _STEPS:.1f}", class_="tick", anchor="middle"),
        ]
        at += 28
    return [
        *marks,
        _triangle(at + 22, y + 8, up=True),
        text(at + 34, y + 12, "rises with potency", class_="small"),
        _triangle(at + 156, y + 8, up=False),
        text(at + 168, y + 12, "falls", class_="small"),
        rectangle(at + 214, y, 26, 15, class_="shade none significant"),
        text(at + 248, y + 12, "✓ significant in its column", class_="small"),
    ]
