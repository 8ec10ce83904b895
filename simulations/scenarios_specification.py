"""Scenarios of the specification module: one where a threshold exists, one with too few lots for it."""

from dataclasses import replace
from typing import Final

from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.specification import SpecificationPlan
from simulations.design import even_design
from simulations.effect_size import slope_for_correlation
from simulations.scenario import Scenario, scenario_of
from simulations.truth import Driver, Model

_DRIVER = 3
_LIMIT = 5.0  # times the reference standard: about one lot in four of these is weaker
_ASKED = Modules(specification=SpecificationPlan(endpoint=EndpointId("vegf"), limit=_LIMIT))


def _model(correlation: float) -> Model:
    model = replace(Model(drivers=(Driver(cluster=_DRIVER),)))
    return replace(model, slope=slope_for_correlation(model, correlation))


def _specification() -> Scenario:
    """Cluster 3 should be found, and a threshold of its share: r = .9 over 32 lots of 4 sites.

    Hardly any lot that passes should miss the limit of potency (under 2%), at the price of about half of the
    sufficient lots turned away. New lots beside the study try it: one passes, one fails, one cannot be judged.
    """
    return scenario_of(_specification, model=_model(0.9), blocks=even_design(sites=4, lots_per_site=8), modules=_ASKED)


def _specification_small() -> Scenario:
    """No more than an indicative threshold should be given: r = .8 over 12 lots of 4 sites; often none exists."""
    return scenario_of(
        _specification_small, model=_model(0.8), blocks=even_design(sites=4, lots_per_site=3), modules=_ASKED
    )


SPECIFICATION_SCENARIOS: Final = (_specification(), _specification_small())
"""In the order in which a reader meets them."""
