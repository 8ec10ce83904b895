"""The engine against known truth, at a size that a test may take; ``benchmarks/error_rates.py`` is the large run.

Tolerances are those of the project: 3 sqrt(.05 x .95 / n) around an expected share, n the number of studies.
"""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from coordinator.analysis import AnalysisParameters, analyse, study_card
from protocol.identifiers import EndpointId, Sha256, SiteId, StudyId
from protocol.plan import AtlasReference, DisclosureRequest, Endpoint, Profile, StudyPlan
from protocol.policy import EffectiveRules, SitePolicy, effective
from protocol.results import ResultSet
from shared.errors import InputError
from shared.statistics.association import associate
from simulations.design import Block, even_design
from simulations.effect_size import slope_for_correlation
from simulations.power import Rate, ScenarioReport, run_scenario, summary_rows
from simulations.replicate import population_rho, run_replicate
from simulations.scenarios import Scenario, scenario_named
from simulations.truth import replicate_generator, simulate_study, to_study_data
from site_agent.release.suppression import hide_small_counts

_STUDIES = 300
_TOLERANCE = 3 * sqrt(0.05 * 0.95 / _STUDIES)


def _run(scenario: Scenario, studies: int = _STUDIES) -> ScenarioReport:
    return run_scenario(scenario, replicates=studies, seed=1, draws=499)


