"""Permutation within strata: p of each column, and single-step max-T over the family of columns.

Rules
-----
- Units are exchanged within strata only.
- Where all orders are few (at most 400,000: 9 units, or 4 sites of 3) every one is visited, and both p are exact.
- Otherwise each column's own p is exact where it can be (`shared.statistics.exact`), and B seeded draws serve the rest:
  ``p = (b + 1) / (B + 1)``, which is a valid p for any B. The same draws serve all columns.
- Adjusted p: the share of permutations in which the best column of the family does as well as the column in question
  (Westfall and Young 1993, single step). It is never below the column's own p.
- A column that does not vary has p = 1 and adjusted p = 1, and stays in the family.

The sums are exact integers (`shared.statistics.ranks`) and each block of draws has its own generator, so the counts are
the same bit for bit on any machine, with any number of threads.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from math import factorial, lcm, prod
from typing import Literal, TypeVar

import numpy as np

from shared.statistics.arrays import BoolArray, FloatArray, IntArray, Tail
from shared.statistics.exact import all_orders, can_be_exact, exact_p
from shared.statistics.ranks import RankedDesign
from shared.statistics.streams import block_generator

MOST_ORDERS_TO_VISIT = 400_000
_VALUES_IN_A_BLOCK = 1 << 21  # 16 MiB of float64: the memory of one thread
_LARGEST_EXACT = 2**53
_ULP = 2.0**-52

_T = TypeVar("_T")
Method = Literal["exact", "permutation", "undefined"]
Blocks = Iterator[Callable[[], FloatArray]]
"""Deferred blocks of permuted responses, each ``(rows, n)``; computed where they are consumed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """How many permutations did as well as the observed order.

    Attributes
    ----------
    column : (K,) int
        Per column, by its own statistic.
    family : (K,) int
        Per column, by the best statistic of the family.
    orders : int
        How many permutations were looked at.
    """

    column: IntArray
    family: IntArray
    orders: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PermutationTest:
    """p of each column, (K,), and how it was had."""

    p: FloatArray
    p_adjusted: FloatArray
    method: Method
    method_adjusted: Method
    draws: int


def permutation_test(
    design: RankedDesign, tail: Tail, *, draws: int, entropy: tuple[int, ...], threads: int = 2
) -> PermutationTest:
    """Return p and adjusted p of every column of ``design``.

    Parameters
    ----------
    draws : int
        B, the number of draws where not every order can be visited.
    entropy : tuple of int
        The named stream of the draws (`shared.statistics.streams.named_seed`).
    threads : int
        How many blocks are computed at a time. It does not show in the result.
    """
    upper, lower = design.thresholds(tail)
    orders = _orders(design)
    if orders <= MOST_ORDERS_TO_VISIT:
        tally = tally_permutations(design, tail, every_order(design), threads=threads)
        return PermutationTest(
            p=tally.column / tally.orders,
            p_adjusted=tally.family / tally.orders,
            method="exact",
            method_adjusted="exact",
            draws=0,
        )
    exact = can_be_exact(design)
    own = exact_p(design, upper, lower) if exact else None
    if own is not None and np.count_nonzero(_varies(design)) <= 1:
        return PermutationTest(p=own, p_adjusted=own, method="exact", method_adjusted="exact", draws=0)
    tally = tally_permutations(design, tail, drawn_orders(design, draws, entropy), threads=threads)
    p = (tally.column + 1) / (tally.orders + 1) if own is None else own
    return PermutationTest(
        p=p,
        p_adjusted=np.maximum(p, (tally.family + 1) / (tally.orders + 1)),
        method="permutation" if own is None else "exact",
        method_adjusted="permutation",
        draws=draws,
    )


def tally_permutations(design: RankedDesign, tail: Tail, blocks: Blocks, *, threads: int = 1) -> Tally:
    """Count, over ``blocks`` of permuted doubled ranks of the response, how often each column is reached."""
    upper, lower = (bound.astype(np.float64) for bound in design.thresholds(tail))
    varies = _varies(design)
    x = design.x.astype(np.float64)
    scale, centre, norm, slack = _standardisation(design)
    observed = _directed((scale * np.array(design.observed, dtype=np.float64) - centre) / norm, tail)
    reach = np.where(varies, observed - slack, -np.inf)

    def count(block: Callable[[], FloatArray]) -> tuple[IntArray, IntArray, int]:
        sums = block() @ x
        column = np.count_nonzero((sums >= upper) | (sums <= lower), axis=0)
        best = np.sort(_directed((scale * sums[:, varies] - centre[varies]) / norm[varies], tail).max(axis=1))
        return column, len(best) - np.searchsorted(best, reach, side="left"), len(best)

    column, family, orders = np.zeros(len(upper), dtype=np.int64), np.zeros(len(upper), dtype=np.int64), 0
    if not varies.any():
        orders = sum(len(block()) for block in blocks)
        return Tally(column=column + orders, family=family + orders, orders=orders)
    for block_column, block_family, block_orders in _in_threads(count, blocks, threads):
        column += block_column
        family += block_family
        orders += block_orders
    return Tally(column=column, family=family, orders=orders)


