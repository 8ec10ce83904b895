"""Scenarios of single-cell morphology: an immunosuppression study after IFN-gamma, its lots under a microscope."""

from dataclasses import replace
from typing import Final

from protocol.identifiers import EndpointId
from simulations.design import even_design
from simulations.effect_size import slope_for_correlation
from simulations.potency_truth import Assay
from simulations.scenario import Scenario, scenario_of
from simulations.truth import Driver, Model

_IMMUNOSUPPRESSION = Assay(
    endpoint=EndpointId("immunosuppression"), assay="T-cell suppression after IFN-gamma", unit="units/mL", decimals=3
)
_CORRELATION = 0.8
_CELLS = (800, 1_600)


def _morphology() -> Scenario:
    """Cluster 2, a shape that cells take after IFN-gamma, should be found by microscopy: r = .8, 24 lots of 4 sites.

    Cells have 48 features and no counts; each plate has its own stain and gain, and control wells that show them. A
    lot without its control wells is refused, and without scoring against them the sites' microscopes would be mapped.
    """
    model = Model(drivers=(Driver(cluster=2),), scale=5.0, cells_low=_CELLS[0], cells_high=_CELLS[1])
    return scenario_of(
        _morphology,
        model=replace(model, slope=slope_for_correlation(model, _CORRELATION)),
        blocks=even_design(sites=4, lots_per_site=6),
        assay=_IMMUNOSUPPRESSION,
        modality="morphology",
    )


MORPHOLOGY_SCENARIOS: Final = (_morphology(),)
"""In the order in which a reader meets them."""
