"""The power of the equivalence test of two arms, and how many lots a power needs.

Exact for normal values, whatever the sizes and the strata: `shared.statistics.comparability` has the test.
"""

from collections.abc import Callable
from functools import lru_cache
from math import isfinite, sqrt

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit

from shared.statistics.arrays import FloatArray
from shared.statistics.comparability import Contrast, contrast

_NODES = 40
_TABLE = 128
_MOST_LOTS = 400
_STEPS = 4


def equivalence_power(
    design: Contrast, *, sd_before: float, sd_after: float, margin: float, alpha: float, difference: float = 0.0
) -> float:
    """Return the probability that the equivalence test passes; 0 where nothing can be estimated.

    Exact for normal values up to quadrature: given both sample variances, the estimate is normal and independent of
    them, so the power is the mean over the two chi-squared variables of
    ``Phi((m - r - d) / s) - Phi((-m + r - d) / s)`` where ``r = t(df) SE`` depends on the sample variances only. The
    mean is taken by Gauss-Legendre over their quantiles.

    Parameters
    ----------
    design : Contrast
        How many units of which arm in which stratum.
    sd_before, sd_after : float
        The true standard deviations between units within a stratum.
    margin : float
        Half the width of what counts as alike, on the scale of the values.
    alpha : float
        Of each one-sided test.
    difference : float
        The true difference.

    >>> eleven = contrast([False] * 11 + [True] * 11, ["s"] * 22)
    >>> round(equivalence_power(eleven, sd_before=0.35, sd_after=0.35, margin=np.log(1.5), alpha=0.05), 2)
    0.67
    """
    if not design.is_estimable or not (isfinite(sd_before) and isfinite(sd_after)):
        return 0.0
    nodes, weights = _quadrature()
    first = design.c_before * sd_before**2 * _chi_squared(nodes, design.df_before)[:, None] / design.df_before
    second = design.c_after * sd_after**2 * _chi_squared(nodes, design.df_after)[None, :] / design.df_after
    variance = first + second
    spread = sqrt(design.c_before * sd_before**2 + design.c_after * sd_after**2)
    if spread == 0:
        return 1.0 if abs(difference) < margin else 0.0
    df = variance**2 / (first**2 / design.df_before + second**2 / design.df_after)
    fewest, most = min(design.df_before, design.df_after), design.df_before + design.df_after
    reach = _student(df, 1 - alpha, fewest, most) * np.sqrt(variance)
    passes = ndtr((margin - reach - difference) / spread) - ndtr((reach - margin - difference) / spread)
    return float(weights @ np.maximum(passes, 0.0) @ weights)


def lots_needed(*, before: int, sd: float, margin: float, alpha: float, power: float) -> int | None:
    """Return the fewest lots after, beside ``before`` lots before at one site, that reach ``power`` at no difference.

    None where no number of them does (or more than 400): then lots before are lacking, too.
    """
    return _fewest(lambda n: (before, n), sd=sd, margin=margin, alpha=alpha, power=power)


def lots_needed_each(*, sd: float, margin: float, alpha: float, power: float) -> int | None:
    """Return the fewest lots in each arm at one site that reach ``power`` at no difference; None above 400.

    >>> lots_needed_each(sd=0.35, margin=np.log(1.5), alpha=0.05, power=0.8)
    14
    """
    return _fewest(lambda n: (n, n), sd=sd, margin=margin, alpha=alpha, power=power)


def _fewest(
    sizes: Callable[[int], tuple[int, int]], *, sd: float, margin: float, alpha: float, power: float
) -> int | None:
    def reached(n: int) -> bool:
        n_before, n_after = sizes(n)
        design = contrast([False] * n_before + [True] * n_after, [""] * (n_before + n_after))
        return equivalence_power(design, sd_before=sd, sd_after=sd, margin=margin, alpha=alpha) >= power

    def possible(n: int) -> bool:
        # A known SD gives more power than an estimated one, and costs no quadrature.
        spread = sd * sqrt(sum(1.0 / size for size in sizes(n)))
        return spread == 0 or 2 * float(ndtr(margin / spread - ndtri(1 - alpha))) - 1 >= power

    if not isfinite(sd) or not possible(_MOST_LOTS):
        return None
    first = next(n for n in range(2, _MOST_LOTS + 1) if possible(n))
    for n in range(first, min(first + _STEPS, _MOST_LOTS + 1)):
        if reached(n):
            return n
    if not reached(_MOST_LOTS):
        return None
    low, high = first + _STEPS - 1, _MOST_LOTS  # power grows with the number of lots
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _chi_squared(probabilities: FloatArray, df: int) -> FloatArray:
    return np.asarray(2.0 * gammaincinv(df / 2.0, probabilities), dtype=np.float64)


def _student(df: FloatArray, probability: float, fewest: int, most: int) -> FloatArray:
    # The quantile is smooth in 1 / df: from a table of it, to six digits, for a tenth of the time.
    inverse = np.linspace(1.0 / most, 1.0 / fewest, _TABLE)
    return np.interp(1.0 / df, inverse, stdtrit(1.0 / inverse, probability))


@lru_cache(maxsize=1)
def _quadrature() -> tuple[FloatArray, FloatArray]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1.0) / 2.0, weights / 2.0
