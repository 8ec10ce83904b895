"""The exact permutation null of a rank statistic, ties included.

``T = sum over i of x_i y_pi(i)`` over all permutations pi within strata, x and y doubled mid-ranks (integers). Its tail
is counted, not approximated:

- one stratum of n <= 14: dynamic programming over subsets, meeting in the middle. ``F[S]`` counts the values that the
  lower half of x makes with the subset S of y, ``G[R]`` what the upper half makes with R; every permutation is one S
  with its complement R. That is C(14, 7) = 3,432 pairs instead of 14! = 8.7e10 permutations.
- several strata, all small: T is a sum of independent parts; each part is enumerated and the parts are convolved.

Counts stay below 14! < 2^53, so nothing is rounded before the last division.
"""

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import permutations
from math import factorial, gcd, prod

import numpy as np
from numpy.typing import NDArray

from shared.statistics.arrays import FloatArray, IntArray
from shared.statistics.ranks import RankedDesign

SmallIntArray = NDArray[np.int16]

MOST_UNITS_IN_ONE_STRATUM = 14
_SHORT_TABLES = 200_000  # 14 units without ties: 238 x 330
_MOST_UNITS_IN_A_STRATUM = 7  # 5,040 orders: enumerated
_MOST_CONVOLUTION_STEPS = 50_000_000  # of a whole family: under half a second


def can_be_exact(design: RankedDesign) -> bool:
    """Whether the null of every column can be counted exactly at a small cost.

    The answer depends on the design alone, never on the machine: one stratum of at most 14 units, or several of at
    most 7 whose convolution is short.
    """
    sizes = design.strata.sizes[design.strata.sizes > 1]
    if len(sizes) <= 1:
        return int(sizes.sum()) <= MOST_UNITS_IN_ONE_STRATUM
    if int(sizes.max()) > _MOST_UNITS_IN_A_STRATUM:
        return False
    widths = [_span(design, members) for members in design.strata.members if len(members) > 1]
    steps = sum(
        min(factorial(int(size)), width) * total
        for size, width, total in zip(sizes, widths, np.cumsum(widths), strict=True)
    )
    return bool(steps * design.n_columns <= _MOST_CONVOLUTION_STEPS)


def exact_p(design: RankedDesign, upper: IntArray, lower: IntArray) -> FloatArray:
    """Return, for each column, the exact probability of ``T >= upper or T <= lower``, (K,).

    ``upper`` and ``lower`` come from `RankedDesign.thresholds`. A column that does not vary gets 1.
    """
    members = [m for m in design.strata.members if len(m) > 1]
    alone = sum(
        (design.x[m[0]] * design.y[m[0]] for m in design.strata.members if len(m) == 1),
        start=np.zeros(design.n_columns, dtype=np.int64),
    )
    result = np.ones(design.n_columns)
    for k in range(design.n_columns):
        if design.square_x[k] == 0 or design.square_y == 0:
            continue
        x, top, bottom = design.x[:, k], int(upper[k] - alone[k]), int(lower[k] - alone[k])
        if len(members) == 1:
            result[k] = _one_stratum(x[members[0]], design.y[members[0]], top, bottom)
        else:
            result[k] = _several_strata([(x[m], design.y[m]) for m in members], top, bottom)
    return result


def _span(design: RankedDesign, members: IntArray) -> int:
    """Return the largest width that T can have within one stratum."""
    ranks = np.sort(design.y[members])
    columns = np.sort(design.x[members], axis=0)
    return int((ranks @ columns - ranks[::-1] @ columns).max()) + 1


