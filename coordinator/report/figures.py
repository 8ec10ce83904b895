"""Every figure of a report, numbered in reading order: its drawings, its sentence and its data table together.

A figure cannot be had without its sentence and its table, so no page can show one alone.
"""

from dataclasses import dataclass

from coordinator.report.composition import composition_drawings
from coordinator.report.contents import Composition, Forest, Panels, Ranges, ReportModel, Scatter, SiteMark
from coordinator.report.forest import forest_drawings
from coordinator.report.ranges import ranges_drawing
from coordinator.report.scatter import lead_drawing, panel_drawings
from shared.pages.contents import ModuleFigure, ModuleSection
from shared.pages.rendering import Figure, Layout, module_figure


@dataclass(frozen=True, kw_only=True)
class EndpointFigures:
    """The figures of one endpoint; what the edition or the data do not allow is None or empty."""

    forest: Figure | None
    leads: tuple[Figure, ...]
    panels: Figure | None


@dataclass(frozen=True, kw_only=True)
class RobustnessFigures:
    """The figures on robustness of one endpoint."""

    ranges: Figure | None
    validation: Figure | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All figures of a report, in the order of the page."""

    endpoints: tuple[EndpointFigures, ...]
    characterisation: tuple[tuple[Figure, ...], ...]
    composition: Figure | None
    robustness: tuple[RobustnessFigures, ...]
    decisions: tuple[tuple[Figure, ...], ...]


class _Draughtsman:
    """Draws and numbers, in the order in which it is asked."""

    def __init__(self, sites: tuple[SiteMark, ...]) -> None:
        self._sites = sites
        self._last = 0

    def _number(self) -> int:
        self._last += 1
        return self._last

    def forest(self, forest: Forest) -> Figure:
        return Figure(
            number=self._number(), title=forest.title, finding=forest.finding, sentences=(),
            drawings=forest_drawings(forest), layout=Layout.STACKED, legend=(), table=forest.table,
        )  # fmt: skip

    def lead(self, scatter: Scatter) -> Figure | None:
        if scatter.table is None:
            return None
        return Figure(
            number=self._number(), title=scatter.title, finding=scatter.finding, sentences=scatter.without_point,
            drawings=(lead_drawing(scatter, self._sites),), layout=Layout.STACKED, legend=(), table=scatter.table,
        )  # fmt: skip

    def panels(self, panels: Panels, *, one_axis: bool) -> Figure:
        shown = {point.site for panel in panels.panels for point in panel.points}
        return Figure(
            number=self._number(), title=panels.title, finding=None, sentences=(panels.sentence,),
            drawings=panel_drawings(panels, self._sites, one_axis=one_axis), layout=Layout.PANELS,
            legend=tuple(site for index, site in enumerate(self._sites) if index in shown), table=panels.table,
        )  # fmt: skip

    def ranges(self, ranges: Ranges) -> Figure:
        return Figure(
            number=self._number(), title=ranges.title, finding=ranges.finding, sentences=(),
            drawings=(ranges_drawing(ranges),), layout=Layout.STACKED, legend=(), table=ranges.table,
        )  # fmt: skip

    def composition(self, composition: Composition) -> Figure:
        return Figure(
            number=self._number(), title=composition.title, finding=composition.finding, sentences=(),
            drawings=composition_drawings(composition, self._sites), layout=Layout.STACKED, legend=(),
            table=composition.table,
        )  # fmt: skip

    def modules(self, sections: tuple[ModuleSection, ...]) -> tuple[tuple[Figure, ...], ...]:
        return tuple(
            tuple(
                module_figure(block, self._number(), self._sites)
                for block in section.blocks
                if isinstance(block, ModuleFigure)
            )
            for section in sections
        )


def draw_figures(model: ReportModel) -> Figures:
    """Return every figure of a report."""
    draw = _Draughtsman(model.sites)
    endpoints = tuple(
        EndpointFigures(
            forest=draw.forest(section.forest) if section.forest else None,
            leads=tuple(figure for scatter in section.leads if (figure := draw.lead(scatter)) is not None),
            panels=draw.panels(section.panels, one_axis=True) if section.panels else None,
        )
        for section in model.endpoints
    )
    characterisation = draw.modules(model.characterisation)
    composition = draw.composition(model.composition) if model.composition else None
    robustness = tuple(
        RobustnessFigures(
            ranges=draw.ranges(section.ranges) if section.ranges else None,
            validation=draw.panels(section.validation.panels, one_axis=False)
            if section.validation and section.validation.panels
            else None,
        )
        for section in model.robustness
    )
    return Figures(
        endpoints=endpoints,
        characterisation=characterisation,
        composition=composition,
        robustness=robustness,
        decisions=draw.modules(model.decisions),
    )
