r"""The release threshold of a share: from which share on a lot's potency reaches its limit, with stated certainty.

Rules
-----
1. Ordinary least squares of log potency on the share, over units (donors). The threshold is the smallest share within
   the range seen at which the one-sided lower prediction bound of a new lot's log potency reaches the limit. A share
   that falls with potency is mirrored: the threshold is then the largest share.
2. A slope whose own one-sided bound holds 0 gives no threshold: such a share is not shown to predict, however potent
   the lots. Nothing is read off outside the range seen.
3. The error rates are those of future lots whose shares are distributed as the units': false pass is the part of the
   passing lots that misses the limit, false fail the part of the sufficient lots that is turned away.
4. What the data set itself leaves open is had by resampling whole units.

With n units, mean share m, sum of squares S about it, slope b, residual standard deviation s of n - 2 degrees of
freedom, and t the quantile of Student's t at the confidence wanted, the bound at share x (Draper and Smith, Applied
Regression Analysis, 3rd ed., section 3.1) is

.. math:: \bar y + b (x - m) - t s \sqrt{1 + 1/n + (x - m)^2 / S}

and reaches the limit L at the larger root u = x - m of
:math:`(b^2 - t^2 s^2 / S) u^2 + 2 d b u + d^2 - t^2 s^2 (1 + 1/n) = 0` with :math:`d = \bar y - L`.
"""

from dataclasses import dataclass
from math import exp, fsum, sqrt

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import nct, norm
from scipy.stats import t as t_distribution

from shared.errors import DesignError
from shared.statistics.arrays import FloatArray, IntArray, finite_floats
from shared.statistics.streams import block_generator

FEWEST_UNITS = 4
FEWEST_FOR_A_SPECIFICATION = 30
_BLOCK = 500


