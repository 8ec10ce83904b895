"""Charts of one number a lot, in the order of making: whether the process is as it was.

Rules
-----
1. Control limits say what the process does, never what a lot must have. They are had from the first ``BASELINE`` lots
   and then stand: every later lot is held against limits that it did not make.
2. Individuals chart (Shewhart): mean +- 3 times the standard deviation, which is the mean moving range of two by 1.128
   (d2 of two values; Montgomery, Introduction to Statistical Quality Control, section 6.4). None below ``BASELINE``.
3. Trend: the Mann-Kendall test of the last ``TREND_LOTS`` lots, two-sided at ``TREND_ALPHA``. It looks again at each
   lot; ``benchmarks/specification.py`` measures what both rules say of a process that never changes.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import fsum, isnan

import numpy as np
from scipy.stats import kendalltau

from shared.statistics.arrays import FloatArray, IntArray, finite_floats

BASELINE = 20
TREND_LOTS = 20
TREND_ALPHA = 0.01
_D2 = 1.128
_WIDTH = 3.0


@dataclass(frozen=True, kw_only=True)
class ControlLimits:
    """What the baseline's lots say of the process: its centre, its standard deviation, and the limits around it."""

    centre: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlChart:
    """A chart of n lots.

    Attributes
    ----------
    limits : ControlLimits or None
        None below ``BASELINE`` lots.
    outside : (m,) int
        The places of lots beyond the limits, the baseline's own included.
    trend_p : float or None
        The Mann-Kendall p-value of the last ``TREND_LOTS`` lots; None below so many.
    trend_rises : bool or None
        The direction of the trend; None where ``trend_p`` is None or nothing moves.
    """

    limits: ControlLimits | None
    outside: IntArray
    trend_p: float | None
    trend_rises: bool | None

    @property
    def has_trend(self) -> bool:
        """Whether the trend is beyond what chance explains."""
        return self.trend_p is not None and self.trend_p < TREND_ALPHA


def chart_of(values: FloatArray) -> ControlChart:
    """Return the chart of ``values`` ``(n,)`` in the order of making.

    Raises
    ------
    InputError
        If a value is NaN or infinite.

    Examples
    --------
    >>> chart = chart_of(np.array([5.0, 5.2, 4.9, 5.1] * 5 + [9.0]))
    >>> round(chart.limits.low, 2), round(chart.limits.high, 2), chart.outside.tolist()
    (4.5, 5.6, [20])
    """
    x = finite_floats(values, "values")
    limits = control_limits(x[:BASELINE]) if x.size >= BASELINE else None
    outside = (
        np.flatnonzero((x < limits.low) | (x > limits.high)) if limits is not None else np.zeros(0, dtype=np.int64)
    )
    trend_p, rises = None, None
    if x.size >= TREND_LOTS:
        last = x[-TREND_LOTS:]
        tested = kendalltau(np.arange(last.size), last)
        p, tau = float(tested.pvalue), float(tested.statistic)
        trend_p = 1.0 if isnan(p) else p  # equal values have no order: no trend
        rises = None if isnan(tau) or tau == 0 else tau > 0
    return ControlChart(limits=limits, outside=outside.astype(np.int64), trend_p=trend_p, trend_rises=rises)


def control_limits(values: FloatArray) -> ControlLimits:
    """Return the limits of an individuals chart from the baseline's ``values`` ``(n,)``, n at least 2."""
    centre = fsum(values) / values.size
    sd = fsum(abs(after - before) for before, after in pairwise(values.tolist())) / (values.size - 1) / _D2
    return ControlLimits(centre=centre, sd=sd, low=centre - _WIDTH * sd, high=centre + _WIDTH * sd)
