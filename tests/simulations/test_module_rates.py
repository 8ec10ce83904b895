"""Known truth of attributes and of several potencies, recovered over simulated studies; the benchmark runs 1,000."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from simulations.module_rates import attribute_rates, potency_rates, without_drivers
from simulations.power import Rate
from simulations.scenario import Scenario
from simulations.scenarios import scenario_named
from simulations.whole_study import simulate_whole

_STUDIES = 20


def _at_most(rate: Rate, limit: float) -> bool:
    return rate.value <= limit + 3 * sqrt(limit * (1 - limit) / rate.trials)


@pytest.fixture(scope="module")
def panel() -> Scenario:
    return scenario_named("airway-exosome")


def test_the_panels_driver_is_found_and_its_traps_are_warned_of(panel: Scenario) -> None:
    rates = attribute_rates(panel, replicates=_STUDIES, seed=3, draws=299)
    assert rates.leads_its_family["mir-148a"].value >= 0.9
    assert rates.found["mir-148a"].value >= 0.8
    assert _at_most(rates.false_in_family["mirna"], 0.05)
    assert rates.found["particles-per-protein"].value >= 0.5  # the trap is one
    assert rates.warned_of_denominator.value == 1.0
    assert rates.warned_of_detection.value >= 0.5


def test_a_panel_without_drivers_finds_nothing_more_often_than_alpha(panel: Scenario) -> None:
    assert panel.attributes is not None
    null = replace(panel, attributes=without_drivers(panel.attributes))
    rates = attribute_rates(null, replicates=_STUDIES, seed=4, draws=299)
    assert all(_at_most(rate, 0.05) for rate in rates.false_in_family.values())


def test_each_potencys_driver_leads_its_own_row() -> None:
    rates = potency_rates(scenario_named("several-potencies"), replicates=_STUDIES, seed=3, draws=299)
    assert rates.leads["angiogenic"].value >= 0.8
    assert rates.leads["immunosuppressive"].value >= 0.8
    assert _at_most(rates.false_in_row["differentiation"], 0.05)


def test_what_is_drawn_beside_a_study_leaves_its_cells_and_first_potency_as_they_were(panel: Scenario) -> None:
    plain = simulate_whole(replace(panel, attributes=None), seed=9)
    whole = simulate_whole(panel, seed=9)
    assert np.array_equal(plain.study.counts, whole.study.counts)
    assert np.array_equal(plain.study.replicates, whole.study.replicates)


def test_attributes_follow_potency_as_declared(panel: Scenario) -> None:
    assert panel.attributes is not None
    many = replace(panel, blocks=tuple(replace(block, donors=400) for block in panel.blocks))
    whole = simulate_whole(many, seed=2)
    assert whole.attributes is not None
    names = [each.plan.attribute for each in panel.attributes.attributes]
    site = np.array(whole.study.sites) == "site-01"
    potency = whole.study.true_log_potency[site]
    for name, expected in (("mir-148a", 0.85), ("mir-16", 0.0), ("particles", 0.0)):
        values = np.log(whole.attributes.values[site, names.index(name)])
        assert np.corrcoef(values, potency)[0, 1] == pytest.approx(expected, abs=0.15)  # 400 lots: SE .05 at most
    column = whole.attributes.values[site, names.index("particles-per-protein")]
    assert np.corrcoef(np.log(column), potency)[0, 1] > 0.5
