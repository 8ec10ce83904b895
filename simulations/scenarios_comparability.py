"""Scenarios of the comparability module: a change that does nothing, one that does much, and one with too few lots.

Potency follows cluster 3 moderately. The lots before and after are of other donors, since donors do not wait for a
process to change.
"""

from dataclasses import replace
from math import log
from typing import Any, Final

from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.comparability import Arm, ComparabilityPlan
from simulations.design import Block
from simulations.effect_size import slope_for_correlation
from simulations.scenario import Scenario, scenario_of
from simulations.truth import Change, Driver, Model

_DRIVER = 3
_SITES = ("site-a", "site-b", "site-c")
_ASKED = Modules(
    comparability=ComparabilityPlan(
        endpoint=EndpointId("vegf"), change="Culture moved from flasks with animal serum to a bioreactor without."
    )
)


def change_truth(scenario: Scenario) -> dict[str, Any]:
    """Return what the change truly does, for ``truth.json``; empty where the study has none."""
    if scenario.modules.comparability is None:
        return {}
    change = scenario.model.change
    return {"change": {"log_potency": change.log_potency, "log_shares": list(change.log_shares)}}


def two_arms(*, sites: tuple[str, ...], before: int, after: int) -> tuple[Block, ...]:
    """Return blocks of ``before`` and ``after`` donors with one lot each at every site."""
    return tuple(
        Block(site=site, donors=donors, arm=arm)
        for site in sites
        for arm, donors in ((Arm.BEFORE, before), (Arm.AFTER, after))
    )


def _model(change: Change) -> Model:
    model = Model(drivers=(Driver(cluster=_DRIVER),))
    return replace(model, slope=slope_for_correlation(model, 0.5), change=change)


def _process_change_alike() -> Scenario:
    """HIGHLY_SIMILAR should be given in most studies: the change does nothing, 24 lots before and after at 3 sites.

    Lots of the two arms differ by donor only. Rare clusters vary most between lots, and theirs is the interval that
    reaches beyond its margin where the answer is SUSPECTED_SIMILAR instead.
    """
    return scenario_of(
        _process_change_alike,
        model=_model(Change()),
        blocks=two_arms(sites=_SITES, before=8, after=8),
        modules=_ASKED,
    )


def _process_change_different() -> Scenario:
    """NOTABLE_DIFFERENCE should be given: after the change lots have a quarter of cluster 3, and half of the potency.

    24 lots before and after at 3 sites. Potency falls by what the loss of cluster 3 does, and by a factor of two
    beside it.
    """
    shares = [0.0] * len(Model().base_shares)
    shares[_DRIVER] = log(0.25)
    return scenario_of(
        _process_change_different,
        model=_model(Change(log_potency=log(0.5), log_shares=tuple(shares))),
        blocks=two_arms(sites=_SITES, before=8, after=8),
        modules=_ASKED,
    )


def _process_change_too_few() -> Scenario:
    """INSUFFICIENT_DATA should be given in most studies: the change does nothing, but only 3 lots stand beside 11.

    One site. The test of potency would pass in less than half of such studies, so neither a pass nor a failure of it
    says much.
    """
    return scenario_of(
        _process_change_too_few,
        model=_model(Change()),
        blocks=two_arms(sites=_SITES[:1], before=11, after=3),
        modules=_ASKED,
    )


COMPARABILITY_SCENARIOS: Final = (_process_change_alike(), _process_change_different(), _process_change_too_few())
"""In the order in which a reader meets them."""
