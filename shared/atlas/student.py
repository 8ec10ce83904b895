"""Student's t for one number at a time, without scipy: its loading takes longer than mapping 10,000 cells.

Source: the incomplete beta function by its continued fraction, DLMF 8.17.22, evaluated by Lentz's method as modified by
Thompson and Barnett (1986); ``P(T > t) = I_x(df / 2, 1 / 2) / 2`` with ``x = df / (df + t^2)``, DLMF 8.17.E4 and
Abramowitz and Stegun 26.5.27.
"""

import math
from typing import Final

_TINY: Final = 1e-300
_ENOUGH: Final = 1e-15
_STEPS: Final = 10_000  # some sqrt(df) are needed
_HALVINGS: Final = 200


def upper_tail(t: float, df: float) -> float:
    """Return P(T > t) for Student's t with ``df`` degrees of freedom, to about 1e-12 of itself.

    >>> round(upper_tail(2.015, 5), 4)
    0.05
    """
    if math.isnan(t) or not df > 0:
        return math.nan
    if t < 0:
        return 1 - upper_tail(-t, df)
    if math.isinf(t):
        return 0.0
    return _beta_share(df / (df + t * t), t * t / (df + t * t), df / 2, 0.5) / 2


def quantile(probability: float, df: float) -> float:
    """Return what Student's t stays below with a probability of .5 to 1 (exclusive).

    >>> round(quantile(0.95, 5), 3)
    2.015
    """
    low, high = 0.0, 1.0
    while 1 - probability < upper_tail(high, df):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if 1 - probability < upper_tail(middle, df) else (low, middle)
    return high


def _beta_share(x: float, rest: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b); ``rest`` is 1 - x, known without cancellation."""
    if x == 0 or rest == 0:
        return float(rest == 0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on one side only
        return 1 - _beta_share(rest, x, b, a)
    log_front = a * math.log(x) + b * math.log(rest) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)), the continued fraction of the incomplete beta function."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, _STEPS):
        m = step // 2
        if step % 2:
            coefficient = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            coefficient = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + coefficient * d or _TINY)
        c = 1 + coefficient / c or _TINY
        value *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return value