@dataclass(frozen=True, kw_only=True)
class Line:
    """Log potency on share, by least squares.

    Attributes
    ----------
    n : int
        Units.
    share_mean, share_ss : float
        Mean of the shares and their sum of squares about it.
    potency_mean, slope, residual_sd : float
        Mean log potency; its rise per unit of share; standard deviation of residuals, n - 2 degrees of freedom.
    """

    n: int
    share_mean: float
    share_ss: float
    potency_mean: float
    slope: float
    residual_sd: float

    def predicted(self, share: FloatArray | float) -> FloatArray:
        """Return the expected log potency at ``share``."""
        return np.asarray(self.potency_mean + self.slope * (np.asarray(share) - self.share_mean), dtype=np.float64)

    def prediction_sd(self, share: FloatArray | float) -> FloatArray:
        """Return the standard deviation of a new unit's log potency at ``share``, that of the line included."""
        from_mean = np.asarray(share) - self.share_mean
        return np.asarray(self.residual_sd * np.sqrt(1.0 + 1.0 / self.n + from_mean**2 / self.share_ss))

    def lower_bound(self, share: FloatArray | float, confidence: float) -> FloatArray:
        """Return the one-sided lower prediction bound of a new unit's log potency at ``share``."""
        quantile = float(t_distribution.ppf(confidence, self.n - 2))
        return np.asarray(self.predicted(share) - quantile * self.prediction_sd(share))

    def chance_below(self, share: FloatArray | float, limit: float) -> FloatArray:
        """Return the chance that a new unit of ``share`` has a log potency below ``limit``, by its predictive t."""
        away = (limit - self.predicted(share)) / self.prediction_sd(share)
        return np.asarray(t_distribution.cdf(away, self.n - 2))


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Error rates of a threshold among lots such as those seen; NaN where nothing can pass, or nothing suffices.

    Attributes
    ----------
    false_pass : float
        Of the lots that pass, the part below the limit of potency.
    false_fail : float
        Of the lots that reach the limit of potency, the part that fails.
    passing : float
        The part of all lots that passes.
    """

    false_pass: float
    false_fail: float
    passing: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """What resampled data sets say. B resamples.

    Attributes
    ----------
    thresholds : (B,) float
        The threshold that each would have given; NaN where none exists.
    false_pass, false_fail : (B,) float
        The rates that each would have given to the threshold of the whole data set; NaN where not defined.
    """

    thresholds: FloatArray
    false_pass: FloatArray
    false_fail: FloatArray

    @property
    def without_threshold(self) -> float:
        """The part of the resamples in which none exists."""
        return float(np.isnan(self.thresholds).mean())


def fit_line(shares: FloatArray, potency: FloatArray) -> Line:
    """Return the least-squares line of log ``potency`` on ``shares``, both ``(n,)``.

    Raises
    ------
    DesignError
        ``too-few-units`` below 4 units; ``no-variation`` where all shares are equal.
    InputError
        If a value is NaN or infinite.
    """
    x, y = finite_floats(shares, "shares"), finite_floats(potency, "potency")
    n = x.size
    if n < FEWEST_UNITS:
        raise DesignError(
            "too-few-units",
            f"expected at least {FEWEST_UNITS} units for a prediction bound, found {n}",
            hint="gather more lots",
        )
    # Exactly rounded sums: the same line on any machine, in any order of the units.
    mean, level = fsum(x) / n, fsum(y) / n
    away = x - mean
    ss = fsum(away * away)
    if np.ptp(x) == 0:
        raise DesignError("no-variation", f"expected shares that differ, found {x[0]:g} in all {n} units")
    slope = fsum(away * (y - level)) / ss
    residual = y - level - slope * away
    return Line(
        n=n,
        share_mean=mean,
        share_ss=ss,
        potency_mean=level,
        slope=slope,
        residual_sd=sqrt(fsum(residual * residual) / (n - 2)),
    )


def threshold_of(line: Line, limit: float, *, low: float, high: float, confidence: float, rises: bool) -> float:
    """Return the threshold of the share within ``low..high``; NaN where none exists.

    Parameters
    ----------
    line : Line
        Log potency on share.
    limit : float
        Of log potency.
    low, high : float
        The range of shares seen.
    confidence : float
        One-sided, of the prediction bound.
    rises : bool
        Whether more of the share should mean more potency; a line of the other direction gives NaN.

    Examples
    --------
    >>> line = fit_line(np.array([.1, .2, .3, .4, .5, .6]), np.array([1., 1.2, 1.25, 1.5, 1.6, 1.8]))
    >>> round(float(threshold_of(line, 1.4, low=.1, high=.6, confidence=.95, rises=True)), 3)
    0.421
    """
    sign = 1.0 if rises else -1.0
    ends = (low, high) if rises else (-high, -low)
    found = _thresholds(
        np.array([sign * line.share_mean]),
        np.array([line.share_ss]),
        np.array([line.potency_mean]),
        np.array([sign * line.slope]),
        np.array([line.residual_sd]),
        n=line.n,
        limit=limit,
        ends=ends,
        confidence=confidence,
    )
    return sign * float(found[0])


def rates_of(line: Line, shares: FloatArray, threshold: float, limit: float, *, rises: bool) -> Rates:
    """Return the error rates of ``threshold`` for lots of these ``shares`` ``(n,)`` and of this line."""
    below = line.chance_below(shares, limit)
    passes = shares >= threshold if rises else shares <= threshold
    return Rates(
        false_pass=float(below[passes].mean()) if passes.any() else float("nan"),
        false_fail=_ratio(float((1.0 - below)[~passes].sum()), float((1.0 - below).sum())),
        passing=float(passes.mean()),
    )


def resample(
    shares: FloatArray,
    potency: FloatArray,
    threshold: float,
    limit: float,
    *,
    confidence: float,
    rises: bool,
    draws: int,
    entropy: tuple[int, ...],
) -> Resampled:
    """Return what ``draws`` resamples of whole units say of the threshold and of its rates.

    Parameters
    ----------
    shares, potency : (n,) float
        Of the units.
    threshold : float
        Of the whole data set; NaN where none exists, and then the rates are NaN too.
    entropy : tuple of int
        Of the stream (``shared.statistics.streams.named_seed``).
    """
    sign = 1.0 if rises else -1.0
    x, y, n = sign * shares, potency, shares.size
    parts = []
    for block, first in enumerate(range(0, draws, _BLOCK)):
        rows = block_generator(entropy, block).integers(n, size=(min(_BLOCK, draws - first), n))
        parts.append(_resampled(x[rows], y[rows], sign * threshold, limit, confidence=confidence))
    thresholds, false_pass, false_fail = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Resampled(thresholds=sign * thresholds, false_pass=false_pass, false_fail=false_fail)


def tolerance_factor(n: int, *, content: float = 0.9, confidence: float = 0.95) -> float:
    """Return k such that mean - k SD of ``n`` normal values lies below at least ``content`` of their population.

    With the stated confidence; one-sided: the noncentral t of n - 1 degrees of freedom and noncentrality
    ``z_P sqrt n`` (Hahn and Meeker, Statistical Intervals, section 4.6).

    >>> round(tolerance_factor(11), 3)
    2.275
    """
    return float(nct.ppf(confidence, n - 1, norm.ppf(content) * sqrt(n))) / sqrt(n)


def upper_share_bound(cells: FloatArray, totals: FloatArray, *, confidence: float) -> float:
    """Return the one-sided upper prediction bound of a new lot's share, from those of n lots; NaN below two.

    On the scale of log odds with half a cell added, normal with n - 1 degrees of freedom: of sound lots 1 - confidence
    lies above.

    Parameters
    ----------
    cells, totals : (n,) float
        Cells counted, and all cells, of each lot.
    """
    n = cells.size
    if n < 2:  # noqa: PLR2004 - one lot has no spread
        return float("nan")
    odds = np.log((cells + 0.5) / (totals - cells + 0.5))
    mean = fsum(odds) / n
    sd = sqrt(fsum((odds - mean) ** 2) / (n - 1))
    bound = mean + float(t_distribution.ppf(confidence, n - 1)) * sd * sqrt(1.0 + 1.0 / n)
    return 1.0 / (1.0 + exp(-bound))


def p_of_groups(shares: FloatArray, potency: FloatArray, groups: IntArray) -> float:
    """Return the p-value of equal intercepts of the ``groups`` at one slope (F of nested models); NaN where untestable.

    A small p says that groups (sites) differ in potency at the same share: what holds for the groups seen may then not
    hold for another.
    """
    numbers = np.unique(groups)
    own = (groups[:, np.newaxis] == numbers).astype(np.float64)
    return _p_of_nested(np.column_stack([np.ones(shares.size), shares]), np.column_stack([own, shares]), potency)


def p_of_curvature(shares: FloatArray, potency: FloatArray) -> float:
    """Return the p-value of a straight line against a parabola (F of nested models); NaN where untestable."""
    away = shares - shares.mean()
    straight = np.column_stack([np.ones(shares.size), away])
    return _p_of_nested(straight, np.column_stack([straight, away**2]), potency)


def _p_of_nested(small: FloatArray, large: FloatArray, y: FloatArray) -> float:
    ranks = [int(np.linalg.matrix_rank(design)) for design in (small, large)]
    more, left = ranks[1] - ranks[0], y.size - ranks[1]
    if more <= 0 or left <= 0:
        return float("nan")
    squares = []
    for design in (small, large):
        residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        squares.append(float(residual @ residual))
    if squares[1] <= 1e-24 * max(float(y @ y), 1.0):
        return float("nan")  # no residual: nothing to compare with
    return float(f_distribution.sf((squares[0] - squares[1]) / more / (squares[1] / left), more, left))


def _thresholds(
    mean: FloatArray,
    ss: FloatArray,
    level: FloatArray,
    slope: FloatArray,
    sd: FloatArray,
    *,
    n: int,
    limit: float,
    ends: tuple[FloatArray | float, FloatArray | float],
    confidence: float,
) -> FloatArray:
    """Return the thresholds of lines that should rise, all ``(B,)``; NaN where none exists."""
    reach = float(t_distribution.ppf(confidence, n - 2)) * sd
    a = slope**2 - reach**2 / ss
    usable = (slope > 0) & (a > 0)
    d = level - limit
    half, c = d * slope, d**2 - reach**2 * (1.0 + 1.0 / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The region where d + slope u >= 0 holds the larger root and not the smaller one: the square has one meaning.
        root = (-half + np.sqrt(np.maximum(half**2 - a * c, 0.0))) / a
    found = np.maximum(mean + root, ends[0])
    return np.where(usable & (found <= ends[1]), found, np.nan)


def _resampled(
    x: FloatArray, y: FloatArray, threshold: float, limit: float, *, confidence: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return thresholds, false pass and false fail of resamples ``(B, n)`` of shares that should rise."""
    n = x.shape[1]
    mean, level = x.mean(axis=1), y.mean(axis=1)
    away = x - mean[:, np.newaxis]
    ss = (away**2).sum(axis=1)
    flat = np.ptp(x, axis=1) == 0
    ss = np.where(flat, 1.0, ss)
    slope = np.where(flat, 0.0, (away * (y - level[:, np.newaxis])).sum(axis=1) / ss)
    residual = y - level[:, np.newaxis] - slope[:, np.newaxis] * away
    sd = np.sqrt((residual**2).sum(axis=1) / (n - 2))
    found = _thresholds(
        mean, ss, level, slope, sd, n=n, limit=limit, ends=(x.min(axis=1), x.max(axis=1)), confidence=confidence
    )
    predicted = level[:, np.newaxis] + slope[:, np.newaxis] * away
    spread = sd[:, np.newaxis] * np.sqrt(1.0 + 1.0 / n + away**2 / ss[:, np.newaxis])
    with np.errstate(invalid="ignore", divide="ignore"):
        below = t_distribution.cdf((limit - predicted) / spread, n - 2)
        passes = x >= threshold
        false_pass = (below * passes).sum(axis=1) / passes.sum(axis=1)
        false_fail = ((1.0 - below) * ~passes).sum(axis=1) / (1.0 - below).sum(axis=1)
    undefined = flat | np.isnan(threshold)
    return found, np.where(undefined, np.nan, false_pass), np.where(undefined, np.nan, false_fail)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
