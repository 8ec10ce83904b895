"""Shares as exact quotients, log-ratios, and log potency."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import InputError
from shared.statistics.composition import centred_log_ratios, mean_shares, shares
from shared.statistics.potency import Run, log_potency, log_relative_potency


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 1_000))
def test_equal_quotients_are_equal_floats(cells: int, total: int, factor: int) -> None:
    both = shares(np.array([[cells], [cells * factor]]), np.array([total, total * factor]))
    assert both[0, 0] == both[1, 0]


@given(st.integers(1, 2**26 - 1), st.integers(1, 2**26 - 1), st.integers(0, 2**26), st.integers(0, 2**26))
def test_no_two_shares_change_order(total_a: int, total_b: int, cells_a: int, cells_b: int) -> None:
    share = shares(np.array([[cells_a], [cells_b]]), np.array([total_a, total_b]))[:, 0]
    exact = cells_a * total_b - cells_b * total_a
    assert np.sign(share[0] - share[1]) == np.sign(exact)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(50, 99)), min_size=1, max_size=5), st.randoms())
def test_the_mean_share_of_a_donor_does_not_depend_on_the_order_of_its_lots(
    lots: list[tuple[int, int]], random: "np.random.Generator"
) -> None:
    shuffled = list(lots)
    random.shuffle(shuffled)
    one, other = (
        mean_shares(np.array(given)[:, :1], np.array(given)[:, 1], [np.arange(len(given))])
        for given in (lots, shuffled)
    )
    assert one == other


def test_equal_means_of_unequal_lots_tie() -> None:
    # (.1 + .7) / 2 and (.4 + .4) / 2 differ in floating point
    cells, totals = np.array([[1], [7], [4], [4]]), np.full(4, 10)
    donors = mean_shares(cells, totals, [np.array([0, 1]), np.array([2, 3])])
    assert donors[0, 0] == donors[1, 0] == 0.4


def test_a_lot_without_cells_has_no_share() -> None:
    assert np.isnan(shares(np.array([[0]]), np.array([0]))).all()


@settings(max_examples=50)
@given(st.lists(st.integers(0, 500), min_size=3, max_size=6).filter(any))
@example([0, 0, 1])
@example([0] * 60 + [1, 2, 20])
def test_log_ratios_are_finite_and_sum_to_nothing(cells: list[int]) -> None:
    total = float(sum(cells))
    logs = centred_log_ratios(np.array([cells]) / total, np.array([total]))
    assert np.isfinite(logs).all()
    assert logs.sum() == pytest.approx(0, abs=1e-9)


def test_a_zero_becomes_half_a_cell() -> None:
    logs = centred_log_ratios(np.array([[0.0, 0.5, 0.5]]), np.array([100.0]))
    assert logs[0, 1] - logs[0, 0] == pytest.approx(np.log(0.5 * (1 - 0.005) / 0.005), abs=1e-12)


def test_a_zero_stays_below_a_cell_where_parts_are_more_than_cells() -> None:
    logs = centred_log_ratios(np.array([[0.0, 0.0, 0.0, 1.0]]), np.array([1.0]))
    assert logs[0, 3] - logs[0, 0] == pytest.approx(np.log((1 - 3 / 8) / (1 / 8)), abs=1e-12)


@given(st.floats(0.01, 100), st.lists(st.floats(0.1, 1e4), min_size=1, max_size=6))
def test_a_factor_common_to_a_run_cancels(factor: float, values: list[float]) -> None:
    plain = Run(replicates=tuple(values), reference=(3.0, 5.0))
    scaled = Run(replicates=tuple(v * factor for v in values), reference=(3.0 * factor, 5.0 * factor))
    assert log_relative_potency([plain]) == pytest.approx(log_relative_potency([scaled]), abs=2e-12)


@given(st.permutations([2.5, 7.1, 3.3, 9.9]))
def test_the_order_of_the_wells_does_not_show(values: list[float]) -> None:
    assert log_potency([Run(replicates=tuple(values))]) == log_potency([Run(replicates=(2.5, 7.1, 3.3, 9.9))])


def test_equal_ratios_tie() -> None:
    one = log_relative_potency([Run(replicates=(220.0,), reference=(110.0,))])
    assert one == log_relative_potency([Run(replicates=(200.0,), reference=(100.0,))])


def test_runs_weigh_the_same() -> None:
    many, single = Run(replicates=(2.0,) * 9), Run(replicates=(8.0,))
    assert log_potency([many, single]) == pytest.approx(np.log(4.0), abs=1e-12)


@pytest.mark.parametrize(
    "run", [Run(replicates=()), Run(replicates=(0.0,)), Run(replicates=(-1.0,)), Run(replicates=(float("nan"),))]
)
def test_a_well_that_has_no_logarithm_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="replicate"):
        log_potency([run])


def test_a_run_without_its_reference_is_refused() -> None:
    with pytest.raises(InputError, match="reference"):
        log_relative_potency([Run(replicates=(1.0,))])
