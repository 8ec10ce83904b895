"""Student's t beside scipy's."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtr, stdtrit

from shared.atlas.student import quantile, upper_tail

_DF = st.one_of(st.integers(1, 400).map(float), st.floats(0.5, 400))


@given(t=st.floats(-60, 60), df=_DF)
def test_the_tail_is_scipys(t: float, df: float) -> None:
    assert upper_tail(t, df) == pytest.approx(float(stdtr(df, -t)), rel=1e-10, abs=1e-300)


@given(probability=st.floats(0.5, 0.9999), df=st.integers(1, 400))
def test_the_quantile_is_scipys(probability: float, df: int) -> None:
    # stdtrit is good to about 1e-9 of itself near the middle; the law below is the sharper one
    assert quantile(probability, df) == pytest.approx(float(stdtrit(df, probability)), rel=1e-7, abs=1e-7)


@given(probability=st.floats(0.51, 0.9999), df=st.integers(1, 400))
def test_the_quantile_leaves_the_tail_it_was_asked_for(probability: float, df: int) -> None:
    assert upper_tail(quantile(probability, df), df) == pytest.approx(1 - probability, rel=1e-10)


@pytest.mark.parametrize(("t", "expected"), [(0.0, 0.5), (math.inf, 0.0), (-math.inf, 1.0), (1.0, 0.25), (-1.0, 0.75)])
def test_one_degree_of_freedom_is_cauchys(t: float, expected: float) -> None:
    assert upper_tail(t, 1) == pytest.approx(expected, abs=1e-15)


def test_what_is_not_known_stays_so() -> None:
    assert math.isnan(upper_tail(math.nan, 3))
    assert math.isnan(upper_tail(1.0, 0))