def drawn_orders(design: RankedDesign, draws: int, entropy: tuple[int, ...]) -> Blocks:
    """Yield ``draws`` random orders of the response within strata, in blocks with generators of their own."""
    order = np.concatenate(design.strata.members)
    groups = _equal_sizes(design)
    place = np.empty(len(order), dtype=np.int64)
    place[np.concatenate([units.reshape(-1) for units in groups])] = np.arange(len(order))
    rows = max(1, _VALUES_IN_A_BLOCK // max(1, len(order)))

    def block(number: int, size: int) -> FloatArray:
        generator = block_generator(entropy, number)
        parts = []
        for units in groups:  # (strata of one size, units of a stratum)
            part = np.broadcast_to(design.y[units].astype(np.float64), (size, *units.shape)).copy()
            generator.permuted(part, axis=2, out=part)
            parts.append(part.reshape(size, -1))
        return np.concatenate(parts, axis=1)[:, place]

    for number, start in enumerate(range(0, draws, rows)):
        yield partial(block, number, min(rows, draws - start))


def every_order(design: RankedDesign) -> Blocks:
    """Yield every order of the response within strata once, the observed one first, in blocks."""
    members = [units for units in design.strata.members if len(units) > 1]
    total = _orders(design)
    rows = max(1, _VALUES_IN_A_BLOCK // max(1, len(design.y)))

    def block(start: int, stop: int) -> FloatArray:
        number = np.arange(start, stop)
        result = np.broadcast_to(design.y.astype(np.float64), (len(number), len(design.y))).copy()
        for units in members:
            number, which = np.divmod(number, factorial(len(units)))
            result[:, units] = design.y[units][all_orders(len(units))[which]]
        return result

    for start in range(0, total, rows):
        yield partial(block, start, min(start + rows, total))


def smallest_reachable_p(design: RankedDesign, tail: Tail) -> float:
    """Return a bound below which no shares whatever could bring an exact p, given this potency and these strata.

    It is 1 over the number of distinguishable orders of the potency; twice that for two sides where every stratum's
    ranks are symmetric, for then each order has a mirror image that is as extreme (4 sites of 2 lots: 2/16 = .125).
    """
    orders, symmetric = 1, True
    for units in design.strata.members:
        values, repeats = np.unique(design.y[units], return_counts=True)
        orders *= factorial(len(units)) // prod(factorial(int(repeat)) for repeat in repeats)
        mirrored = values + values[::-1]
        symmetric = symmetric and bool((mirrored == mirrored[0]).all() and (repeats == repeats[::-1]).all())
    if orders == 1:
        return 1.0
    return (2 if tail == "two-sided" and symmetric else 1) / orders  # integers: a huge divisor gives 0, no overflow


def _orders(design: RankedDesign) -> int:
    return prod(factorial(int(size)) for size in design.strata.sizes)


def _varies(design: RankedDesign) -> BoolArray:
    return np.array([square != 0 and design.square_y != 0 for square in design.square_x])


def _standardisation(design: RankedDesign) -> tuple[float, FloatArray, FloatArray, float]:
    """Return (scale, centre, norm, slack): column k's statistic is ``(scale T - centre[k]) / norm[k]``.

    The scale is the least common multiple of the stratum sizes wherever all products stay exact in float64: numerator
    and square are then integers, and the root and the quotient are each rounded once. Statistics of two columns that
    are equal in truth therefore differ by less than 4 units in the last place, which is the slack: such a tie
    counts as reached. Beyond that range (hundreds of units in strata of many sizes) the centre is rounded too.
    """
    scale = lcm(*(int(size) for size in design.strata.sizes))
    largest = max((abs(t) for t in design.observed), default=0) + int((design.y**2).sum())
    exact = scale * (largest + int((design.x**2).sum(axis=0).max(initial=0))) < _LARGEST_EXACT
    factor = scale if exact else 1
    centre = np.array([float(factor * c) for c in design.centre])
    norm = np.array([float(factor * factor * square) ** 0.5 or 1.0 for square in design.square_x])
    largest_statistic = float(np.max(np.abs((factor * np.array(design.observed, dtype=np.float64) - centre) / norm)))
    rounding = 0.0 if exact else float(np.max(np.abs(centre) / norm)) * _ULP
    return float(factor), centre, norm, 4 * _ULP * largest_statistic + rounding


def _directed(statistic: FloatArray, tail: Tail) -> FloatArray:
    match tail:
        case "two-sided":
            return np.abs(statistic)
        case "greater":
            return statistic
        case "less":
            return -statistic


def _equal_sizes(design: RankedDesign) -> list[IntArray]:
    """Return the strata grouped by size, each group (strata, units): one call shuffles a group."""
    members = design.strata.members
    sizes = sorted({len(units) for units in members})
    return [np.stack([units for units in members if len(units) == size]) for size in sizes]


def _in_threads(work: Callable[[Callable[[], FloatArray]], _T], blocks: Blocks, threads: int) -> Iterator[_T]:
    """Apply ``work`` to each block, a few at a time: memory is bounded by the threads, not by the draws."""
    first = list(islice(blocks, 2))
    blocks = chain(first, blocks)
    if threads <= 1 or len(first) < 2:  # noqa: PLR2004 - one block needs no pool
        yield from map(work, blocks)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        pending = []
        for block in blocks:
            pending.append(pool.submit(work, block))
            if len(pending) > threads:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()
