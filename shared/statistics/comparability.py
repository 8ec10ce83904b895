r"""Two arms within strata: difference, equivalence, power and quality range, for the comparability of a process change.

Rules
-----
- Lots are compared within strata (a site's lots of one tissue). A stratum that lacks lots of one arm tells nothing of
  the difference and is left out of it.
- The two arms keep variances of their own (Welch). Over strata s with :math:`b_s` units before and :math:`a_s` after,

  .. math::
      \hat\delta = \sum_s w_s (\bar y_{s,a} - \bar y_{s,b}), \quad
      w_s = \frac{a_s b_s / (a_s + b_s)}{\sum a b / (a + b)}, \quad
      SE^2 = c_b S_b^2 + c_a S_a^2, \quad c_b = \sum_s w_s^2 / b_s, \; c_a = \sum_s w_s^2 / a_s

  where :math:`S_b^2, S_a^2` are each arm's variances pooled within strata, on :math:`\nu_b, \nu_a` degrees of freedom,
  and the interval takes Student's t on Satterthwaite's :math:`(c_b S_b^2 + c_a S_a^2)^2 / (c_b^2 S_b^4 / \nu_b + c_a^2
  S_a^4 / \nu_a)`. One stratum: Welch (Biometrika 1947;34:28). The weights are those of least variance where variances
  are alike.
- Two one-sided tests at alpha (Schuirmann, J Pharmacokinet Biopharm 1987;15:657) pass if and only if the
  100(1 - 2 alpha)% interval lies within the margin.
- Where values are known as intervals only (suppressed counts), the bounds hold for every value in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtrit

from shared.statistics.arrays import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """How units of two arms are compared within strata.

    Attributes
    ----------
    after : (n,) bool
        Which units were made after the change.
    stratum : (n,) int
        The number of each unit's stratum among those that hold both arms; -1 for a unit that is left out.
    weights : (n,) float
        Of each unit in the difference: positive after, negative before, 0 where it is left out.
    c_before, c_after : float
        What each arm's variance contributes to the variance of the difference.
    df_before, df_after : int
        Degrees of freedom of each arm's variance.
    """

    after: NDArray[np.bool_]
    stratum: IntArray
    weights: FloatArray
    c_before: float
    c_after: float
    df_before: int
    df_after: int

    @property
    def is_estimable(self) -> bool:
        """Whether a difference and both variances can be had."""
        return self.df_before > 0 and self.df_after > 0

    def units(self, *, after: bool) -> IntArray:
        """Return the units of one arm that enter the difference."""
        return np.flatnonzero((self.stratum >= 0) & (self.after == after))


@dataclass(frozen=True, kw_only=True, eq=False)
class Differences:
    """After less before for each of K values, with its interval; all (K,), NaN where not estimable.

    ``bound_low`` and ``bound_high`` hold the interval for every value that suppression leaves open.
    """

    estimate: FloatArray
    standard_error: FloatArray
    df: FloatArray
    low: FloatArray
    high: FloatArray
    bound_low: FloatArray
    bound_high: FloatArray
    sd_before: FloatArray
    sd_after: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class QualityRange:
    """Mean of the units before, and how many units after lie within mean +- k SD of their own stratum; all (K,)."""

    mean: FloatArray
    half_width: FloatArray
    inside: IntArray
    of: int


def contrast(after: Sequence[bool] | NDArray[np.bool_], strata: Sequence[str]) -> Contrast:
    """Return how units are compared: ``after`` says which arm, ``strata`` which stratum, one entry a unit."""
    arm = np.asarray(after, dtype=np.bool_)
    _, codes = np.unique(np.asarray(strata, dtype=np.str_), return_inverse=True)
    stratum = np.full(len(arm), -1, dtype=np.int64)
    sizes: list[tuple[int, int]] = []
    for code in range(int(codes.max(initial=-1)) + 1):
        members = codes == code
        n_after, n_before = int((members & arm).sum()), int((members & ~arm).sum())
        if n_after and n_before:
            stratum[members] = len(sizes)
            sizes.append((n_before, n_after))
    weights = np.zeros(len(arm))
    counts = np.array(sizes, dtype=np.float64).reshape(-1, 2)
    harmonic = counts.prod(axis=1) / np.maximum(counts.sum(axis=1), 1.0)
    shares = harmonic / harmonic.sum() if sizes else harmonic
    for number, (n_before, n_after) in enumerate(sizes):
        weights[(stratum == number) & arm] = shares[number] / n_after
        weights[(stratum == number) & ~arm] = -shares[number] / n_before
    return Contrast(
        after=arm,
        stratum=stratum,
        weights=weights,
        c_before=float((weights[weights < 0] ** 2).sum()),
        c_after=float((weights[weights > 0] ** 2).sum()),
        df_before=sum(n_before - 1 for n_before, _ in sizes),
        df_after=sum(n_after - 1 for _, n_after in sizes),
    )


def differences(
    values: FloatArray, design: Contrast, *, alpha: float, low: FloatArray | None = None, high: FloatArray | None = None
) -> Differences:
    """Return after less before with the 100(1 - 2 alpha)% interval.

    Parameters
    ----------
    values : (n, K)
        One row a unit.
    design : Contrast
        Of the same n units.
    alpha : float
        Of each one-sided test.
    low, high : (n, K), optional
        What each value may be at least and at most; absent: known exactly.

    Returns
    -------
    Differences
        NaN where an arm has no degree of freedom.

    >>> y = np.array([[1.0], [2.0], [3.0], [2.0], [3.0], [4.5]])
    >>> d = differences(y, contrast([False] * 3 + [True] * 3, ["s"] * 6), alpha=0.05)
    >>> [round(float(x[0]), 4) for x in (d.estimate, d.df, d.low, d.high)]
    [1.1667, 3.8059, -0.8409, 3.1743]
    """
    n_values = values.shape[1]
    if not design.is_estimable:
        empty = np.full(n_values, np.nan)
        return Differences(
            estimate=empty, standard_error=empty, df=empty, low=empty, high=empty,
            bound_low=empty, bound_high=empty, sd_before=empty, sd_after=empty,
        )  # fmt: skip
    before, after = _variance(values, design, after=False), _variance(values, design, after=True)
    first, second = design.c_before * before, design.c_after * after
    variance = first + second
    # With no variance at all the interval is the estimate, whatever the degrees of freedom.
    df = np.divide(
        variance**2,
        first**2 / design.df_before + second**2 / design.df_after,
        out=np.full(n_values, float(design.df_before + design.df_after)),
        where=variance > 0,
    )
    estimate = design.weights @ values
    error = np.sqrt(variance)
    reach = stdtrit(df, 1 - alpha) * error
    lowest, highest = _bounds(values, design, alpha, low, high, estimate - reach, estimate + reach)
    return Differences(
        estimate=estimate,
        standard_error=error,
        df=df,
        low=estimate - reach,
        high=estimate + reach,
        bound_low=lowest,
        bound_high=highest,
        sd_before=np.sqrt(before),
        sd_after=np.sqrt(after),
    )


def quality_range(
    values: FloatArray,
    design: Contrast,
    *,
    k: float,
    low: FloatArray | None = None,
    high: FloatArray | None = None,
) -> QualityRange:
    """Return how many units after lie within mean +- k SD of the units before of their stratum.

    The SD is pooled within strata. Where values are intervals, a unit is inside only if it is so for every value.
    """
    least, most = (values if low is None else low), (values if high is None else high)
    n_values = values.shape[1]
    before = design.units(after=False)
    if design.df_before < 1:
        empty = np.full(n_values, np.nan)
        return QualityRange(mean=empty, half_width=empty, inside=np.zeros(n_values, dtype=np.int64), of=0)
    half_widths = ((most - least) / 2.0)[before]
    spread = np.sqrt(design.df_before * _variance(values, design, after=False))
    # The triangle inequality: a root sum of squares moves by no more than that of what is added to the values.
    smallest_sd = np.maximum(spread - np.sqrt((half_widths**2).sum(axis=0)), 0.0) / sqrt(design.df_before)
    inside = np.zeros(n_values, dtype=np.int64)
    own = design.units(after=True)
    for unit in own:
        same = before[design.stratum[before] == design.stratum[unit]]
        floor, ceiling = most[same].mean(axis=0) - k * smallest_sd, least[same].mean(axis=0) + k * smallest_sd
        inside += (least[unit] >= floor) & (most[unit] <= ceiling)
    return QualityRange(
        mean=values[before].mean(axis=0), half_width=k * spread / sqrt(design.df_before), inside=inside, of=len(own)
    )


def p_of_strata(values: FloatArray, design: Contrast) -> FloatArray:
    """Return the p of the hypothesis that the difference is the same in every stratum, (K,); NaN for one stratum.

    The F test of the interaction of arm and stratum: the sum over strata of ``a b / (a + b) (d_s - d)^2``, d its
    weighted mean, against the variance within strata and arms. Opposite differences of two sites cancel in their mean;
    this tells them apart.
    """
    strata = np.unique(design.stratum[design.stratum >= 0])
    freedom = design.df_before + design.df_after
    if len(strata) < 2 or not design.is_estimable:  # noqa: PLR2004 - one stratum has nothing to differ from
        return np.full(values.shape[1], np.nan)
    estimates, weights = [], []
    for number in strata:
        before, after = (values[(design.stratum == number) & (design.after == arm)] for arm in (False, True))
        estimates.append(after.mean(axis=0) - before.mean(axis=0))
        weights.append(len(before) * len(after) / (len(before) + len(after)))
    table, weight = np.array(estimates), np.array(weights)[:, None]
    between = (weight * (table - (weight * table).sum(axis=0) / weight.sum()) ** 2).sum(axis=0) / (len(strata) - 1)
    within = (
        design.df_before * _variance(values, design, after=False)
        + design.df_after * _variance(values, design, after=True)
    ) / freedom
    ratio = np.divide(between, within, out=np.where(between > 0, np.inf, 0.0), where=within > 0)
    return np.asarray(fdtrc(len(strata) - 1, freedom, ratio), dtype=np.float64)


def _variance(values: FloatArray, design: Contrast, *, after: bool) -> FloatArray:
    """Return the variance of one arm within strata, (K,)."""
    units = design.units(after=after)
    rows, groups = values[units], design.stratum[units]
    total = np.zeros(values.shape[1])
    for group in np.unique(groups):
        members = rows[groups == group]
        total += ((members - members.mean(axis=0)) ** 2).sum(axis=0)
    return total / (design.df_after if after else design.df_before)


def _bounds(
    values: FloatArray,
    design: Contrast,
    alpha: float,
    low: FloatArray | None,
    high: FloatArray | None,
    exact_low: FloatArray,
    exact_high: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return an interval that holds that of every table within the bounds; the exact one where nothing is hidden."""
    if low is None or high is None:
        return exact_low, exact_high
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    hidden = (half * (design.stratum >= 0)[:, None]).any(axis=0)
    centre = design.weights @ middle
    slack = np.abs(design.weights) @ half
    # Triangle inequality on each arm's root sum of squares within strata; fewest degrees of freedom that can be.
    error = np.zeros(values.shape[1])
    for after, weight, df in ((False, design.c_before, design.df_before), (True, design.c_after, design.df_after)):
        spread = np.sqrt(df * _variance(middle, design, after=after))
        added = np.sqrt((half[design.units(after=after)] ** 2).sum(axis=0))
        error += weight * (spread + added) ** 2 / df
    reach = stdtrit(min(design.df_before, design.df_after), 1 - alpha) * np.sqrt(error)
    return (
        np.where(hidden, np.minimum(centre - slack - reach, exact_low), exact_low),
        np.where(hidden, np.maximum(centre + slack + reach, exact_high), exact_high),
    )
