"""How many lots a study needs: the formula against the simulation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError
from shared.statistics.study_size import (
    StudySize,
    effective_cells,
    formula_power,
    lots_needed,
    observable_rho,
    simulated_power,
)


def test_cells_of_a_library_count_for_less() -> None:
    assert effective_cells(1) == 1
    assert effective_cells(10**9) == pytest.approx(2_000, rel=1e-4)  # never more than 1 / icc
    assert observable_rho(0.8, None) == 0.8
    assert observable_rho(0.8, 100) < observable_rho(0.8, 2_000) < 0.8


@given(st.floats(0.3, 0.95), st.integers(1, 40), st.integers(1, 6), st.floats(0.5, 0.95))
def test_the_lots_needed_reach_the_power_and_one_lot_less_does_not(
    rho: float, clusters: int, sites: int, power: float
) -> None:
    lots = lots_needed(rho, clusters=clusters, sites=sites, power=power)
    assert formula_power(StudySize(lots=lots, sites=sites, clusters=clusters), rho) >= power - 1e-12
    if lots > 2 * sites and lots > 4 + sites:
        assert formula_power(StudySize(lots=lots - 1, sites=sites, clusters=clusters), rho) < power


def test_the_formula_is_conservative() -> None:
    # Lots by simulation for 80% power at rho .7 over 6 clusters: 21; the formula says 24 (0-4 more).
    assert lots_needed(0.7, clusters=6) == 24
    at_the_formula = simulated_power(StudySize(lots=24, clusters=6), 0.7, runs=150)
    assert at_the_formula.power > 0.8 - 3 * at_the_formula.error
    at_the_simulation = simulated_power(StudySize(lots=21, clusters=6), 0.7, runs=150)
    assert abs(at_the_simulation.power - 0.8) < 3 * at_the_simulation.error


def test_the_model_study_had_about_an_even_chance() -> None:
    # 11 lots, 6 clusters, rho .8: power .55 by an independent simulation
    found = simulated_power(StudySize(lots=11, clusters=6), 0.8, runs=200)
    assert abs(found.power - 0.55) < 3 * found.error


@pytest.mark.parametrize(
    ("lots", "sites", "expected"),
    [(8, 4, False), (10, 4, True), (4, 1, False), (5, 1, True), (12, 6, True), (10, 5, False)],
)
def test_a_design_is_known_to_reach_alpha_or_not(lots: int, sites: int, expected: bool) -> None:  # noqa: FBT001
    design = StudySize(lots=lots, sites=sites)
    assert design.can_reach_alpha is expected
    assert simulated_power(design, 0.9, runs=2, draws=99).refused is not expected
    assert (formula_power(design, 0.999) > 0) is expected


def test_a_design_that_cannot_reach_alpha_has_no_power() -> None:
    assert simulated_power(StudySize(lots=8, sites=4), 0.9, runs=5).refused


@pytest.mark.parametrize("rho", [0.0, 1.0, -1.5])
def test_a_rho_outside_its_range_is_refused(rho: float) -> None:
    with pytest.raises(InputError, match="expected rho"):
        lots_needed(rho)


def test_thousands_of_lots_reach_alpha_though_their_orders_are_more_than_a_float_holds() -> None:
    assert StudySize(lots=2_000, sites=4, clusters=30, tail="two-sided", alpha=0.05).can_reach_alpha
