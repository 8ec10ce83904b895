"""Two arms within strata: laws, reference values of scipy and statsmodels, and error rates by simulation."""

from math import log, sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from shared.statistics.arrays import FloatArray
from shared.statistics.comparability import (
    Contrast,
    contrast,
    differences,
    p_of_strata,
    quality_range,
)
from shared.statistics.equivalence_power import equivalence_power, lots_needed, lots_needed_each

MARGIN = log(1.5)
ALPHA = 0.05


def _arms(before: int, after: int, *, sites: int = 1) -> Contrast:
    one = [False] * before + [True] * after
    return contrast(one * sites, [f"s{site}" for site in range(sites) for _ in one])


def _values(seed: int, n: int, width: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, width))


@pytest.mark.parametrize(("before", "after"), [(3, 2), (11, 3), (11, 11), (5, 20)])
def test_one_stratum_is_welch(before: int, after: int) -> None:
    values = _values(before * after, before + after)[:, 0]
    found = differences(values[:, None], _arms(before, after), alpha=ALPHA)
    expected = stats.ttest_ind(values[before:], values[:before], equal_var=False)
    interval = expected.confidence_interval(1 - 2 * ALPHA)
    assert found.df[0] == pytest.approx(expected.df, rel=1e-12)
    assert (found.low[0], found.high[0]) == pytest.approx((interval.low, interval.high), rel=1e-12)


@given(seed=st.integers(0, 10_000), before=st.integers(2, 12), after=st.integers(2, 12), margin=st.floats(0.05, 3))
@settings(max_examples=40)
def test_two_one_sided_tests_pass_exactly_where_the_interval_lies_within_the_margin(
    seed: int, before: int, after: int, margin: float
) -> None:
    values = _values(seed, before + after)
    found = differences(values, _arms(before, after), alpha=ALPHA)
    within = bool(-margin < found.low[0] and found.high[0] < margin)
    p = ttost_ind(values[before:, 0], values[:before, 0], -margin, margin, usevar="unequal")[0]
    assert within == (p < ALPHA) or abs(p - ALPHA) < 1e-9


@given(seed=st.integers(0, 10_000), shifts=st.lists(st.floats(-5, 5), min_size=3, max_size=3))
@settings(max_examples=30)
def test_what_a_site_adds_to_both_arms_does_not_change_the_difference(seed: int, shifts: list[float]) -> None:
    design = _arms(4, 3, sites=3)
    values = _values(seed, 21, 2)
    moved = values + np.repeat(shifts, 7)[:, None]
    first, second = (differences(table, design, alpha=ALPHA) for table in (values, moved))
    assert second.low == pytest.approx(first.low, abs=1e-9)
    assert second.high == pytest.approx(first.high, abs=1e-9)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100), offset=st.floats(-10, 10))
@settings(max_examples=30)
def test_the_interval_scales_with_the_values(seed: int, scale: float, offset: float) -> None:
    design, values = _arms(5, 4, sites=2), _values(seed, 18)
    first = differences(values, design, alpha=ALPHA)
    second = differences(scale * values + offset, design, alpha=ALPHA)
    assert second.low == pytest.approx(scale * first.low, rel=1e-7, abs=1e-7 * scale)


def test_swapping_the_arms_turns_the_interval_round() -> None:
    values = _values(3, 14)
    forth = differences(values, _arms(8, 6), alpha=ALPHA)
    back = differences(np.vstack([values[8:], values[:8]]), _arms(6, 8), alpha=ALPHA)
    assert (back.low[0], back.high[0]) == pytest.approx((-forth.high[0], -forth.low[0]))


def test_a_stratum_with_one_arm_only_is_left_out() -> None:
    values = _values(5, 12)
    both = contrast([False] * 5 + [True] * 4, ["a"] * 9)
    more = contrast([False] * 5 + [True] * 4 + [False] * 3, ["a"] * 9 + ["b"] * 3)
    assert more.units(after=False).tolist() == both.units(after=False).tolist()
    assert differences(values, more, alpha=ALPHA).low == pytest.approx(differences(values[:9], both, alpha=ALPHA).low)


