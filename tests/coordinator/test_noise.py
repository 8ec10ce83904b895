"""Noise on counts: which part of the spread of shares it is, and what the study's modules say of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.modules.comparability import compare_arms
from coordinator.modules.specification import specify
from coordinator.modules.specification_question import asked_by
from coordinator.noise import (
    SMALL_PART_OF_VARIANCE,
    clusters_lost_in_noise,
    noise_in_comparison,
    noise_of_counts,
    noise_of_shares,
    noise_part_of_variance,
)
from coordinator.report.edition import Edition
from coordinator.report.model import Bundle, build_report
from coordinator.report.page import render_page
from coordinator.study_data import FloatArray, StudyData
from coordinator.units import Units, units_of
from protocol.identifiers import Sha256
from protocol.modules.asked import Modules
from protocol.modules.specification_results import SpecificationOutcome
from protocol.results import ResultSet
from shared.comparability.findings import Findings, Outcome
from shared.statistics.count_noise import noise_scale
from simulations.potency_truth import VEGF
from simulations.scenario import Scenario
from simulations.scenarios import scenario_named
from simulations.truth import replicate_generator, simulate_study, to_study_data

CHANGE, LIMIT = scenario_named("process-change-alike"), scenario_named("specification")
DRIVER = 3


def drawn(scenario: Scenario, epsilon: float | None = None, *, seed: int = 5) -> StudyData:
    """Return a study whose lots are said to bear noise; what was drawn of their cells stays as it is."""
    data = to_study_data(simulate_study(scenario.model, scenario.blocks, replicate_generator(seed, 0)))
    return data if epsilon is None else replace(data, noise_epsilon=np.full(len(data.lots), epsilon))


def units_in(scenario: Scenario, data: StudyData) -> tuple[Units, FloatArray]:
    endpoint = VEGF.as_endpoint(scenario.normalisation)
    units, _ = units_of(data, range(len(data.lots)), endpoint, scenario.strata, range(len(data.clusters)))
    return units, units.parts[:, DRIVER]


def analysed(scenario: Scenario, data: StudyData, modules: Modules | None = None) -> ResultSet:
    analysis = scenario.analysis_plan(seed=1).model_copy(update={"draws": 99})
    card = study_card(study="noise", title="T", question="Q?", plan_sha256=None, atlas=None, analysis=analysis)
    asked = AnalysisParameters(
        study=card,
        endpoints=(VEGF.as_endpoint(scenario.normalisation),),
        cohorts=scenario.cohorts(),
        analysis=analysis,
        modules=modules or scenario.modules,
    )
    return analyse(data, asked, threads=1)


def test_without_noise_none_is_counted_and_nothing_is_said() -> None:
    for scenario in (CHANGE, LIMIT):
        data = drawn(scenario)
        units, shares = units_in(scenario, data)
        assert not noise_of_counts(data).any()
        assert noise_part_of_variance(data, units, DRIVER, shares) == 0.0
        assert noise_in_comparison(data, range(len(data.lots))) == ()
        assert not any("noise" in warning for warning in analysed(scenario, data).warnings)


@given(epsilon=st.floats(0.01, 10.0))
@settings(max_examples=20, deadline=None)
def test_the_part_grows_with_the_noise_and_never_beyond_all(epsilon: float) -> None:
    less, more = (drawn(LIMIT, each) for each in (epsilon, epsilon / 2))
    units, shares = units_in(LIMIT, less)
    parts = [noise_part_of_variance(data, units, DRIVER, shares) for data in (less, more)]
    assert 0.0 < parts[0] <= parts[1] <= 1.0


def test_the_variance_of_shares_is_that_of_noise_drawn_on_the_counts() -> None:
    data, rng = drawn(LIMIT, 0.5), np.random.default_rng(1)
    parts = np.column_stack([data.counts_low, data.unassigned_low])
    again = parts + stats.dlaplace(1 / noise_scale(0.5)).rvs((4_000, *parts.shape), random_state=rng)
    shares = again[:, :, DRIVER] / again.sum(axis=2)
    # Over 32 lots the mean of the variances of 4,000 draws is known to half a per cent.
    assert shares.var(axis=0).mean() == pytest.approx(noise_of_shares(data, (DRIVER,)).mean(), rel=0.03)


@pytest.mark.parametrize("epsilon", [1.0, 0.02])
def test_a_specification_is_in_doubt_where_noise_is_much_of_the_spread(epsilon: float) -> None:
    data = drawn(LIMIT, epsilon)
    question = asked_by(
        LIMIT.modules,
        (VEGF.as_endpoint(LIMIT.normalisation),),
        tuple(LIMIT.cohorts()),
        LIMIT.analysis_plan(seed=1),
    )
    assert question is not None
    named = replace(question, asked=question.asked.model_copy(update={"cluster": data.clusters[DRIVER]}))
    found, exact = specify(data, named, []), specify(drawn(LIMIT), named, [])
    units, shares = units_in(LIMIT, data)
    much = noise_part_of_variance(data, units, DRIVER, shares) > SMALL_PART_OF_VARIANCE
    assert much == (epsilon < 1.0)
    assert found.threshold == exact.threshold
    assert [doubt for doubt in found.doubts if doubt not in exact.doubts] == [
        doubt for doubt in found.doubts if "noise that sites put on counts" in doubt
    ]
    assert len(found.doubts) - len(exact.doubts) == int(much)
    assert (found.outcome is SpecificationOutcome.INDICATIVE) == bool(found.doubts)


def compared(data: StudyData) -> Findings:
    endpoints, plan = (VEGF.as_endpoint(CHANGE.normalisation),), CHANGE.modules.comparability
    found = compare_arms(data, plan, endpoints, CHANGE.cohorts())
    assert found is not None
    assert found.ranges is not None
    assert found.ranges.noised == (data.noise_epsilon is not None)
    return found.findings


def test_noise_that_is_small_beside_every_cluster_changes_nothing_but_a_note() -> None:
    exact, noised = compared(drawn(CHANGE)), compared(drawn(CHANGE, 2.0))
    assert noised == replace(exact, notes=(*exact.notes, noised.notes[-1]))
    assert "48 of 48 compared lots bear noise" in noised.notes[-1]
    assert "do not account for it" in noised.notes[-1]


@pytest.mark.parametrize(("epsilon", "few"), [(0.05, 1), (0.01, 6)])
def test_lots_are_not_highly_similar_by_a_cluster_that_noise_has_drowned(epsilon: float, few: int) -> None:
    data = drawn(CHANGE, epsilon, seed=0)
    exact, noised = compared(drawn(CHANGE, seed=0)), compared(data)
    lost = clusters_lost_in_noise(data, range(len(data.lots)))
    assert len(lost) == few
    assert exact.outcome is Outcome.HIGHLY_SIMILAR
    assert noised.outcome is Outcome.SUSPECTED_SIMILAR
    assert {each.name for each in noised.parts if each.lost_in_noise} == set(lost)
    assert [each for each in noised.parts if each.name not in lost] == [
        each for each in exact.parts if each.name not in lost
    ]
    assert not any(each.within or each.outside for each in noised.parts if each.lost_in_noise)
    page = render_page(
        build_report(
            analysed(CHANGE, data), data, edition=Edition.public(), bundle=Bundle(results_sha256=Sha256("0" * 64))
        )
    ).decode()
    assert "SUSPECTED_SIMILAR" in page
    assert "Noise on counts is more than a quarter of a lot&#39;s cells for" in page
    assert "the lots cannot be called highly similar" in page


def test_only_the_noised_lots_are_counted_and_a_rare_cluster_of_one_arm_is_named() -> None:
    data = drawn(CHANGE)
    epsilons = np.full(len(data.lots), np.nan)
    arms = data.arms or ()
    after = [row for row, arm in enumerate(arms) if arm == "after"]
    epsilons[after] = 0.5  # an SD of 5.6 cells
    counts = data.counts_low.copy()
    counts[after, 2] = 20
    few = replace(data, counts_low=counts, counts_high=counts, noise_epsilon=epsilons)
    (note,) = noise_in_comparison(few, range(len(data.lots)))
    assert "The counts of 24 of 48 compared lots" in note
    assert clusters_lost_in_noise(few, range(len(data.lots))) == ("cluster 2",)
    exact = [row for row in range(len(arms)) if row not in after]
    assert noise_in_comparison(few, exact) == ()
    assert clusters_lost_in_noise(few, exact) == ()


def test_page_and_results_say_what_does_not_account_for_noise() -> None:
    both = Modules(comparability=CHANGE.modules.comparability, specification=LIMIT.modules.specification)
    for modules, named in (
        (both, "The comparison's margins and quality ranges and the specification's threshold and error rates do not"),
        (CHANGE.modules, "The comparison's margins and quality ranges do not account for it."),
        (Modules(specification=both.specification), "The specification's threshold and error rates do not account"),
        (Modules(), "The reliability of shares counts it in."),
    ):
        data = drawn(CHANGE, 1.0)
        results = analysed(CHANGE, data, modules)
        (said,) = (warning for warning in results.warnings if "Laplace" in warning)
        assert named in said
        assert said.endswith(("it.", "in."))
        page = render_page(
            build_report(results, data, edition=Edition.public(), bundle=Bundle(results_sha256=Sha256("0" * 64)))
        ).decode()
        assert said.replace("'", "&#39;") in page
        assert ("compared lots bear noise" in page) == (modules.comparability is not None)
