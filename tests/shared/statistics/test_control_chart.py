"""The individuals chart and its trend test: laws, a published example, and false alarms of a process that is steady."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InputError
from shared.statistics.control_chart import BASELINE, chart_of, control_limits


def test_limits_are_those_of_the_published_example() -> None:
    # Montgomery, 6th ed., example 6.5 (mortgage loan costs, 20 weeks): centre 300.5, moving range 7.79,
    # limits 279.78 and 321.22.
    costs = [310, 288, 297, 298, 307, 303, 294, 297, 308, 306, 294, 299, 297, 299, 314, 295, 293, 306, 301, 304]
    limits = control_limits(np.array(costs, dtype=np.float64))
    assert (round(limits.centre, 1), round(limits.low, 2), round(limits.high, 2)) == (300.5, 279.78, 321.22)


@given(st.lists(st.floats(0, 1), min_size=BASELINE, max_size=40), st.floats(-3, 3), st.floats(0.1, 50))
@settings(max_examples=40)
def test_chart_moves_with_the_scale_of_the_values(values: list[float], shift: float, scale: float) -> None:
    plain, moved = chart_of(np.array(values)), chart_of(shift + scale * np.array(values))
    assert plain.limits is not None
    assert moved.limits is not None
    assert moved.limits.low == pytest.approx(shift + scale * plain.limits.low, rel=1e-9, abs=1e-9)
    assert moved.limits.high == pytest.approx(shift + scale * plain.limits.high, rel=1e-9, abs=1e-9)


def test_no_limits_are_drawn_below_twenty_lots() -> None:
    values = np.random.default_rng(1).standard_normal(BASELINE)
    few = chart_of(values[:-1])
    assert few.limits is None
    assert few.outside.size == 0
    assert few.trend_p is None
    assert chart_of(values).limits is not None


def test_later_lots_do_not_move_the_limits() -> None:
    values = np.random.default_rng(2).standard_normal(BASELINE)
    assert chart_of(values).limits == chart_of(np.append(values, [8.0, 9.0, -7.0])).limits


def test_a_shift_a_trend_and_a_standstill() -> None:
    steady = np.random.default_rng(3).standard_normal(BASELINE)
    assert 21 in chart_of(np.append(steady, [0.0, 6.0])).outside
    drifting = chart_of(np.append(steady, np.linspace(-0.3, -3.0, 10)))
    assert drifting.has_trend
    assert drifting.trend_rises is False
    still = chart_of(np.full(BASELINE, 0.1))
    assert not still.has_trend
    assert still.trend_rises is None
    assert still.outside.size == 0


def test_false_alarms_of_a_steady_process_are_those_declared() -> None:
    # 4,000 series of 21 lots: the 21st beyond the limits of the first 20 (1.1%, not .27%: limits are estimated from
    # few), and the trend of the last 20 (.9%). Expected: benchmarks/specification.py.
    rng, series = np.random.default_rng(4), 4_000
    alarms = np.zeros(2)
    for _ in range(series):
        chart = chart_of(rng.standard_normal(BASELINE + 1))
        alarms += (20 in chart.outside, chart.has_trend)
    for seen, expected in zip(alarms / series, (0.0112, 0.0094), strict=True):
        assert seen == pytest.approx(expected, abs=3 * sqrt(expected * (1 - expected) / series))


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        chart_of(np.array([0.1, np.nan]))
