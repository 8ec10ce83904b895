"""Intervals of rho, and measurement error."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.statistics.intervals import correlation_interval
from shared.statistics.reliability import (
    Measured,
    binomial_variance,
    disattenuated,
    estimated_share_reliability,
    potency_reliability,
    share_reliability,
)


@given(st.floats(-1, 1), st.integers(4, 200), st.integers(1, 6))
def test_an_interval_holds_its_rho_and_mirrors_with_it(r: float, n: int, strata: int) -> None:
    low, high = correlation_interval(r, n, strata=strata)
    if n - strata - 2 <= 0:
        assert isnan(low)
        assert isnan(high)
        return
    assert -1 <= low <= r <= high <= 1
    assert correlation_interval(-r, n, strata=strata) == (-high, -low)


@pytest.mark.parametrize(
    ("r", "n", "strata", "expected"),
    [
        # R 4.2.2: tanh(atanh(r) + c(-1, 1) * q * sqrt((1 + r^2 / 2) / (n - strata - 2))), q = qnorm(.975); for
        # |r| > .9 and n < 20, q = qt(.975, n - strata - 1); r = 1 at n = 9 as 1 - 12 / (9 * 80).
        (0.8, 11, 1, (0.29357242593932, 0.955786038433109)),
        (0.6, 20, 4, (0.12349675310388, 0.851659595212445)),
        (-0.95, 12, 1, (-0.991469856779672, -0.733864210111472)),
    ],
)
def test_intervals_from_r(r: float, n: int, strata: int, expected: tuple[float, float]) -> None:
    assert correlation_interval(r, n, strata=strata) == pytest.approx(expected, abs=1e-13)


def test_a_perfect_correlation_has_a_lower_end() -> None:
    low, high = correlation_interval(1.0, 9)
    assert low == pytest.approx(0.837810181418254, abs=1e-13)  # R, as above
    assert high == 1.0


def test_no_degree_of_freedom_gives_no_interval() -> None:
    assert all(isnan(end) for end in correlation_interval(0.5, 3))
    assert all(isnan(end) for end in correlation_interval(float("nan"), 30))


@pytest.mark.parametrize(("cells", "concentration", "expected"), [(200, 500, 2 / 7), (2_000, 500, 0.8)])
def test_reliability_of_a_share_counted_on_so_many_cells(cells: int, concentration: int, expected: float) -> None:
    assert share_reliability(cells, concentration) == pytest.approx(expected, abs=1e-12)


def test_the_estimated_reliability_of_shares_finds_the_simulated_one() -> None:
    # Beta-binomial lots of concentration a0 on N cells: the truth is N / (N + a0). 4,000 lots: 1% is four errors.
    generator = np.random.default_rng(1)
    a0, n = 50.0, 200
    true = generator.beta(0.2 * a0, 0.8 * a0, size=(4_000, 1))
    shares = generator.binomial(n, true) / n
    cells = np.full(4_000, float(n))
    found = estimated_share_reliability(shares, binomial_variance(shares, cells), ["a"] * 4_000)
    assert found[0] == pytest.approx(share_reliability(n, a0), abs=0.02)


def test_a_share_that_does_not_vary_has_no_reliability() -> None:
    shares = np.array([[0.25], [0.25], [0.25]])
    assert isnan(estimated_share_reliability(shares, np.zeros((3, 1)), ["a", "a", "a"])[0])


def test_reliability_of_potency_from_r() -> None:
    # R: a <- anova(lm(y ~ f)); 1 - a$`Mean Sq`[2] / a$`Mean Sq`[1]
    lots = [(1, 1.2, 1.1), (2, 2.1, 2.3), (3, 3.2, 2.9), (1.5, 1.4, 1.6)]
    measured = [Measured(stratum="a", values=values) for values in lots]
    assert potency_reliability(measured) == pytest.approx(0.992182410423453, abs=1e-13)


def test_a_site_difference_is_no_reliability() -> None:
    lots = [(1.0, 2.0), (2.0, 1.0)]
    both = [Measured(stratum=site, values=tuple(v + 100 * (site == "b") for v in lot)) for site in "ab" for lot in lots]
    assert isnan(potency_reliability(both))  # within a site these lots do not differ


def test_single_wells_have_no_reliability() -> None:
    assert isnan(potency_reliability([Measured(stratum="a", values=(float(v),)) for v in range(5)]))


@pytest.mark.parametrize(
    ("rho", "x", "y", "expected"), [(0.6, 0.5, 0.5, 1.0), (-0.4, 0.64, 1.0, -0.5), (0.3, 1.0, 1.0, 0.3)]
)
def test_disattenuation(rho: float, x: float, y: float, expected: float) -> None:
    assert disattenuated(rho, x, y) == pytest.approx(expected, abs=1e-15)


def test_an_unknown_reliability_gives_no_disattenuated_value() -> None:
    assert isnan(disattenuated(0.5, float("nan"), 1.0))
    assert isnan(disattenuated(0.5, 0.0, 1.0))
