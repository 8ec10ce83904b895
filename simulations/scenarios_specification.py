"""Scenarios of the specification module: a threshold of a cluster's share, or of a marker's; too few lots for one."""

from dataclasses import replace
from typing import Final

from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.modules.specification import MarkerPlace, SpecificationPlan
from simulations.design import even_design
from simulations.effect_size import slope_for_correlation
from simulations.gene_panel import MARKER
from simulations.scenario import Scenario, scenario_of
from simulations.truth import Driver, Model

_DRIVER = 3
_LIMIT = 5.0  # times the reference standard: about one lot in four of these is weaker
_ASKED = Modules(specification=SpecificationPlan(endpoint=EndpointId("vegf"), limit=_LIMIT))

_BY_MARKER = Modules(
    markers=MarkersPlan(genes=(MARKER,), predictors=(MarkerPredictor(gene=MARKER, threshold=2.3),)),
    specification=SpecificationPlan(endpoint=EndpointId("vegf"), limit=_LIMIT, marker=MarkerPlace(gene=MARKER)),
)


def _model(correlation: float) -> Model:
    model = replace(Model(drivers=(Driver(cluster=_DRIVER),)))
    return replace(model, slope=slope_for_correlation(model, correlation))


def _specification() -> Scenario:
    """Cluster 3 should be found, and a threshold of its share: r = .9 over 32 lots of 4 sites.

    Hardly any lot that passes should miss the limit of potency (under 2%), at the price of about half of the
    sufficient lots turned away. New lots beside the study try it: one passes, one fails, one cannot be judged.
    """
    return scenario_of(_specification, model=_model(0.9), blocks=even_design(sites=4, lots_per_site=8), modules=_ASKED)


def _specification_by_marker() -> Scenario:
    """LRRC75A-high cells, whichever cluster they are in, should give a threshold of their share in the lot.

    Lots and new lots as in `specification`: cluster 3, the driver, expresses LRRC75A and the others little of it. How
    much of one gene is seen differs from site to site more than a cluster's share does: where sites then part visibly
    at the same share, the threshold is indicative.
    """
    return scenario_of(
        _specification_by_marker,
        model=_model(0.9),
        blocks=even_design(sites=4, lots_per_site=8),
        modules=_BY_MARKER,
    )


def _specification_small() -> Scenario:
    """No more than an indicative threshold should be given: r = .8 over 12 lots of 4 sites; often none exists."""
    return scenario_of(
        _specification_small, model=_model(0.8), blocks=even_design(sites=4, lots_per_site=3), modules=_ASKED
    )


SPECIFICATION_SCENARIOS: Final = (_specification(), _specification_by_marker(), _specification_small())
"""In the order in which a reader meets them."""
