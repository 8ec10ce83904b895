"""An atlas as one self-contained HTML file, without a script: the same atlas gives the same bytes.

Rules.
1. No address outside the file. The Content-Security-Policy allows nothing but the one inline style, by its hash.
2. Everything from the atlas is escaped; an undefined name in a template is an error.
3. No clock, no path and no order of a dictionary reaches the page.
4. What would make the page large (many lots, many classes, many dropped labels) is summed up, and said to be.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from markupsafe import Markup

from shared.drawing.security import content_security_policy
from shared.pages.rendering import STYLE_SHEET, page_environment, shared_template
from site_agent.atlas_show import tables
from site_agent.atlas_show.map_drawing import map_drawing
from site_agent.atlas_show.model import AtlasView
from site_agent.atlas_show.revealing import what_it_may_reveal
from site_agent.atlas_show.verdicts import RULES, Transferability

MOST_CLASSES_IN_MATRIX: Final = 30
_SHADES: Final = (0.02, 0.1, 0.4, 0.75)  # shares of a row at which the ground turns a step darker

ICONS: Final = {Transferability.WELL: "✓", Transferability.CARE: "!", Transferability.NOT_MEASURED: "?"}

_MAP_TITLE: Final = "Map of the classes"
_MAP_SENTENCE: Final = (
    "Each ellipse is drawn from one class's mean and covariance, and holds half of its cells if they are normally "
    "distributed; the dot is the mean. No cell is drawn, for none is in the file. Both axes have one scale, no unit. "
    "Classes that overlap here may be apart in the other {others} dimensions."
)


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """A number of cells, how dark its ground is (0 to 5), and whether the label was found."""

    text: str
    shade: int
    is_own: bool


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """A class's left-out cells, by the class that they were given."""

    number: int
    name: str
    cells: tuple[HeatCell, ...]
    total: str


def render_page(view: AtlasView) -> bytes:
    """Return the page as UTF-8 HTML."""
    style = shared_template(STYLE_SHEET) + _template("atlas.css")
    page = (
        page_environment(_template)
        .get_template("atlas.html")
        .render(
            view=view,
            icon=ICONS[view.verdict.state],
            reveal=what_it_may_reveal(view),
            rules=RULES,
            map=map_drawing(view.classes, title=_MAP_TITLE, description=f"{len(view.classes)} classes of {view.name}"),
            map_title=_MAP_TITLE,
            map_sentence=_MAP_SENTENCE.format(others=max(view.n_dimensions - 2, 0)),
            heat=heat_rows(view) if len(view.classes) <= MOST_CLASSES_IN_MATRIX else None,
            most_in_matrix=MOST_CLASSES_IN_MATRIX,
            card=tables.card_rows(view),
            transfer=tables.transfer_rows(view),
            by_class=tables.class_rows(view),
            places=tables.place_rows(view),
            errors=tables.confusion_rows(view),
            by_lot=tables.lot_rows(view),
            markers=tables.marker_rows(view),
            dropped=tables.dropped_rows(view),
            held=tables.held_rows(view),
            style=Markup(style),  # noqa: S704 - our own style sheets
            policy=content_security_policy(style=style),
        )
    )
    return page.encode("utf-8")


def heat_rows(view: AtlasView) -> tuple[HeatRow, ...]:
    """Return the confusion matrix: counts, with a ground by their share of the row."""
    return tuple(
        HeatRow(
            number=each.number,
            name=each.name,
            cells=tuple(
                HeatCell(text=f"{cells:,}", shade=shade(cells, sum(row)), is_own=given == label)
                for given, cells in enumerate(row)
            ),
            total=f"{sum(row):,}",
        )
        for label, (each, row) in enumerate(zip(view.classes, view.confusion, strict=True))
    )


def shade(cells: int, total: int) -> int:
    """Return 0 for no cells, else 1 to 5 by their share of the total; darker is more, in greyscale too.

    >>> shade(0, 10), shade(1, 100), shade(50, 100), shade(100, 100)
    (0, 1, 4, 5)
    """
    if cells == 0:
        return 0
    return 1 + sum(cells / total >= limit for limit in _SHADES)


def _template(name: str) -> str:
    return (files("site_agent.atlas_show") / "templates" / name).read_text(encoding="utf-8")
