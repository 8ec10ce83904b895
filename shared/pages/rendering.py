"""How pages are rendered: one environment, one style sheet and one set of macros for all who make pages.

Rules
-----
1. Everything from outside is escaped (Jinja2's autoescape and MarkupSafe); an undefined name in a template is an error.
2. A module's figures are numbered in the order of the page, each with its sentence and its table.
3. No clock, no random number, no order of a dictionary reaches a page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Final, Protocol, TypeVar

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from shared.pages.contents import Finding, ModuleFigure, Row, Table
from shared.pages.marks import site_mark

_MARK_SIZE = 16
COLUMNS_PER_TABLE: Final = 8
"""How many columns of numbers fit on paper."""

STYLE_SHEET: Final = "page.css"
_SHARED: Final = frozenset({STYLE_SHEET, "blocks.html"})
_T = TypeVar("_T")


class Layout(StrEnum):
    """How the drawings of a figure stand on the page."""

    STACKED = "stacked"
    PANELS = "panels"


class Marked(Protocol):
    """What stands in a figure's legend: a name and the number of its style."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def style(self) -> int:
        """The number of the colour and shape."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure, complete."""

    number: int
    title: str
    finding: Finding | None
    sentences: tuple[str, ...]
    drawings: tuple[Markup, ...]
    layout: Layout
    legend: tuple[Marked, ...]
    table: Table


def module_figure(figure: ModuleFigure, number: int, marks: Sequence[Marked] = ()) -> Figure:
    """Return a module's figure with its number; ``marks`` are what its legend's indices point to."""
    return Figure(
        number=number,
        title=figure.title,
        finding=figure.finding,
        sentences=figure.sentences,
        drawings=figure.drawings,
        layout=Layout.PANELS if figure.in_panels else Layout.STACKED,
        legend=tuple(marks[index] for index in figure.legend),
        table=figure.table,
    )


def page_environment(own: Callable[[str], str]) -> Environment:
    """Return the environment of a page whose own templates ``own`` reads; the shared ones are found by name.

    A template that imports ``blocks.html`` with context needs ``t`` (the words), ``blocks`` (`table_blocks`) and
    ``legend_mark`` in it.
    """
    return Environment(
        loader=FunctionLoader(lambda name: shared_template(name) if name in _SHARED else own(name)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def shared_template(name: str) -> str:
    """Return the text of a template or style sheet of this package."""
    return (files("shared.pages") / "templates" / name).read_text(encoding="utf-8")


def table_blocks(table: Table) -> tuple[Table, ...]:
    """Return a table in parts narrow enough for paper: the first column, and some of the others, in each.

    Only tables of plain numbers are cut: a row of an evidence table is read across.
    """
    numeric = sum(column.numeric for column in table.columns)
    if numeric < len(table.columns) - 2 or len(table.columns) <= COLUMNS_PER_TABLE + 3:
        return (table,)
    fixed = len(table.columns) - numeric
    blocks = -(-numeric // COLUMNS_PER_TABLE)
    width = -(-numeric // blocks)
    return tuple(
        Table(
            identifier=table.identifier if at == fixed else f"{table.identifier}-{at}",
            caption=table.caption,
            columns=(*table.columns[:1], *_cut(table.columns, at, fixed, width)),
            rows=tuple(
                Row((row.cells[0], *_cut(row.cells, at, fixed, width)), row.cluster, row.lot) for row in table.rows
            ),
        )
        for at in range(fixed, len(table.columns), width)
    )


def legend_mark(style: int) -> Markup:
    """Return the mark of a site for a legend in words."""
    half = _MARK_SIZE / 2
    mark = site_mark(style, half, half, half - 2)
    return Markup(
        '<svg class="key-mark" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">{}</svg>'
    ).format(mark)


def _cut(items: tuple[_T, ...], at: int, fixed: int, width: int) -> tuple[_T, ...]:
    return (*(items[1:fixed] if at == fixed else ()), *items[at : at + width])