def _one_stratum(x: IntArray, y: IntArray, upper: int, lower: int) -> float:
    null = _halves(tuple(sorted(x.tolist())), tuple(sorted(y.tolist())))
    return null.tail(upper, lower)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Halves:
    """The null of one stratum as pairs of subsets: ``T = origin + unit (s1 + s2 + offset[S])``.

    Attributes
    ----------
    low : (C, L1) small int
        ``low[S, s1]``: how many ways the lower half of x makes s1 with the subset S of y.
    high_from : (C, L2 + 1) small int
        ``high_from[S, s]``: how many ways the upper half makes at least s with the complement of S.
    offset : (C,) int
        Ascending.
    origin, unit, orders : int
    """

    low: SmallIntArray
    high_from: SmallIntArray
    offset: IntArray
    origin: int
    unit: int
    orders: int

    def tail(self, upper: int, lower: int) -> float:
        at_least = self._count_from(-((self.origin - upper) // self.unit))  # the ceiling of the quotient
        at_most = self.orders - self._count_from((lower - self.origin) // self.unit + 1)
        return min(1.0, (at_least + at_most) / self.orders)

    @cached_property
    def _from(self) -> tuple[int, ...]:
        """How many permutations make at least each value, up from 0: all pairs convolved once.

        Worth it where tables are short, for most columns have no ties and then all share this one null.
        """
        longest = self.low.shape[1] + self.high_from.shape[1] + int(self.offset.max())
        ways = np.zeros(longest)
        high = -np.diff(self.high_from, axis=1)
        for low_row, high_row, offset in zip(self.low, high, self.offset, strict=True):
            low_at, high_at = np.flatnonzero(low_row), np.flatnonzero(high_row)
            start = int(offset + low_at[0] + high_at[0])
            joined = np.convolve(
                low_row[low_at[0] : low_at[-1] + 1].astype(np.float64),
                high_row[high_at[0] : high_at[-1] + 1].astype(np.float64),
            )
            ways[start : start + len(joined)] += joined  # whole numbers below 2^53
        return tuple(int(count) for count in ways[::-1].cumsum()[::-1])

    def _count_from(self, threshold: int) -> int:
        if self.low.shape[1] * self.high_from.shape[1] <= _SHORT_TABLES:
            if threshold >= len(self._from):
                return 0
            return self._from[max(0, threshold)]
        wide, most = self.high_from.shape[1], self.low.shape[1]
        count = 0
        for offset, pairs in self._pairs:
            low, high = self.low[pairs], self.high_from[pairs]
            need = threshold - offset  # of both halves; s1 of the lower leaves need - s1 to the upper
            start, stop = max(0, need - wide + 1), max(0, min(most, need))
            if start < stop:
                left_over = high[:, need - stop + 1 : need - start + 1][:, ::-1]
                count += int(np.einsum("ij,ij->", low[:, start:stop], left_over, dtype=np.int64))
            if stop < most:  # nothing is left to the upper half: all its ways count
                count += int(low[:, stop:].sum(axis=1, dtype=np.int64) @ high[:, 0].astype(np.int64))
        return count

    @cached_property
    def _pairs(self) -> tuple[tuple[int, slice], ...]:
        """The pairs of each offset; rows are sorted by it."""
        values, starts = np.unique(self.offset, return_index=True)
        stops = [*starts[1:].tolist(), len(self.offset)]
        return tuple(
            (offset, slice(start, stop))
            for offset, start, stop in zip(values.tolist(), starts.tolist(), stops, strict=True)
        )


@lru_cache(maxsize=64)
def _halves(x: tuple[int, ...], y: tuple[int, ...]) -> _Halves:
    """Return the null of sorted doubled ranks. Cached: columns with the same ties share it."""
    n, half = len(x), len(x) // 2
    step_x, step_y = _common_step(x), _common_step(y)
    steps_x = [(value - x[0]) // step_x for value in x]
    steps_y = [(value - y[0]) // step_y for value in y]
    turn = steps_x[half]  # the upper half counts from its own lowest rank: shorter tables
    low_masks, low = _subset_sums(steps_x[:half], steps_y)
    high_masks, high = _subset_sums([value - turn for value in steps_x[half:]], steps_y)
    row = {mask: index for index, mask in enumerate(high_masks)}
    complement = np.array([row[((1 << n) - 1) ^ mask] for mask in low_masks], dtype=np.int64)
    rest = [sum(steps_y) - sum(value for e, value in enumerate(steps_y) if mask >> e & 1) for mask in low_masks]
    at_least = np.zeros((high.shape[0], high.shape[1] + 1), dtype=np.int16)
    at_least[:, :-1] = high[:, ::-1].cumsum(axis=1, dtype=np.int16)[:, ::-1]
    offset = turn * np.array(rest, dtype=np.int64)
    by_offset = np.argsort(offset, kind="stable")
    return _Halves(
        low=low[by_offset],
        high_from=at_least[complement[by_offset]],
        offset=offset[by_offset],
        # x_i = x_0 + step_x u_i and y_j = y_0 + step_y v_j, so sum(x y) is this constant plus step_x step_y sum(u v)
        origin=n * x[0] * y[0] + x[0] * step_y * sum(steps_y) + y[0] * step_x * sum(steps_x),
        unit=step_x * step_y,
        orders=factorial(n),
    )


def _subset_sums(x: list[int], y: list[int]) -> tuple[tuple[int, ...], SmallIntArray]:
    """Return the subsets of y as large as x, as bit masks, and how often each value of ``sum(x y)`` arises, (C, L).

    One layer a value of x: ``f_j[S] = sum over e in S of f_(j-1)[S without e], shifted by x_j y_e``.
    """
    ways = np.ones((1, 1), dtype=np.int16)  # at most 7! ways
    for j, value in enumerate(x, start=1):
        # No wider than the j largest partners make it.
        width = sum(a * b for a, b in zip(sorted(x[:j]), sorted(y)[len(y) - j :], strict=True)) + 1
        before = ways.shape[1]
        layer = np.zeros((len(_masks(len(y), j)), width), dtype=np.int16)
        for partner, (rows, parents) in zip(y, _parents(len(y), j), strict=True):
            shift = value * partner
            reach = min(before, width - shift)  # what lies beyond is empty: no subset makes it
            layer[rows, shift : shift + reach] += ways[parents, :reach]
        ways = layer
    return _masks(len(y), len(x)), ways


@cache
def _masks(n: int, ones: int) -> tuple[int, ...]:
    """Return all n-bit masks with so many ones, ascending."""
    return tuple(mask for mask in range(1 << n) if mask.bit_count() == ones)


@cache
def _parents(n: int, ones: int) -> tuple[tuple[IntArray, IntArray], ...]:
    """Return, for each bit, the rows of the masks that hold it, and the rows of these masks without it."""
    masks = np.array(_masks(n, ones), dtype=np.int64)
    smaller = np.array(_masks(n, ones - 1), dtype=np.int64)
    held = [np.flatnonzero(masks >> bit & 1) for bit in range(n)]
    return tuple((rows, np.searchsorted(smaller, masks[rows] ^ (1 << bit))) for bit, rows in enumerate(held))


def _common_step(ranks: tuple[int, ...]) -> int:
    """Return the largest integer of which all distances between ranks are multiples; 1 where all are equal."""
    return gcd(*(rank - ranks[0] for rank in ranks)) or 1


def _several_strata(parts: list[tuple[IntArray, IntArray]], upper: int, lower: int) -> float:
    """Return the tail of a sum of independent parts: each enumerated, joined into two halves, and the halves met."""
    step_x = gcd(*(int(d) for x, _ in parts for d in x - x[0])) or 1
    step_y = gcd(*(int(d) for _, y in parts for d in y - y[0])) or 1
    unit, origin = step_x * step_y, 0
    nulls = []
    for x, y in parts:
        u, v = (x - x.min()) // step_x, (y - y.min()) // step_y
        values, counts = np.unique(v[all_orders(len(v))] @ u, return_counts=True)
        # Of sum(x y) in this part: a constant, plus unit times sum(u v), whose least value is taken off too.
        origin += int(x.min() * y.sum() + y.min() * step_x * u.sum() + unit * values[0])
        nulls.append((values - values[0], counts / counts.sum()))
    low, high = _joined(nulls[::2]), _joined(nulls[1::2])
    at_least = np.append(high[::-1].cumsum()[::-1], 0.0)

    def probability_from(threshold: int) -> float:
        return float(low @ at_least[np.clip(threshold - np.arange(len(low)), 0, len(high))])

    below = np.append(0.0, high.cumsum())

    def probability_below(threshold: int) -> float:
        return float(low @ below[np.clip(threshold - np.arange(len(low)), 0, len(high))])

    tail = probability_from(-((origin - upper) // unit)) + probability_below((lower - origin) // unit + 1)
    orders = prod(factorial(len(x)) for x, _ in parts)
    return min(1.0, max(tail, 1.0 / orders))  # the observed order is always reached


def _joined(nulls: list[tuple[IntArray, FloatArray]]) -> FloatArray:
    """Return the null of a sum of independent parts, from 0 up: shares, for products of factorials would pass 2^53."""
    ways = np.ones(1)
    for values, shares in nulls:
        joined = np.zeros(len(ways) + int(values[-1]))
        for value, share in zip(values.tolist(), shares.tolist(), strict=True):
            joined[value : value + len(ways)] += share * ways
        ways = joined
    return ways


@cache
def all_orders(n: int) -> IntArray:
    """Return all orders of n things, (n!, n); read-only, the identity first."""
    result = np.array(list(permutations(range(n))), dtype=np.int64).reshape(-1, n)
    result.setflags(write=False)
    return result
