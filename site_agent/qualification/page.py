"""Qualification and monitoring as one self-contained HTML file of one A4 page, without a script.

Rules: no address outside the file (the Content-Security-Policy allows the one inline style, by its hash); everything is
escaped; the same view gives the same bytes.
"""

from importlib.resources import files
from typing import Any

from markupsafe import Markup

from shared.drawing.security import content_security_policy
from shared.pages.rendering import STYLE_SHEET, page_environment, shared_template, table_blocks
from site_agent.qualification.monitor_drawing import monitor_drawing
from site_agent.qualification.monitor_view import MonitorView
from site_agent.qualification.qualification_view import DECISION, NOTHING_SENT, QualificationView
from site_agent.qualification.strips import strips_drawing


def render_qualification(view: QualificationView) -> bytes:
    """Return the page of one lot as UTF-8 HTML."""
    drawn = strips_drawing(view.strips, title=f"Lot {view.card.lot}, criterion by criterion", description=view.headline)
    return _render("qualification.html", view=view, drawing=drawn, decision=DECISION)


def render_monitor(view: MonitorView) -> bytes:
    """Return the page of the site's lots as UTF-8 HTML."""
    return _render("monitor.html", view=view, drawing=monitor_drawing(view))


def _render(name: str, **context: Any) -> bytes:  # noqa: ANN401 - what a template is given
    style = shared_template(STYLE_SHEET) + _template("a4.css")
    page = (
        page_environment(_template)
        .get_template(name)
        .render(
            **context,
            t={},  # the words of the study report; no macro that is used here needs them
            blocks=table_blocks,
            nothing_sent=NOTHING_SENT,
            style=Markup(style),  # noqa: S704 - this house's own style sheets
            policy=content_security_policy(style=style),
        )
    )
    return page.encode("utf-8")


def _template(name: str) -> str:
    return (files("site_agent.qualification") / "templates" / name).read_text(encoding="utf-8")
