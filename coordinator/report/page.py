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

from markupsafe import Markup

from coordinator.report import texts
from coordinator.report.contents import Download, ReportModel
from coordinator.report.figures import draw_figures
from shared.drawing.security import content_security_policy
from shared.pages.rendering import STYLE_SHEET, legend_mark, page_environment, shared_template, table_blocks


def render_page(model: ReportModel) -> bytes:
    """Return the report as UTF-8 HTML."""
    style, script = shared_template(STYLE_SHEET), _template("report.js")
    page = (
        page_environment(_template)
        .get_template("report.html")
        .render(
            model=model,
            figures=draw_figures(model),
            t=texts,
            style=Markup(style),  # noqa: S704 - this package's own style sheet
            script=Markup(script),  # noqa: S704 - this package's own script
            policy=content_security_policy(style=style, script=script),
            blocks=table_blocks,
            data_address=data_address,
            legend_mark=legend_mark,
        )
    )
    return page.encode("utf-8")


def data_address(download: Download) -> str:
    """Return a download as a ``data:`` address; it is saved by a click and fetched by nothing."""
    content = base64.b64encode(download.content.encode("utf-8")).decode("ascii")
    return f"data:{download.media_type};charset=utf-8;base64,{content}"


def _template(name: str) -> str:
    return (files("coordinator.report") / "templates" / name).read_text(encoding="utf-8")
