"""The association of each cluster's share with potency, over units within strata: the main job in one call.

A unit is a donor (the lot where a donor has one lot). The statistic, its null, the adjustment and the interval are in
`ranks`, `permutation`, `multiplicity` and `intervals`; this module puts the question once and refuses the designs that
cannot answer it. p never comes from the t approximation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from shared.errors import DesignError, InputError
from shared.statistics.arrays import FloatArray, Tail
from shared.statistics.intervals import correlation_interval
from shared.statistics.multiplicity import q_values
from shared.statistics.permutation import Method, permutation_test, smallest_reachable_p
from shared.statistics.ranks import RankedDesign, rank_design, spearman

_FEWEST_UNITS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Associations:
    """The answer for K clusters; every array is (K,).

    Attributes
    ----------
    rho, rho_pooled : float
        The stratified statistic (primary) and Spearman's rho over all units (descriptive). NaN: not defined.
    p, p_adjusted, q : float in (0, 1]
        The column's own p, max-T over the family, Benjamini-Hochberg. 1 where rho is not defined.
    low, high : float
        The interval of rho; NaN where n leaves no degree of freedom.
    method, method_adjusted : str
        How p and p_adjusted were had: "exact" or "permutation".
    n : int
        Units that share a stratum with another.
    strata : int
        Strata of two units or more.
    smallest_p : float
        The smallest p that this potency and these strata could have brought.
    """

    rho: FloatArray
    rho_pooled: FloatArray
    p: FloatArray
    p_adjusted: FloatArray
    q: FloatArray
    low: FloatArray
    high: FloatArray
    method: Method
    method_adjusted: Method
    n: int
    strata: int
    smallest_p: float

    def order(self) -> list[int]:
        """Return the columns best first: smallest p, then largest |rho|, then their own order."""
        strength = np.nan_to_num(np.abs(self.rho), nan=-1.0)
        return sorted(range(len(self.p)), key=lambda k: (self.p[k], -strength[k], k))


def associate(
    x: ArrayLike,
    y: ArrayLike,
    strata: ArrayLike,
    *,
    tail: Tail = "two-sided",
    alpha: float = 0.05,
    confidence: float = 0.95,
    draws: int = 9_999,
    entropy: tuple[int, ...] = (0,),
    threads: int = 2,
) -> Associations:
    """Return the association of every column of ``x`` with ``y``.

    Parameters
    ----------
    x : (n, K)
        Shares of the unit in each cluster of the family; all columns, the constant ones too.
    y : (n,)
        Potency; its ranks alone matter.
    strata : (n,)
        Labels; units are exchanged within equal labels only.
    draws : int
        B, where the null cannot be visited or counted in full.
    entropy : tuple of int
        The named stream of the draws.

    Raises
    ------
    InputError
        If a value is not finite or the shapes do not agree.
    DesignError
        ``too-few-units``, ``no-stratum-with-two-units``, ``no-variation-in-potency``, ``no-variation-in-shares`` or
        ``alpha-unreachable``: the design cannot answer.
    """
    if draws < 1:
        raise InputError(f"expected at least one draw, found {draws}")
    _refuse_too_few(len(np.asarray(y)))
    design = rank_design(x, y, strata)
    smallest = refuse_unanswerable(design, tail, alpha)
    test = permutation_test(design, tail, draws=draws, entropy=entropy, threads=threads)
    if test.method == "permutation" and 1 / (draws + 1) > alpha:
        raise DesignError(
            "alpha-unreachable",
            f"expected enough draws to reach alpha {alpha:g}, found {draws}: the smallest p is {1 / (draws + 1):.3g}",
            hint="ask for more draws in the plan",
        )
    n, parts = design.strata.informative_units, design.strata.informative
    ends = [correlation_interval(float(r), n, strata=parts, confidence=confidence) for r in design.rho]
    return Associations(
        rho=design.rho,
        rho_pooled=spearman(x, y),
        p=test.p,
        p_adjusted=test.p_adjusted,
        q=q_values(test.p),
        low=np.array([end[0] for end in ends]),
        high=np.array([end[1] for end in ends]),
        method=test.method,
        method_adjusted=test.method_adjusted,
        n=n,
        strata=parts,
        smallest_p=smallest,
    )


def refuse_unanswerable(design: RankedDesign, tail: Tail, alpha: float) -> float:
    """Return the smallest reachable p, refusing a design that cannot answer at ``alpha``.

    Raises
    ------
    DesignError
        As `associate`; the code names the reason.
    """
    n = len(design.y)
    _refuse_too_few(n)
    if design.strata.informative == 0:
        raise DesignError(
            "no-stratum-with-two-units",
            f"expected a stratum with at least 2 units, found {n} units in {n} strata",
            hint="a site needs two lots of one tissue, or the plan other strata",
        )
    if design.square_y == 0:
        raise DesignError(
            "no-variation-in-potency",
            "expected potency to differ between units of a stratum, found all of them equal",
            hint="look at the assay's limit of detection and at its declared decimals",
        )
    if not any(design.square_x):
        raise DesignError(
            "no-variation-in-shares",
            "expected the share of some cluster to differ between units of a stratum, found all of them equal",
            hint="look at the mapping: are all cells in one cluster, or all unassigned?",
        )
    smallest = smallest_reachable_p(design, tail)
    if smallest > alpha:
        raise DesignError(
            "alpha-unreachable",
            f"expected a design that can reach alpha {alpha:g}, found a smallest possible p of {smallest:.3g} "
            f"({n} units in {len(design.strata.sizes)} strata)",
            hint="more lots a site, or strata that hold more of them",
        )
    return smallest


def _refuse_too_few(n: int) -> None:
    if n < _FEWEST_UNITS:
        raise DesignError(
            "too-few-units",
            f"expected at least {_FEWEST_UNITS} units of analysis (donors), found {n}",
            hint="collect more lots of other donors",
        )
