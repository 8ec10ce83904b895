"""The association of columns that miss units with one response: the same rank engine, one family.

Lot-level attributes have gaps where cluster shares have none. The rules:

1. Each column is tested over the units that have it: its rho_s, its own p and its interval are `associate`'s on those
   units, as if there were no others.
2. Values below a limit of detection carry no number. They rank lowest, all tied with each other.
3. The family is corrected by single-step max-T over draws that permute the response of ALL units within strata; each
   column's statistic is then had anew over its own units, which is exact under the null whatever is missing where.
   Columns of different n are compared by ``rho_s sqrt(n - s)`` (s strata with two units or more), whose variance under
   permutation is near 1 for every n (1 in truth for one stratum: var(rho) = 1 / (n - 1), Kendall and Gibbons 1990).
4. Without a gap this is `associate` itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from shared.errors import DesignError, InputError
from shared.statistics.arrays import BoolArray, FloatArray, IntArray
from shared.statistics.association import Associations, associate
from shared.statistics.multiplicity import q_values
from shared.statistics.ranks import RankedDesign, rank_design
from shared.statistics.streams import block_generator

_VALUES_IN_A_BLOCK = 1 << 20
_SLACK = 1e-9  # two statistics closer than this are a tie, and a tie counts as reached


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnAnswer:
    """One column: its association alone, or why it has none; ``p_adjusted`` is over the family, 1 without an answer."""

    association: Associations | None
    p_adjusted: float
    refusal: DesignError | None = None


def below_ranks_lowest(values: FloatArray, below: BoolArray) -> FloatArray:
    """Return ``values`` (n,) with those marked ``below`` (n,) under all others, tied; NaN stays missing.

    >>> below_ranks_lowest(np.array([3.0, np.nan, 2.0]), np.array([False, True, False])).tolist()
    [3.0, 1.0, 2.0]
    """
    known = values[~below & ~np.isnan(values)]
    lowest = float(known.min()) - 1.0 if len(known) else 0.0
    return np.where(below, lowest, values)


def associate_with_gaps(
    x: ArrayLike,
    y: ArrayLike,
    strata: ArrayLike,
    *,
    alpha: float = 0.05,
    confidence: float = 0.95,
    draws: int = 9_999,
    entropy: tuple[int, ...] = (0,),
    threads: int = 2,
) -> tuple[ColumnAnswer, ...]:
    """Return the answer for each column of ``x`` (n, K), NaN where a unit lacks it; two-sided.

    Parameters
    ----------
    y : (n,)
        The response, finite.
    strata : (n,)
        Labels.
    draws : int
        B, where the null cannot be visited in full.
    entropy : tuple of int
        The named stream of the draws.

    Raises
    ------
    InputError
        If shapes do not agree or a value is infinite.
    """
    values = np.asarray(x, dtype=np.float64)
    response, labels = np.asarray(y, dtype=np.float64), np.asarray(strata)
    if values.ndim != 2 or response.shape != (len(values),) or labels.shape != (len(values),):  # noqa: PLR2004
        raise InputError(
            "expected columns (n, K), response (n,) and strata (n,), "
            f"found {values.shape}, {response.shape}, {labels.shape}"
        )
    present = ~np.isnan(values)
    alone: list[Associations | None] = []
    refusals: list[DesignError | None] = []
    for k in range(values.shape[1]):
        here = present[:, k]
        try:
            answer = associate(
                values[here][:, [k]],
                response[here],
                labels[here],
                alpha=alpha,
                confidence=confidence,
                draws=draws,
                entropy=(*entropy, k),
                threads=threads,
            )
        except DesignError as error:
            alone.append(None)
            refusals.append(error)
        else:
            alone.append(answer)
            refusals.append(None)
    tested = [k for k, answer in enumerate(alone) if answer is not None]
    adjusted = np.ones(values.shape[1])
    if tested:
        adjusted[tested] = _adjusted(values[:, tested], response, labels, alone, tested, draws, entropy, threads)
    return tuple(
        ColumnAnswer(association=alone[k], p_adjusted=float(adjusted[k]), refusal=refusals[k])
        for k in range(values.shape[1])
    )


def order_of(answers: tuple[ColumnAnswer, ...]) -> list[int]:
    """Return the columns best first: smallest adjusted p, then own p, then largest |rho|, then their own order."""

    def key(k: int) -> tuple[float, float, float, int]:
        found = answers[k].association
        if found is None:
            return 2.0, 2.0, 0.0, k
        return answers[k].p_adjusted, float(found.p[0]), -abs(float(found.rho[0])), k

    return sorted(range(len(answers)), key=key)


def family_q_values(answers: tuple[ColumnAnswer, ...]) -> FloatArray:
    """Return the Benjamini-Hochberg q of each column, (K,); a column without an answer counts with p = 1."""
    return q_values(np.array([1.0 if each.association is None else float(each.association.p[0]) for each in answers]))


def _adjusted(
    x: FloatArray,
    y: FloatArray,
    strata: np.ndarray,
    alone: list[Associations | None],
    tested: list[int],
    draws: int,
    entropy: tuple[int, ...],
    threads: int,
) -> FloatArray:
    own = np.array([float(answer.p[0]) for k in tested if (answer := alone[k]) is not None])
    if len(tested) == 1:
        return own
    whole = np.isfinite(x).all(axis=1)
    if whole.all():
        together = associate(x, y, strata, alpha=1.0, draws=draws, entropy=entropy, threads=threads)
        return np.asarray(np.maximum(own, together.p_adjusted), dtype=np.float64)
    columns = [_Column.of(x[:, k], y, strata) for k in range(len(tested))]
    observed = np.array([column.statistics(y[None, :])[0] for column in columns])
    reached, total = np.zeros(len(tested), dtype=np.int64), 0
    for block in _orders(y, strata, draws, entropy):
        best = np.max([column.statistics(block) for column in columns], axis=0)
        reached += np.count_nonzero(best[:, None] >= observed[None, :] - _SLACK, axis=0)
        total += len(block)
    return np.asarray(np.maximum(own, (reached + 1) / (total + 1)), dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Column:
    """One column over its own units: its centred ranks, ready to meet any order of the response."""

    here: IntArray  # the units that have it, stratum by stratum
    sizes: IntArray  # of the strata among them
    centred: FloatArray  # of the column's doubled ranks
    norm: float
    weight: float  # sqrt(n - s)

    @classmethod
    def of(cls, x: FloatArray, y: FloatArray, strata: np.ndarray) -> "_Column":
        own = np.flatnonzero(~np.isnan(x)).astype(np.int64)
        design: RankedDesign = rank_design(x[own][:, None], y[own], strata[own])
        order = np.concatenate(design.strata.members)
        sizes = design.strata.sizes
        centred = _centred(design.x[order, 0].astype(np.float64)[None, :], sizes)[0]
        freedom = design.strata.informative_units - design.strata.informative
        return cls(
            here=own[order],
            sizes=sizes,
            centred=centred,
            norm=float(np.sqrt(centred @ centred)),
            weight=float(np.sqrt(max(freedom, 1))),
        )

    def statistics(self, responses: FloatArray) -> FloatArray:
        """Return |rho_s| sqrt(n - s) for each row of ``responses`` (B, all units)."""
        ranks = _centred(2.0 * rankdata(responses[:, self.here], axis=1), self.sizes)
        norms = np.sqrt((ranks * ranks).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            rho = (ranks @ self.centred) / (norms * self.norm)
        return np.asarray(np.abs(np.nan_to_num(rho)) * self.weight, dtype=np.float64)


def _centred(ranks: FloatArray, sizes: IntArray) -> FloatArray:
    """Return ``ranks`` (B, n) less the mean of each stratum; strata stand side by side."""
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    means = np.add.reduceat(ranks, starts, axis=1) / sizes
    return np.asarray(ranks - np.repeat(means, sizes, axis=1), dtype=np.float64)


def _orders(y: FloatArray, strata: np.ndarray, draws: int, entropy: tuple[int, ...]) -> Iterator[FloatArray]:
    """Yield ``draws`` random orders of ``y`` within strata, in blocks with generators of their own."""
    members = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    rows = max(1, _VALUES_IN_A_BLOCK // max(1, len(y)))
    for number, start in enumerate(range(0, draws, rows)):
        size = min(rows, draws - start)
        generator = block_generator(entropy, number)
        block = np.broadcast_to(y, (size, len(y))).copy()
        for units in members:
            block[:, units] = generator.permuted(block[:, units], axis=1)
        yield block
