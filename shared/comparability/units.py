"""What a comparison reads: units of two arms, and what each lot says of the method.

Rules
-----
- The unit is a donor within an arm and a stratum; its values are means over its lots. A donor with lots on both sides
  makes two units: the pairing is not used, which errs on the side of finding no likeness.
- A part is the cells of a cluster among the cells of all clusters, as a centred log ratio; no cell counts as half a
  cell. Cells of no cluster are no part: more of them after the change speaks against the mapping, and is judged there.
- A suppressed count is an interval; so are the log ratios of its lot, with ends that hold whatever the count was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from shared.comparability.findings import ReferenceRange
from shared.statistics.arrays import FloatArray, IntArray

_HALF_A_CELL = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmUnits:
    """Units of two arms, one entry a unit.

    Attributes
    ----------
    after : (n,) bool
        Whether the unit was made after the change.
    strata, donors : tuple of str, n
        Site and tissue; the donor.
    lots : (n,) int
        How many lots the unit holds.
    potency : (n,) float
        Log potency.
    parts, parts_low, parts_high : (n, K) float
        Centred log ratios: the middle, and what they may be at least and at most.
    """

    after: NDArray[np.bool_]
    strata: tuple[str, ...]
    donors: tuple[str, ...]
    lots: IntArray
    potency: FloatArray
    parts: FloatArray
    parts_low: FloatArray
    parts_high: FloatArray


@dataclass(frozen=True, kw_only=True)
class LotEvidence:
    """What one lot says of assay, reference and mapping.

    ``replicates`` and ``references`` hold natural logarithms, one tuple a run. ``gene_coverage`` is None where it was
    not recorded.
    """

    after: bool
    stratum: str
    replicates: tuple[tuple[float, ...], ...]
    references: tuple[tuple[float, ...], ...]
    gene_coverage: float | None
    unassigned_share: float


@dataclass(frozen=True, kw_only=True)
class ComparedLot:
    """One lot as a unit is made of it."""

    after: bool
    stratum: str
    donor: str
    potency: float
    cells_low: tuple[int, ...]
    cells_high: tuple[int, ...]


def log_ratio_bounds(low: IntArray, high: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the centred log ratios of lots' cells, and the least and most that they can be; all (n, K).

    Parameters
    ----------
    low, high : (n, K)
        Bounds of each count, equal where exact.

    >>> middle, least, most = log_ratio_bounds(np.array([[10, 40]]), np.array([[10, 40]]))
    >>> middle.round(4).tolist(), bool((least == middle).all() and (most == middle).all())
    ([[-0.6931, 0.6931]], True)
    """
    logs_low, logs_high = (np.log(np.maximum(counts, _HALF_A_CELL)) for counts in (low, high))
    logs = np.log(np.maximum((low + high) / 2.0, _HALF_A_CELL))
    n_parts = low.shape[1]
    # A part's ratio rises with its own count and falls with every other.
    mean_low, mean_high = (each.mean(axis=1, keepdims=True) for each in (logs_low, logs_high))
    width = (logs_high - logs_low) / n_parts
    middle = logs - logs.mean(axis=1, keepdims=True)
    exact = (low == high).all(axis=1, keepdims=True)
    least = np.where(exact, middle, logs_low - mean_high + width)
    most = np.where(exact, middle, logs_high - mean_low - width)
    return middle, least, most


def units_of_lots(lots: Sequence[ComparedLot], n_parts: int) -> ArmUnits:
    """Return the units of lots: donors within arm and stratum, in the order of stratum, donor and arm."""
    groups: dict[tuple[str, str, bool], list[int]] = {}
    for number, lot in enumerate(lots):
        groups.setdefault((lot.stratum, lot.donor, lot.after), []).append(number)
    keys = sorted(groups)
    low = np.array([lot.cells_low for lot in lots], dtype=np.int64).reshape(-1, n_parts)
    high = np.array([lot.cells_high for lot in lots], dtype=np.int64).reshape(-1, n_parts)
    tables = log_ratio_bounds(low, high)
    potency = np.array([lot.potency for lot in lots], dtype=np.float64)

    def mean(values: FloatArray) -> FloatArray:
        means = [values[groups[key]].mean(axis=0) for key in keys]
        return np.array(means, dtype=np.float64).reshape(len(keys), *values.shape[1:])

    middle, least, most = (mean(table) for table in tables)
    return ArmUnits(
        after=np.array([after for _, _, after in keys], dtype=np.bool_),
        strata=tuple(stratum for stratum, _, _ in keys),
        donors=tuple(donor for _, donor, _ in keys),
        lots=np.array([len(groups[key]) for key in keys], dtype=np.int64),
        potency=mean(potency),
        parts=middle,
        parts_low=least,
        parts_high=most,
    )


def standing_in(potency: ReferenceRange, parts: Sequence[ReferenceRange], n: int, *, stratum: str) -> ArmUnits:
    """Return ``n`` units before of exactly the given means and SDs: the tests read nothing else of them."""
    scores = norm.ppf((np.arange(n) + 0.5) / n)
    scores = (scores - scores.mean()) / scores.std(ddof=1)

    def column(given: ReferenceRange) -> FloatArray:
        return np.asarray(given.mean + given.sd * scores, dtype=np.float64)

    table = np.column_stack([column(each) for each in parts])
    return ArmUnits(
        after=np.zeros(n, dtype=np.bool_),
        strata=(stratum,) * n,
        donors=tuple(f"reference {number}" for number in range(n)),
        lots=np.ones(n, dtype=np.int64),
        potency=column(potency),
        parts=table,
        parts_low=table,
        parts_high=table,
    )


def joined(first: ArmUnits, second: ArmUnits) -> ArmUnits:
    """Return the units of both."""
    return ArmUnits(
        after=np.concatenate([first.after, second.after]),
        strata=first.strata + second.strata,
        donors=first.donors + second.donors,
        lots=np.concatenate([first.lots, second.lots]),
        potency=np.concatenate([first.potency, second.potency]),
        parts=np.concatenate([first.parts, second.parts]),
        parts_low=np.concatenate([first.parts_low, second.parts_low]),
        parts_high=np.concatenate([first.parts_high, second.parts_high]),
    )
