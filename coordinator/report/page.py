"""The report as one self-contained HTML file: the same model gives the same bytes.

Rules
-----
1. No address outside the file. The Content-Security-Policy allows nothing but the one inline style and the one inline
   script, by their hashes; without the script the page is complete.
2. Everything from outside is escaped (Jinja2's autoescape and MarkupSafe); an undefined name in a template is an error.
3. No clock, no random number, no order of a dictionary reaches the page.
"""

import base64
from importlib.resources import files
from typing import TypeVar

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from coordinator.report import texts
from coordinator.report.contents import Download, ReportModel, Row, Table
from coordinator.report.figures import draw_figures
from coordinator.report.lot_sections import COLUMNS_PER_TABLE
from coordinator.report.marks import site_mark
from shared.drawing.security import content_security_policy

_MARK_SIZE = 16
_T = TypeVar("_T")


def render_page(model: ReportModel) -> bytes:
    """Return the report as UTF-8 HTML."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _template("report.css"), _template("report.js")
    page = environment.get_template("report.html").render(
        model=model,
        figures=draw_figures(model),
        t=texts,
        style=Markup(style),  # noqa: S704 - this package's own style sheet
        script=Markup(script),  # noqa: S704 - this package's own script
        policy=content_security_policy(style=style, script=script),
        blocks=table_blocks,
        data_address=data_address,
        legend_mark=_legend_mark,
    )
    return page.encode("utf-8")


def data_address(download: Download) -> str:
    """Return a download as a ``data:`` address; it is saved by a click and fetched by nothing."""
    content = base64.b64encode(download.content.encode("utf-8")).decode("ascii")
    return f"data:{download.media_type};charset=utf-8;base64,{content}"


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


def _cut(items: tuple[_T, ...], at: int, fixed: int, width: int) -> tuple[_T, ...]:
    return (*(items[1:fixed] if at == fixed else ()), *items[at : at + width])


def _legend_mark(style: int) -> Markup:
    half = _MARK_SIZE / 2
    mark = site_mark(style, half, half, half - 2)
    return Markup(
        '<svg class="key-mark" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">{}</svg>'
    ).format(mark)


def _template(name: str) -> str:
    return (files("coordinator.report") / "templates" / name).read_text(encoding="utf-8")
