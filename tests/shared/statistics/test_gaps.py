"""Columns that miss units: each over its own units, the family over all, nothing lost where there is no gap."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from shared.errors import InputError
from shared.statistics.arrays import FloatArray
from shared.statistics.association import associate
from shared.statistics.gaps import associate_with_gaps, below_ranks_lowest, family_q_values, order_of

_DRAWS = 999


def _study(seed: int, *, n: int = 12, columns: int = 3, gaps: float = 0.0) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, columns))
    x[rng.random(x.shape) < gaps] = np.nan
    return x, rng.standard_normal(n), np.repeat(np.arange(2), n // 2)


@given(st.integers(0, 2**31))
@settings(max_examples=15)
def test_without_a_gap_the_answer_is_the_engines_own(seed: int) -> None:
    x, y, strata = _study(seed)
    whole = associate(x, y, strata, alpha=0.5, draws=_DRAWS, entropy=(1,))
    answers = associate_with_gaps(x, y, strata, alpha=0.5, draws=_DRAWS, entropy=(1,))
    found = [answer.association for answer in answers]
    assert [None if each is None else float(each.rho[0]) for each in found] == whole.rho.tolist()
    own = np.array([1.0 if each is None else float(each.p[0]) for each in found])
    assert [answer.p_adjusted for answer in answers] == np.maximum(own, whole.p_adjusted).tolist()


@given(st.integers(0, 2**31))
@settings(max_examples=15)
def test_a_column_is_tested_over_its_own_units_as_if_there_were_no_others(seed: int) -> None:
    x, y, strata = _study(seed, n=16, gaps=0.25)
    answers = associate_with_gaps(x, y, strata, alpha=0.9, draws=_DRAWS)
    for column, answer in enumerate(answers):
        if answer.association is None:
            continue
        here = ~np.isnan(x[:, column])
        alone = associate(x[here][:, [column]], y[here], strata[here], alpha=0.9, draws=_DRAWS, entropy=(0, column))
        assert answer.association.rho[0] == alone.rho[0]
        assert answer.association.p[0] == alone.p[0]
        assert answer.p_adjusted >= alone.p[0]


@given(st.integers(0, 2**31))
@settings(max_examples=10)
def test_a_monotone_scale_changes_nothing(seed: int) -> None:
    x, y, strata = _study(seed, gaps=0.2)
    plain = associate_with_gaps(x, y, strata, alpha=0.9, draws=199)
    scaled = associate_with_gaps(np.exp(3 * x), y, strata, alpha=0.9, draws=199)
    assert [each.p_adjusted for each in plain] == [each.p_adjusted for each in scaled]


def test_the_adjusted_p_is_that_of_every_order_looked_at() -> None:
    # Reference: every order of 6 units, Spearman by scipy over each column's own units, |rho| sqrt(n - 1), maximum.
    x, y, _ = _study(5, n=6, columns=2)
    x[0, 0] = np.nan
    own = [~np.isnan(x[:, k]) for k in range(2)]

    def statistic(response: FloatArray) -> list[float]:
        return [
            abs(spearmanr(x[here, k], response[here]).statistic) * np.sqrt(here.sum() - 1) for k, here in enumerate(own)
        ]

    observed = statistic(y)
    best = [max(statistic(y[list(order)])) for order in permutations(range(6))]
    exact = [float(np.mean([value >= seen - 1e-9 for value in best])) for seen in observed]
    draws = 9_999
    answers = associate_with_gaps(x, y, np.zeros(6), alpha=0.9, draws=draws)
    for answer, p in zip(answers, exact, strict=True):
        assert answer.p_adjusted == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / draws) + 1 / draws)


def test_below_detection_ranks_lowest_and_tied_whatever_the_limit() -> None:
    values = np.array([5.0, np.nan, 3.0, np.nan, np.nan])
    below = np.array([False, True, False, True, False])
    ranked = below_ranks_lowest(values, below)
    assert ranked[1] == ranked[3] < 3.0
    assert np.isnan(ranked[4])


def test_a_column_without_an_answer_says_why_and_stays_in_the_family() -> None:
    x, y, strata = _study(3)
    x[:, 1] = 7.0
    x[2:, 2] = np.nan
    answers = associate_with_gaps(x, y, strata, alpha=0.9, draws=199)
    refusals = [None if each.refusal is None else each.refusal.code for each in answers]
    assert refusals == [None, "no-variation-in-shares", "too-few-units"]
    assert [each.p_adjusted for each in answers[1:]] == [1.0, 1.0]
    assert order_of(answers)[0] == 0
    assert family_q_values(answers)[1] == 1.0


def test_shapes_that_do_not_agree_are_named() -> None:
    with pytest.raises(InputError, match=r"expected columns \(n, K\), response \(n,\) and strata \(n,\)"):
        associate_with_gaps(np.zeros((3, 2)), np.zeros(4), np.zeros(3))
