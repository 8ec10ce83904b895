"""The stratified rank association: laws, then values from R, then examples."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.errors import DesignError, InputError
from shared.statistics.arrays import FloatArray, IntArray
from shared.statistics.association import Associations, associate
from shared.statistics.multiplicity import q_values
from shared.statistics.ranks import rank_design, spearman, stratified_rho

# A table with ties everywhere: three strata of 3, 4 and 5 units, three columns.
_X = np.array(
    [
        [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8],
        [2, 2, 3, 9, 1, 4, 4, 7, 0, 3, 6, 5],
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    ],
    dtype=np.float64,
).T
_Y = np.array([2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5], dtype=np.float64)
_STRATA = np.repeat([1, 2, 3], [3, 4, 5])

_laws = settings(max_examples=40)


@st.composite
def studies(draw: st.DrawFn, smallest: int = 4, largest: int = 7) -> tuple[FloatArray, FloatArray, IntArray]:
    """Shares (n, 1 to 4), potency and strata, with many ties; small enough to visit every order."""
    n = draw(st.integers(smallest, largest))
    k = draw(st.integers(1, 4))
    values = st.integers(0, 6).map(float)
    x = np.array(draw(st.lists(st.lists(values, min_size=k, max_size=k), min_size=n, max_size=n)))
    y = np.array(draw(st.lists(values, min_size=n, max_size=n)))
    strata = np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    return x, y, strata


def _answer(x: FloatArray, y: FloatArray, strata: IntArray, **changes: object) -> Associations:
    """Return the association where the design can answer; other designs have tests of their own."""
    try:
        return associate(x, y, strata, alpha=0.99, **changes)  # type: ignore[arg-type]
    except DesignError:
        assume(False)
        raise


def _same(one: Associations, other: Associations) -> None:
    for name in ("rho", "rho_pooled", "p", "p_adjusted", "q", "low", "high"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@_laws
@given(studies())
def test_a_monotone_transform_of_potency_or_shares_changes_nothing(
    study: tuple[FloatArray, FloatArray, IntArray],
) -> None:
    x, y, strata = study
    _same(_answer(x, y, strata), _answer(x**3 + 5, np.exp(y), strata))


@_laws
@given(studies(), st.randoms(use_true_random=False))
def test_the_order_of_the_lots_changes_nothing(
    study: tuple[FloatArray, FloatArray, IntArray], random: "np.random.Generator"
) -> None:
    x, y, strata = study
    order = list(range(len(y)))
    random.shuffle(order)
    _same(_answer(x, y, strata), _answer(x[order], y[order], strata[order]))


@_laws
@given(studies(), st.permutations(["a", "b", "c"]))
def test_relabelling_the_sites_changes_nothing(
    study: tuple[FloatArray, FloatArray, IntArray], labels: list[str]
) -> None:
    x, y, strata = study
    _same(_answer(x, y, strata), _answer(x, y, np.array(labels)[strata]))


@_laws
@given(studies())
def test_reversing_potency_turns_the_sign_and_keeps_the_two_sided_p(
    study: tuple[FloatArray, FloatArray, IntArray],
) -> None:
    x, y, strata = study
    one, other = _answer(x, y, strata), _answer(x, -y, strata)
    np.testing.assert_array_equal(one.rho, -other.rho)
    np.testing.assert_array_equal(one.p, other.p)
    np.testing.assert_array_equal(one.p_adjusted, other.p_adjusted)
    np.testing.assert_array_equal(one.low, -other.high)


@_laws
@given(studies())
def test_shares_and_potency_are_exchangeable(study: tuple[FloatArray, FloatArray, IntArray]) -> None:
    x, y, strata = study
    there, back = _answer(x[:, :1], y, strata), _answer(y[:, None], x[:, 0], strata)
    np.testing.assert_array_equal(there.rho, back.rho)
    np.testing.assert_array_equal(there.p, back.p)


@_laws
@given(studies(), st.sampled_from(["two-sided", "greater", "less"]))
def test_p_is_in_the_half_open_unit_interval_and_never_above_the_adjusted_one(
    study: tuple[FloatArray, FloatArray, IntArray], tail: str
) -> None:
    answer = _answer(*study, tail=tail)
    assert ((answer.p > 0) & (answer.p <= answer.p_adjusted) & (answer.p_adjusted <= 1)).all()
    assert (answer.p <= answer.q).all()
    known = ~np.isnan(answer.low)
    assert ((answer.low <= answer.rho) & (answer.rho <= answer.high))[known].all()


@_laws
@given(studies())
def test_a_constant_column_has_p_of_one_and_leaves_the_others_alone(
    study: tuple[FloatArray, FloatArray, IntArray],
) -> None:
    x, y, strata = study
    without = _answer(x, y, strata)
    answer = _answer(np.column_stack([x, np.full(len(y), 0.25)]), y, strata)
    assert np.isnan(answer.rho[-1])
    assert (answer.p[-1], answer.p_adjusted[-1]) == (1.0, 1.0)
    np.testing.assert_array_equal(answer.p[:-1], without.p)
    np.testing.assert_array_equal(answer.p_adjusted[:-1], without.p_adjusted)


@_laws
@given(studies())
def test_a_column_given_twice_has_one_adjusted_p(study: tuple[FloatArray, FloatArray, IntArray]) -> None:
    x, y, strata = study
    once, twice = _answer(x, y, strata), _answer(np.column_stack([x, 1 - x]), y, strata)
    k = x.shape[1]
    np.testing.assert_array_equal(twice.p_adjusted[:k], once.p_adjusted)
    np.testing.assert_array_equal(twice.p_adjusted[k:], once.p_adjusted)


def test_values_from_r() -> None:
    # R 4.2.2, ranks centred by ave(rank(x), s), all 3! 4! 5! = 17,280 orders by expand.grid over the strata's
    # permutations: mean(abs(R) >= abs(obs) - 1e-9), mean(R >= obs - 1e-9) and, for the family,
    # mean(apply(abs(R), 1, max) >= abs(obs) - 1e-9).
    answer = associate(_X, _Y, _STRATA)
    assert answer.method == "exact"
    assert answer.rho == pytest.approx([-0.0470655320036401, 0.41102062280727, -0.397340624408448], abs=1e-14)
    assert answer.p == pytest.approx([0.900462962962963, 0.264814814814815, 0.241666666666667], abs=1e-14)
    assert answer.p_adjusted == pytest.approx([0.998611111111111, 0.638425925925926, 0.66875], abs=1e-14)
    greater = associate(_X, _Y, _STRATA, tail="greater")
    assert greater.p == pytest.approx([0.560648148148148, 0.13287037037037, 0.886111111111111], abs=1e-14)


def test_the_linear_statistic_is_that_of_the_coin_package() -> None:
    # R, coin 1.4.2: independence_test(y ~ x | s, xtrafo and ytrafo = rank_trafo); statistic(it, "linear") 526.5 and
    # expectation(it) 531.7125. Ranks here are doubled, on both sides.
    design = rank_design(_X[:, :1], _Y, _STRATA)
    assert design.observed[0] == 4 * 526.5
    assert float(design.centre[0]) == pytest.approx(4 * 531.7125, abs=1e-9)


def test_q_values_from_r() -> None:
    # Made in R 4.2.2 by p.adjust with method "BH" on the same six values.
    assert q_values(np.array([0.01, 0.04, 0.03, 0.005, 0.5, 1.0])) == pytest.approx([0.03, 0.06, 0.06, 0.03, 0.6, 1.0])


def test_a_site_difference_alone_is_no_association() -> None:
    # Within each site share and potency fall together; between sites they rise together.
    x = np.array([1.0, 2, 3, 4, 11, 12, 13, 14])[:, None]
    y = np.array([4.0, 3, 2, 1, 14, 13, 12, 11])
    site = np.repeat(["a", "b"], 4)
    assert spearman(x, y)[0] > 0.5
    assert stratified_rho(x, y, site)[0] == -1.0


def test_best_first_is_smallest_p_then_largest_rho_then_the_given_order() -> None:
    x = np.array(
        [[1.0, 6, 1, 6, 0], [2, 5, 3, 4, 0], [3, 4, 2, 5, 0], [4, 3, 5, 2, 0], [5, 2, 4, 3, 0], [6, 1, 6, 1, 0]]
    )
    answer = associate(x, np.arange(6.0), np.zeros(6))
    assert answer.order() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("x", "y", "strata", "code"),
    [
        ([1, 2], [1, 2], [0, 0], "too-few-units"),
        ([1, 2, 3], [1, 2, 3], [0, 1, 2], "no-stratum-with-two-units"),
        ([1, 2, 3, 4, 5, 6], [7, 7, 7, 7, 7, 7], [0] * 6, "no-variation-in-potency"),
        ([1, 1, 1, 2, 2, 2], [1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 1, 1], "no-variation-in-shares"),
        ([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 1, 1, 2, 2, 3, 3], "alpha-unreachable"),
        ([1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 1], [0] * 6, "alpha-unreachable"),
    ],
)
def test_a_design_that_cannot_answer_is_refused_by_name(
    x: list[float], y: list[float], strata: list[int], code: str
) -> None:
    with pytest.raises(DesignError) as caught:
        associate(np.array(x, dtype=np.float64)[:, None], y, strata)
    assert caught.value.code == code
    assert caught.value.hint


def test_four_sites_of_two_lots_reach_an_eighth_at_best() -> None:
    site = np.repeat(range(4), 2)
    answer = associate(np.arange(8.0)[:, None], np.arange(8.0), site, alpha=0.2)
    assert (answer.p[0], answer.smallest_p) == (0.125, 0.125)


def test_too_few_draws_for_alpha_are_refused() -> None:
    y = np.arange(20.0)
    with pytest.raises(DesignError, match="enough draws"):
        associate(y[:, None], y, np.zeros(20), draws=99, alpha=0.005)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_without_a_rank_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        associate([[1.0], [2.0], [bad]], [1, 2, 3], [0, 0, 0])
    with pytest.raises(InputError, match="NaN or infinite"):
        associate([[1.0], [2.0], [3.0]], [1, 2, bad], [0, 0, 0])


def test_shapes_that_do_not_agree_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(4, 1\)"):
        rank_design(np.zeros((4, 1)), [1.0, 2.0, 3.0], [0, 0, 0])