@pytest.mark.parametrize(
    ("after", "strata"),
    [([], []), ([False] * 4, ["a"] * 4), ([False, False, True], ["a"] * 3), ([False, True] * 2, ["a", "a", "b", "b"])],
)
def test_without_two_units_of_an_arm_in_one_stratum_nothing_is_estimated(after: list[bool], strata: list[str]) -> None:
    design = contrast(after, strata)
    assert not design.is_estimable
    found = differences(_values(1, len(after), 2), design, alpha=ALPHA)
    assert np.isnan(found.low).all()
    assert equivalence_power(design, sd_before=1, sd_after=1, margin=1, alpha=ALPHA) == 0.0
    assert quality_range(_values(1, len(after), 2), design, k=3).of in {0, sum(after)}


def test_values_that_do_not_vary_give_the_estimate_as_the_interval() -> None:
    design = _arms(3, 3)
    found = differences(np.array([[0.0]] * 3 + [[0.2]] * 3), design, alpha=ALPHA)
    assert (found.low[0], found.high[0]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert equivalence_power(design, sd_before=0, sd_after=0, margin=1, alpha=ALPHA) == 1.0


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_bounds_hold_the_interval_of_every_table_within_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design = _arms(4, 3, sites=2)
    middle = rng.normal(size=(14, 1))
    half = rng.uniform(0, 1, size=(14, 1)) * (rng.random((14, 1)) < 0.4)
    found = differences(middle, design, alpha=ALPHA, low=middle - half, high=middle + half)
    for _ in range(20):
        table = middle + half * rng.choice([-1.0, 1.0, rng.uniform(-1, 1)], size=(14, 1))
        other = differences(table, design, alpha=ALPHA)
        assert found.bound_low[0] <= other.low[0] + 1e-9
        assert other.high[0] <= found.bound_high[0] + 1e-9


def test_without_hidden_values_the_bounds_are_the_interval() -> None:
    values = _values(2, 14, 3)
    found = differences(values, _arms(8, 6), alpha=ALPHA, low=values, high=values)
    assert (found.bound_low == found.low).all()
    assert (found.bound_high == found.high).all()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_lot_is_inside_the_quality_range_only_if_it_is_so_whatever_was_hidden(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design = _arms(6, 4)
    middle = rng.normal(size=(10, 1))
    half = rng.uniform(0, 0.5, size=(10, 1)) * (rng.random((10, 1)) < 0.4)
    surely = quality_range(middle, design, k=2, low=middle - half, high=middle + half).inside[0]
    for _ in range(20):
        table = middle + half * rng.uniform(-1, 1, size=(10, 1))
        assert surely <= quality_range(table, design, k=2).inside[0]


def test_the_quality_range_is_mean_and_k_sd_of_the_units_before() -> None:
    values = np.array([[1.0], [2.0], [3.0], [4.9], [5.1]])
    found = quality_range(values, _arms(3, 2), k=3)
    assert (found.mean[0], found.half_width[0]) == (2.0, 3.0)
    assert (found.inside[0], found.of) == (1, 2)


# STATISTICS.md, "Comparability": power at zero difference, 1.5-fold, lot SD .35 ln; two digits of a simulation.
@pytest.mark.parametrize(("before", "after", "power"), [(11, 3, 0.18), (11, 5, 0.30), (11, 11, 0.67), (20, 20, 0.95)])
def test_power_is_that_of_the_design_document(before: int, after: int, power: float) -> None:
    exact = equivalence_power(_arms(before, after), sd_before=0.35, sd_after=0.35, margin=MARGIN, alpha=ALPHA)
    assert exact == pytest.approx(power, abs=0.01)


@pytest.mark.parametrize(
    ("design", "sd_before", "sd_after", "difference"),
    [
        (_arms(11, 3), 0.35, 0.35, 0.0),
        (_arms(5, 4, sites=3), 0.3, 0.5, 0.1),
        (_arms(2, 2, sites=2), 0.2, 0.1, 0.0),
        (_arms(20, 20), 0.35, 0.35, MARGIN),
    ],
)
def test_power_is_the_share_of_simulated_studies_that_pass(
    design: Contrast, sd_before: float, sd_after: float, difference: float
) -> None:
    trials = 20_000
    sd = np.where(design.after, sd_after, sd_before)[:, None]
    values = np.random.default_rng(8).normal(size=(len(sd), trials)) * sd + difference * design.after[:, None]
    found = differences(values, design, alpha=ALPHA)
    share = ((found.low > -MARGIN) & (found.high < MARGIN)).mean()
    exact = equivalence_power(
        design, sd_before=sd_before, sd_after=sd_after, margin=MARGIN, alpha=ALPHA, difference=difference
    )
    assert share == pytest.approx(exact, abs=3 * sqrt(exact * (1 - exact) / trials))


def test_power_at_the_margin_is_at_most_alpha() -> None:
    for before, after in ((3, 3), (11, 3), (11, 11), (40, 40)):
        exact = equivalence_power(
            _arms(before, after), sd_before=0.35, sd_after=0.35, margin=MARGIN, alpha=ALPHA, difference=MARGIN
        )
        assert exact <= ALPHA + 0.003  # Welch is approximate


@pytest.mark.parametrize("sd", [0.1, 0.2, 0.35, 0.8])
def test_lots_needed_are_the_fewest_that_reach_the_power(sd: float) -> None:
    each = lots_needed_each(sd=sd, margin=MARGIN, alpha=ALPHA, power=0.8)
    assert each is not None

    def power(n: int) -> float:
        return equivalence_power(_arms(n, n), sd_before=sd, sd_after=sd, margin=MARGIN, alpha=ALPHA)

    assert power(each) >= 0.8 > power(each - 1)


def test_no_number_of_lots_after_makes_up_for_too_few_before() -> None:
    assert lots_needed(before=3, sd=0.35, margin=MARGIN, alpha=ALPHA, power=0.8) is None
    assert lots_needed(before=11, sd=0.35, margin=MARGIN, alpha=ALPHA, power=0.5) == 8
    assert lots_needed_each(sd=20.0, margin=MARGIN, alpha=ALPHA, power=0.8) is None


def test_the_p_of_strata_is_that_of_the_interaction_in_a_linear_model() -> None:
    # statsmodels 0.14: anova_lm(ols("y ~ C(site) + arm"), ols("y ~ C(site) * arm"))
    design = _arms(4, 3, sites=3)
    values = _values(17, 21)
    site = np.repeat([0, 1, 2], 7)
    own = np.column_stack([site == number for number in range(3)]).astype(float)
    arm = design.after[:, None].astype(float)
    small, large = sm.OLS(values, np.hstack([own, arm])).fit(), sm.OLS(values, np.hstack([own, own * arm])).fit()
    expected = float(large.compare_f_test(small)[1])
    assert p_of_strata(values, design)[0] == pytest.approx(expected, rel=1e-9)


def test_opposite_changes_of_two_sites_cancel_in_the_mean_and_are_told_apart() -> None:
    design = _arms(8, 8, sites=2)
    values = 0.3 * _values(4, 32)
    values[8:16] += MARGIN
    values[24:] -= MARGIN
    found = differences(values, design, alpha=ALPHA)
    assert found.low[0] > -MARGIN
    assert found.high[0] < MARGIN
    assert p_of_strata(values, design)[0] < 0.001
    assert np.isnan(p_of_strata(values[:16], _arms(8, 8))[0])


# STATISTICS.md: the range alone passes 53% of 2-SD shifts at 11 lots before and 3 after.
def test_a_quality_range_alone_passes_half_of_the_shifts_of_two_sd() -> None:
    trials = 20_000
    values = np.random.default_rng(5).normal(size=(14, trials))
    values[11:] += 2.0
    passing = (quality_range(values, _arms(11, 3), k=3).inside == 3).mean()
    assert passing == pytest.approx(0.53, abs=0.01 + 3 * sqrt(0.53 * 0.47 / trials))
