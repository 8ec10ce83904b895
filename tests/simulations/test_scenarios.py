"""The scenarios are data that can be drawn, and say what should be found."""

from collections import Counter

import numpy as np
import pytest

from protocol.plan import CohortRole, Strata
from shared.errors import InputError
from simulations.scenarios import SCENARIOS, scenario_named
from simulations.truth import simulate_study

_ASKED_FOR = {
    "null",
    "confounded-null",
    "model-study",
    "assay-bias",
    "uc-without-marker",
    "rare-driver",
    "two-drivers",
    "outlier-lot",
    "suppressed-driver",
}


def test_every_scenario_asked_for_is_there_under_its_own_name() -> None:
    assert set(SCENARIOS) >= _ASKED_FOR
    assert all(name == scenario.name for name, scenario in SCENARIOS.items())


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_says_what_should_be_found_and_can_be_drawn(name: str) -> None:
    scenario = scenario_named(name)
    assert scenario.summary.endswith(".")
    assert sum(scenario.model.base_shares) == pytest.approx(1.0)
    study = simulate_study(scenario.model, scenario.blocks, np.random.default_rng(1))
    assert study.driver_clusters == tuple(driver.cluster for driver in scenario.model.drivers)
    assert scenario.cohorts()[0].role is CohortRole.DISCOVERY
    assert scenario.analysis_plan(seed=3).seed == 3


def test_the_model_study_has_the_lots_of_the_paper() -> None:
    scenario = scenario_named("model-study")
    lots = Counter[tuple[str, str]]()
    for block in scenario.blocks:
        lots[block.cohort, block.tissue] += block.donors * block.lots_per_donor
    assert lots == {
        ("discovery", "BM"): 11,
        ("validation", "BM"): 4,
        ("validation", "AD"): 4,
        ("validation", "UC"): 5,
    }
    assert len({block.site for block in scenario.blocks if block.cohort == "discovery"}) == 4
    assert scenario.strata is Strata.TISSUE


def test_umbilical_cord_hardly_has_the_driver_in_the_model_study_and_has_it_silent_in_uc_without_marker() -> None:
    shares = {}
    for name in ("model-study", "uc-without-marker"):
        scenario = scenario_named(name)
        studies = [simulate_study(scenario.model, scenario.blocks, np.random.default_rng(seed)) for seed in range(50)]
        shares[name] = {
            tissue: float(np.mean([study.shares[np.array(study.tissues) == tissue, 3].mean() for study in studies]))
            for tissue in ("BM", "UC")
        }
    assert shares["model-study"]["UC"] < 0.01
    assert shares["model-study"]["BM"] > 0.09
    assert shares["uc-without-marker"]["UC"] > 0.09


def test_an_unknown_scenario_is_refused_with_the_list_of_the_known() -> None:
    with pytest.raises(InputError, match="'nul'") as refusal:
        scenario_named("nul")
    assert "confounded-null" in str(refusal.value.hint)