def _analyse(scenario: Scenario, number: int) -> ResultSet:
    """Return what the coordinator says on replicate ``number`` of seed 9."""
    plan = scenario.analysis_plan(seed=9, draws=499)
    endpoint = Endpoint(endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL", normalisation=scenario.normalisation)
    card = study_card(study="simulated", title="t", question="q", plan_sha256=None, atlas=None, analysis=plan)
    parameters = AnalysisParameters(study=card, endpoints=(endpoint,), cohorts=scenario.cohorts(), analysis=plan)
    study = simulate_study(scenario.model, scenario.blocks, replicate_generator(9, number))
    return analyse(to_study_data(study), parameters)


def _rules_that_hide_below(threshold: int) -> EffectiveRules:
    plan = StudyPlan(
        study=StudyId("simulated"),
        title="t",
        question="q",
        opens="2026-Q4",
        atlas=AtlasReference(name="a", sha256=Sha256("0" * 64), clusters=("a", "b")),
        sites=(SiteId("site-01"),),
        endpoints=(Endpoint(endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL"),),
        cohorts=scenario_named("null").cohorts(),
        analysis=scenario_named("null").analysis_plan(seed=1),
        disclosure=DisclosureRequest(profile=Profile.STANDARD, small_count_threshold=threshold),
    )
    policy = SitePolicy(
        version=1,
        site=SiteId("site-01"),
        profile=Profile.STANDARD,
        allowed_studies=(plan.study,),
        allowed_coordinators=(Sha256("0" * 64),),
    )
    return effective(policy, plan)


@pytest.fixture(scope="module")
def null() -> ScenarioReport:
    return _run(scenario_named("null"))


@pytest.fixture(scope="module")
def confounded() -> ScenarioReport:
    return _run(scenario_named("confounded-null"))


@pytest.fixture(scope="module")
def one_driver() -> ScenarioReport:
    return _run(scenario_named("one-driver"))


def test_without_a_driver_the_family_rejects_at_most_alpha(null: ScenarioReport) -> None:
    assert null.refused == 0
    assert null.any_rejection.value <= 0.05 + _TOLERANCE
    # A test that never rejects would pass the line above.
    assert null.per_test.value == pytest.approx(0.05, abs=_TOLERANCE)


def test_confounded_by_sites_the_stratified_test_keeps_alpha(confounded: ScenarioReport) -> None:
    assert confounded.any_rejection.value <= 0.05 + _TOLERANCE
    assert confounded.per_test.value == pytest.approx(0.05, abs=_TOLERANCE)


def test_confounded_by_sites_the_naive_pooled_test_fails(confounded: ScenarioReport) -> None:
    assert confounded.naive_any_rejection.value > 0.05 + 5 * _TOLERANCE
    assert confounded.naive_per_test.value > 0.05 + 3 * _TOLERANCE
    assert confounded.naive_per_test_bonferroni.value > 0.05 / 6 + _TOLERANCE


def test_the_naive_pooled_test_passes_where_sites_do_not_confound(null: ScenarioReport) -> None:
    assert null.naive_any_rejection.value <= 0.05 + _TOLERANCE


def test_power_at_four_sites_of_five_lots_on_normal_data_is_that_of_the_design() -> None:
    # The design's .86 is of one cluster tested alone on bivariate normal data with r = .7.
    found, sites = 0, np.repeat(np.arange(4), 5)
    for number in range(_STUDIES):
        rng = replicate_generator(3, number)
        y = rng.standard_normal(20)
        x = 0.7 * y + sqrt(1 - 0.7**2) * rng.standard_normal(20)
        found += bool(associate(x[:, np.newaxis], y, sites, entropy=(3, number), threads=1).p[0] <= 0.05)
    assert found / _STUDIES == pytest.approx(0.86, abs=_TOLERANCE)


def test_power_at_four_sites_of_five_lots_on_simulated_lots(one_driver: ScenarioReport) -> None:
    (driver,) = one_driver.drivers
    # .83, not .86, in the large run: a lot's shares are skewed, and at r = .7 their rank correlation is .67, not .68.
    assert driver.found_alone.value == pytest.approx(0.83, abs=_TOLERANCE)
    assert driver.found.value < driver.found_alone.value
    assert one_driver.top_is_driver_if_found.value == pytest.approx(0.95, abs=_TOLERANCE)


def test_intervals_hold_the_true_rho_as_often_as_they_say(null: ScenarioReport, one_driver: ScenarioReport) -> None:
    assert null.intervals_cover.value == pytest.approx(0.95, abs=_TOLERANCE)
    assert one_driver.drivers[0].interval_covers.value == pytest.approx(0.95, abs=_TOLERANCE)


def test_the_model_study_finds_its_driver_in_most_draws() -> None:
    report = _run(scenario_named("model-study"), studies=60)
    (driver,) = report.drivers
    assert driver.found.value >= 0.75
    assert 0.8 <= driver.median_rho <= 0.95
    assert report.validated_in_active_tissues.value > report.validated.value


def test_the_report_does_not_depend_on_the_number_of_workers() -> None:
    scenario = replace(scenario_named("one-driver"), blocks=even_design(sites=3, lots_per_site=4))
    seen: list[int] = []

    def advance(steps: int = 1, /) -> None:
        seen.append(steps)

    alone = run_scenario(scenario, replicates=45, seed=2, workers=1, draws=99)
    together = run_scenario(scenario, replicates=45, seed=2, workers=2, draws=99, progress=advance)
    assert alone == together
    assert sum(seen) == 45


def test_a_replicate_is_what_the_coordinators_analysis_answers() -> None:
    # 4 sites of 3 lots: every order is visited, so no random draw can hide a difference.
    scenario = replace(scenario_named("one-driver"), blocks=even_design(sites=4, lots_per_site=3))
    outcome = run_replicate(scenario, seed=9, number=0, draws=99)
    for answer in _analyse(scenario, 0).associations:
        column = scenario.model.clusters.index(answer.cluster)
        assert answer.rho == outcome.rho[column]
        assert answer.p_value == outcome.p[column]
        assert answer.p_adjusted == outcome.p_adjusted[column]


def test_of_two_drivers_the_analysis_names_both_and_no_cluster_that_they_drag() -> None:
    named = [_analyse(scenario_named("two-drivers"), number).verdicts[0].clusters for number in range(30)]
    both = sum(set(clusters) == {"cluster 3", "cluster 5"} for clusters in named)
    false = sum(not set(clusters) <= {"cluster 3", "cluster 5"} for clusters in named)
    assert both >= 15
    assert false <= 4  # alpha of 30 is 1.5; more than 4 comes by chance in 2 of 100 runs


def test_of_one_strong_driver_the_analysis_names_no_cluster_that_it_drags() -> None:
    scenario = scenario_named("one-driver")
    model = replace(scenario.model, slope=slope_for_correlation(scenario.model, 0.9))
    strong = replace(scenario, model=model, blocks=even_design(sites=4, lots_per_site=10))
    results = [_analyse(strong, number) for number in range(30)]
    dragged = sum(
        any(answer.p_adjusted is not None and answer.p_adjusted <= 0.05 for answer in result.associations[1:])
        for result in results
    )
    assert dragged >= 1  # there is something to refuse
    assert all(result.verdicts[0].clusters == ("cluster 3",) for result in results)


def test_a_design_that_cannot_answer_is_counted_as_refused() -> None:
    report = _run(replace(scenario_named("null"), blocks=even_design(sites=4, lots_per_site=2)), studies=3)
    assert report.refused == 3
    assert report.any_rejection == Rate(events=0, trials=0)


def test_hidden_counts_are_those_that_a_site_would_hide() -> None:
    scenario = scenario_named("suppressed-driver")
    study = simulate_study(scenario.model, scenario.blocks, replicate_generator(1, 0))
    hidden = to_study_data(study, small_count_threshold=10)
    assert ((study.counts >= 1) & (study.counts < 10)).any()
    rules = _rules_that_hide_below(10)
    for row in range(len(study.lots)):
        table = hide_small_counts(study.counts[row].tolist(), int(study.unassigned[row]), rules)
        assert [count.low for count in table.counts] == hidden.counts_low[row].tolist()
        assert [count.high for count in table.counts] == hidden.counts_high[row].tolist()
        assert (table.unassigned.low, table.unassigned.high) == (
            hidden.unassigned_low[row],
            hidden.unassigned_high[row],
        )
        assert (table.total.low, table.total.high) == (hidden.totals_low[row], hidden.totals_high[row])


def test_population_rho_is_zero_without_a_driver_and_the_drivers_is_the_largest_with_one() -> None:
    assert population_rho(scenario_named("null"), seed=1).tolist() == [0.0] * 6
    values = population_rho(scenario_named("one-driver"), seed=1, studies=10, enlarged=20)
    assert np.abs(values).argmax() == 3
    assert values[3] == pytest.approx(0.66, abs=0.04)


def test_lots_of_one_donor_count_as_one_unit() -> None:
    twice = replace(scenario_named("null"), blocks=(Block(site="site-01", donors=10, lots_per_donor=2),))
    report = _run(twice, studies=200)
    assert report.per_test.value == pytest.approx(0.05, abs=3 * sqrt(0.05 * 0.95 / 200))


def test_summary_rows_say_only_what_the_scenario_has(null: ScenarioReport, one_driver: ScenarioReport) -> None:
    assert not any("power" in what for what, _ in summary_rows(null))
    assert ("cluster 3 found (power)", str(one_driver.drivers[0].found)) in summary_rows(one_driver)
    assert not any("validated" in what for what, _ in summary_rows(one_driver))


@pytest.mark.parametrize(("replicates", "workers", "draws"), [(0, 1, 99), (1, 0, 99), (1, 1, 0)])
def test_no_replicate_worker_or_draw_is_refused(replicates: int, workers: int, draws: int) -> None:
    with pytest.raises(InputError, match="at least one replicate"):
        run_scenario(scenario_named("null"), replicates=replicates, workers=workers, draws=draws)


def test_a_rate_knows_its_tolerance() -> None:
    rate = Rate(events=60, trials=1_000)
    assert rate.tolerance(0.05) == pytest.approx(0.020676, abs=1e-6)
    assert rate.agrees_with(0.05)
    assert rate.is_at_most(0.05)
    assert not Rate(events=80, trials=1_000).is_at_most(0.05)
