"""The confidence interval of a rank correlation.

Bonett and Wright (2000, Psychometrika 65:23-28): ``z = atanh r`` with ``SE^2 = (1 + r^2 / 2) / (n - q - 3)``, where q
is the number of strata less one (each stratum but the first costs a mean). Small samples of strong correlation are not
normal: for ``|r| > .9`` and ``n < 20`` the quantile is that of t with ``n - q - 2`` degrees of freedom. ``|r| = 1`` has
no finite z: it is replaced by ``1 - 12 / (n (n^2 - 1))``, two steps of the grid of rho below 1.
"""

from math import atanh, copysign, isnan, nan, sqrt, tanh

from scipy.stats import norm, t

_STRONG = 0.9
_SMALL = 20


def correlation_interval(r: float, n: int, *, strata: int = 1, confidence: float = 0.95) -> tuple[float, float]:
    """Return (low, high) of the correlation ``r`` over ``n`` units in ``strata`` strata.

    Both ends are NaN where r is NaN or ``n <= strata + 2`` leaves no degree of freedom. An interval always holds r.

    >>> tuple(round(end, 4) for end in correlation_interval(0.8, 11))
    (0.2936, 0.9558)
    """
    q = strata - 1
    if isnan(r) or n - q - 3 <= 0:
        return nan, nan
    inner = copysign(1.0 - 12.0 / (n * (n * n - 1)), r) if abs(r) >= 1.0 else r
    level = 0.5 + confidence / 2
    quantile = float(t.ppf(level, n - q - 2) if abs(r) > _STRONG and n < _SMALL else norm.ppf(level))
    half = quantile * sqrt((1.0 + inner * inner / 2.0) / (n - q - 3))
    return min(r, tanh(atanh(inner) - half)), max(r, tanh(atanh(inner) + half))
