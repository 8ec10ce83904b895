"""Leaving out, heterogeneity, and bounds under hidden counts."""

from itertools import product
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.statistics.ranks import stratified_rho
from shared.statistics.sensitivity import filled_rho_bounds, heterogeneity, leave_one_out, rho_bounds


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(4, 12), st.integers(1, 3), st.booleans())
def test_leaving_out_is_ranking_anew(seed: int, n: int, sites: int, by_site: bool) -> None:  # noqa: FBT001
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 6, (n, 3)).astype(np.float64), generator.integers(0, 6, n).astype(np.float64)
    strata = generator.integers(0, sites, n)
    groups = strata if by_site else np.arange(n)
    answer = leave_one_out(x, y, strata, groups)
    names = np.unique(groups)
    if len(names) == 1:
        assert answer is None
        return
    assert answer is not None
    anew = np.array([stratified_rho(x[groups != g], y[groups != g], strata[groups != g]) for g in names])
    full = stratified_rho(x, y, strata)
    for k in range(3):
        known = anew[~np.isnan(anew[:, k]), k]
        if not len(known):
            assert isnan(answer.low[k])
            continue
        assert (answer.low[k], answer.high[k]) == pytest.approx((known.min(), known.max()), abs=1e-12)
        settled = known[np.abs(known) > 1e-9]
        if len(settled) == len(known) and not isnan(full[k]) and abs(full[k]) > 1e-9:
            assert answer.sign_holds[k] == (np.sign(settled) == np.sign(full[k])).all()


def test_one_lot_that_makes_the_association_is_seen() -> None:
    y = np.arange(6.0)
    x = np.array([3.0, 2, 1, 0, 4, 50])[:, None]
    answer = leave_one_out(x, y, np.zeros(6), np.arange(6))
    assert answer is not None
    assert answer.low[0] <= 0 < stratified_rho(x, y, np.zeros(6))[0]
    assert not answer.sign_holds[0]


def test_too_many_units_are_not_left_out_one_by_one() -> None:
    n = 5_000
    assert leave_one_out(np.zeros((n, 30)), np.arange(n), np.zeros(n), np.arange(n)) is None


def test_heterogeneity_from_r() -> None:
    # R 4.2.2: z <- atanh(c(.9, .2, .5)); w <- (c(8, 10, 12) - 3) / (1 + c(.9, .2, .5)^2 / 2);
    # Q <- sum(w * (z - sum(w * z) / sum(w))^2); c(Q, pchisq(Q, 2, lower.tail = FALSE), (Q - 2) / Q)
    found = heterogeneity([0.9, 0.2, 0.5], [8, 10, 12], [1, 1, 1])
    assert (found.q, found.p, found.i2) == pytest.approx((3.81096014035611, 0.148751214456236, 0.475197869738644))


def test_sites_that_agree_have_no_heterogeneity() -> None:
    assert heterogeneity([0.5, 0.52], [20, 20], [1, 1]).i2 == 0.0
    assert heterogeneity([1.0, 1.0], [8, 8], [1, 1]).i2 == 0.0


def test_one_site_or_sites_without_freedom_have_no_heterogeneity() -> None:
    assert isnan(heterogeneity([0.5], [20], [1]).q)
    assert isnan(heterogeneity([0.5, 0.9, float("nan")], [20, 3, 30], [1, 1, 1]).q)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(4, 7), st.integers(1, 2))
def test_bounds_hold_every_filling_of_hidden_counts(seed: int, n: int, sites: int) -> None:
    generator = np.random.default_rng(seed)
    low = generator.integers(0, 12, n)
    high = low + np.where(generator.random(n) < 0.5, generator.integers(0, 4, n), 0)
    totals = generator.integers(40, 60, n)
    y, strata = generator.integers(0, 9, n).astype(np.float64), generator.integers(0, sites, n)
    fillings = product(*(range(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True)))
    rho = np.array([stratified_rho(np.array(f)[:, None] / totals[:, None], y, strata)[0] for f in fillings])
    known = rho[~np.isnan(rho)]
    exact = filled_rho_bounds(low, high, totals, y, strata)
    if not len(known):
        assert exact is None
        return
    assert exact == (known.min(), known.max())
    certain = rho_bounds(low / totals, high / totals, y, strata)
    assert certain[0] <= known.min() + 1e-12
    assert known.max() - 1e-12 <= certain[1]


def test_nothing_hidden_leaves_nothing_open() -> None:
    generator = np.random.default_rng(3)
    share, y, strata = generator.random(12), generator.random(12), np.repeat([0, 1, 2], 4)
    rho = stratified_rho(share[:, None], y, strata)[0]
    assert rho_bounds(share, share, y, strata) == pytest.approx((rho, rho), abs=1e-12)


def test_many_hidden_counts_are_not_filled_in_full() -> None:
    low = np.zeros(20, dtype=np.int64)
    assert filled_rho_bounds(low, low + 4, low + 100, np.arange(20.0), low) is None
