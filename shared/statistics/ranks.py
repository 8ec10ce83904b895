"""Stratified rank correlation, in integers wherever equality decides something.

The statistic. Units are ranked over all strata together (mid-ranks for ties); ranks are centred within each stratum;
then ``rho_s = sum(a b) / sqrt(sum a^2 sum b^2)``. With one stratum this is Spearman's rho.

Why integers. A permutation p counts how often a permuted statistic reaches the observed one, so a statistic that ought
to be equal must compare equal. Doubled mid-ranks are integers; ``T = sum(a b)`` over them is an integer that float64
holds exactly in any order of summation (below 2^53, that is up to 130,000 units). Centring one side is enough, and it
shifts T by a constant ``C`` of the design (``C = sum over strata A_s B_s / m_s``), which is kept as a fraction.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, copysign, floor, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from shared.errors import InputError
from shared.statistics.arrays import FloatArray, IntArray, Tail, finite_floats

_MOST_UNITS = 130_000  # 4 n^3 / 3 stays below 2^53


def doubled_ranks(values: ArrayLike) -> IntArray:
    """Return twice the mid-ranks of each column: integers, ties exact.

    >>> doubled_ranks([10.0, 30.0, 30.0]).tolist()
    [2, 5, 5]
    """
    array = finite_floats(values, "values to rank")
    return np.rint(2.0 * rankdata(array, method="average", axis=0)).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Strata:
    """A partition of the units. Nothing is ever compared across its parts.

    Attributes
    ----------
    codes : (n,) int
        The stratum of each unit, 0 .. S-1 in the order of the sorted labels.
    sizes : (S,) int
    """

    codes: IntArray
    sizes: IntArray

    @classmethod
    def of(cls, labels: ArrayLike) -> "Strata":
        """Return the partition by equal labels."""
        names, codes, sizes = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
        del names
        return cls(codes=codes.astype(np.int64).reshape(-1), sizes=sizes.astype(np.int64))

    @cached_property
    def members(self) -> tuple[IntArray, ...]:
        """The units of each stratum, in their order."""
        order = np.argsort(self.codes, kind="stable").astype(np.int64)
        return tuple(np.split(order, np.cumsum(self.sizes)[:-1]))

    @property
    def informative_units(self) -> int:
        """Units that share a stratum with another: a stratum of one says nothing about an association within."""
        return int(self.sizes[self.sizes > 1].sum())

    @property
    def informative(self) -> int:
        """The number of strata with at least two units."""
        return int(np.count_nonzero(self.sizes > 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedDesign:
    """Ranks of K columns and one response, with all that the statistic and its null distribution need.

    Attributes
    ----------
    x : (n, K) int
        Doubled mid-ranks of the shares.
    y : (n,) int
        Doubled mid-ranks of the potency.
    strata : Strata
    observed : tuple of int, K
        ``T``, the sum of products of doubled ranks.
    centre : tuple of Fraction, K
        ``C``, what the centring within strata takes off T: the mean of T under permutation within strata.
    square_x : tuple of Fraction, K
        Sum of squares of the centred ranks; 0 where a column is constant within every stratum.
    square_y : Fraction
    """

    x: IntArray
    y: IntArray
    strata: Strata
    observed: tuple[int, ...]
    centre: tuple[Fraction, ...]
    square_x: tuple[Fraction, ...]
    square_y: Fraction

    @property
    def n_columns(self) -> int:
        """K."""
        return int(self.x.shape[1])

    @cached_property
    def rho(self) -> FloatArray:
        """The statistic of each column, (K,); NaN where shares or potency do not vary within any stratum."""
        return np.array(
            [
                _ratio(Fraction(t) - c, a * self.square_y)
                for t, c, a in zip(self.observed, self.centre, self.square_x, strict=True)
            ],
            dtype=np.float64,
        )

    def thresholds(self, tail: Tail) -> tuple[IntArray, IntArray]:
        """Return ``(upper, lower)``, each (K,): T is as extreme as observed when ``T >= upper or T <= lower``.

        Exact: for two sides the mirror image ``2C - T`` of the observed value is a fraction, and an integer reaches it
        when it reaches the next integer outwards. A side that is not asked for gets a threshold beyond reach.
        """
        beyond = 2**60
        upper, lower = [], []
        for t, c in zip(self.observed, self.centre, strict=True):
            match tail:
                case "greater":
                    upper.append(t)
                    lower.append(-beyond)
                case "less":
                    upper.append(beyond)
                    lower.append(t)
                case "two-sided":
                    upper.append(t if t >= c else ceil(2 * c - t))
                    lower.append(t if t <= c else floor(2 * c - t))
        return np.array(upper, dtype=np.int64), np.array(lower, dtype=np.int64)


def rank_design(x: ArrayLike, y: ArrayLike, strata: ArrayLike) -> RankedDesign:
    """Return the ranked design of shares ``x`` (n, K), potency ``y`` (n,) and stratum labels ``strata`` (n,).

    Raises
    ------
    InputError
        If the shapes do not agree, a value is not finite, or there are more units than float64 holds exactly.
    """
    shares, potency = finite_floats(x, "shares"), finite_floats(y, "potency")
    partition = Strata.of(strata)
    n = len(potency)
    if shares.ndim != 2 or potency.ndim != 1 or shares.shape[0] != n or len(partition.codes) != n:  # noqa: PLR2004
        raise InputError(
            "expected shares (n, K), potency (n,) and strata (n,), "
            f"found {shares.shape}, {potency.shape} and {partition.codes.shape}"
        )
    if n > _MOST_UNITS:
        raise InputError(f"expected at most {_MOST_UNITS} units, found {n}")
    ranks_x, ranks_y = doubled_ranks(shares), doubled_ranks(potency)
    total_x, total_y = _stratum_sums(ranks_x, partition), _stratum_sums(ranks_y[:, None], partition)
    return RankedDesign(
        x=ranks_x,
        y=ranks_y,
        strata=partition,
        observed=tuple(int(t) for t in ranks_y @ ranks_x),
        centre=_per_size(total_x * total_y, partition),
        square_x=tuple(
            int(raw) - shift
            for raw, shift in zip((ranks_x**2).sum(axis=0), _per_size(total_x**2, partition), strict=True)
        ),
        square_y=int((ranks_y**2).sum()) - _per_size(total_y**2, partition)[0],
    )


def spearman(x: ArrayLike, y: ArrayLike) -> FloatArray:
    """Return Spearman's rho of each column of ``x`` (n, K) with ``y`` (n,); NaN where one does not vary.

    >>> spearman([[1.0], [2.0], [3.0]], [30.0, 20.0, 10.0]).tolist()
    [-1.0]
    """
    return stratified_rho(x, y, np.zeros(len(np.asarray(y)), dtype=np.int64))


def stratified_rho(x: ArrayLike, y: ArrayLike, strata: ArrayLike) -> FloatArray:
    """Return rho_s of each column of ``x`` (n, K) with ``y`` (n,) within ``strata`` (n,); NaN where undefined."""
    return rank_design(x, y, strata).rho


def stratum_means(values: FloatArray, codes: IntArray) -> FloatArray:
    """Return the mean of each unit's stratum, same shape as ``values`` (n, ...); ``codes`` (n,) may have gaps."""
    present, inverse, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    sums = np.zeros((len(present), *values.shape[1:]))
    np.add.at(sums, inverse, values)
    result: FloatArray = (sums.T / sizes).T[inverse]
    return result


