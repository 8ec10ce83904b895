"""Scenarios of several potencies: each endpoint has a driver of its own, or none."""

from dataclasses import replace
from typing import Final

from protocol.identifiers import EndpointId
from simulations.design import even_design
from simulations.effect_size import slope_for_correlation
from simulations.potency_truth import Assay, FurtherPotency
from simulations.scenario import Scenario, scenario_of
from simulations.truth import Driver, Model

_ANGIOGENIC = Assay(endpoint=EndpointId("angiogenic"), assay="tube formation", unit="mm/field", decimals=3)
_IMMUNOSUPPRESSIVE = Assay(
    endpoint=EndpointId("immunosuppressive"), assay="T-cell suppression", unit="units/mL", decimals=2
)
_DIFFERENTIATION = Assay(endpoint=EndpointId("differentiation"), assay="alizarin red", unit="OD405", decimals=4)
_CORRELATION = 0.8


def _driven(cluster: int, assay: Assay, *, scale: float) -> FurtherPotency:
    driver = Driver(cluster=cluster)
    slope = slope_for_correlation(Model(drivers=(driver,)), _CORRELATION)
    return FurtherPotency(assay=assay, drivers=(driver,), slope=slope, scale=scale)


def _several_potencies() -> Scenario:
    """Cluster 3 should lead the angiogenic row and cluster 1 the immunosuppressive one; differentiation has no driver.

    r = .8 between each driver's counted share and its log potency, 24 lots of 4 sites. Each potency is a family of its
    own: in about one study in twenty something is found for differentiation, falsely.
    """
    model = Model(drivers=(Driver(cluster=3),), scale=6.0)
    return scenario_of(
        _several_potencies,
        model=replace(model, slope=slope_for_correlation(model, _CORRELATION)),
        blocks=even_design(sites=4, lots_per_site=6),
        assay=_ANGIOGENIC,
        potencies=(
            _driven(1, _IMMUNOSUPPRESSIVE, scale=40.0),
            FurtherPotency(assay=_DIFFERENTIATION, drivers=(), slope=0.0, scale=0.8),
        ),
    )


POTENCY_SCENARIOS: Final = (_several_potencies(),)
"""In the order in which a reader meets them."""
