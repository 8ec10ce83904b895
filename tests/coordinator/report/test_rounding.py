"""Rounding never changes what a number says."""

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.pages.rounding import (
    MINUS,
    count_text,
    interval_text,
    p_text,
    rho_text,
    share_interval_text,
    share_text,
)

_P = st.floats(min_value=1e-9, max_value=1)


@given(p=_P, alpha=st.sampled_from([0.01, 0.025, 0.05, 0.1]))
def test_p_never_reads_as_the_other_side_of_alpha(p: float, alpha: float) -> None:
    assume(abs(p - alpha) > 1e-8)
    text = p_text(p, alpha=alpha)
    shown = 0.0 if text.startswith("<") else float(text)
    assert (shown <= alpha) is (p <= alpha)


@given(_P, _P)
def test_p_keeps_its_order(p: float, other: float) -> None:
    low, high = sorted((p, other))
    shown = [0.0 if text.startswith("<") else float(text) for text in (p_text(low), p_text(high))]
    assert shown[0] <= shown[1]


@given(st.floats(min_value=-1, max_value=1))
def test_rho_is_within_its_last_digit_with_a_true_minus_and_one_only_if_it_is_one(rho: float) -> None:
    text = rho_text(rho)
    assert "-" not in text
    assert abs(float(text.replace(MINUS, "-")) - rho) <= 0.005 + 1e-12
    if text.lstrip(MINUS) == "1.00":
        assert abs(rho) > 0.999994


@given(st.floats(min_value=0, max_value=100))
def test_share_is_zero_in_words_only_if_it_is_zero(percent: float) -> None:
    assert (share_text(percent) == "0%") is (percent == 0)


@given(st.integers(min_value=0, max_value=10**6), st.integers(min_value=0, max_value=10**6))
def test_suppressed_count_never_reads_as_a_number(count: int, other: int) -> None:
    low, high = sorted((count, other))
    is_number = count_text(low, high).replace(",", "").isdigit()
    assert is_number is (low == high)


def test_what_is_not_defined_is_a_word() -> None:
    assert {rho_text(None), p_text(None), interval_text(None, 0.3)} == {"not defined"}


def test_share_with_bounds_shows_both() -> None:
    assert share_interval_text(1.25, 3.0) == "1.2–3.0%"