def _stratum_sums(ranks: IntArray, strata: Strata) -> np.ndarray:
    """Return the sums of ``ranks`` (n, K) in each stratum, (S, K), as Python integers: products must not overflow."""
    order = np.concatenate(strata.members) if len(strata.sizes) else np.zeros(0, dtype=np.int64)
    starts = np.concatenate(([0], np.cumsum(strata.sizes)[:-1])).astype(np.int64)
    return (
        np.add.reduceat(ranks[order], starts, axis=0).astype(object) if len(order) else np.zeros((0, 1), dtype=object)
    )


def _per_size(products: np.ndarray, strata: Strata) -> tuple[Fraction, ...]:
    """Return ``sum over strata products[s] / sizes[s]``, one fraction for each column.

    Strata of one size share a denominator, so that there are as many fractions to add as sizes, not as strata.
    """
    columns = products.shape[1]
    total = [Fraction(0)] * columns
    for size in np.unique(strata.sizes):
        numerators = products[strata.sizes == size].sum(axis=0)
        total = [t + Fraction(int(numerator), int(size)) for t, numerator in zip(total, numerators, strict=True)]
    return tuple(total)


def _ratio(numerator: Fraction, square: Fraction) -> float:
    """Return ``numerator / sqrt(square)``, exactly +-1 where it is; NaN where ``square`` is 0."""
    if square == 0:
        return nan
    if numerator * numerator == square:
        return copysign(1.0, numerator)
    return float(numerator) / sqrt(square)
