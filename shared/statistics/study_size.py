"""How many lots a study needs: the formula, and the simulation that checks it.

Formula. With K clusters tested at family-wise alpha (Bonferroni's share of it for each) in S strata, a true rho is
detected with power 1 - b by about ``n = 3 + q + (1 + rho^2 / 2) ((z[a] + z[b]) / atanh rho)^2`` lots, q = S - 1 and
a = alpha / 2K for two sides (Bonett and Wright 2000). It asks for up to four lots more than the simulation does.

Cells. Shares are counted on N cells, and cells of one library are alike (intra-library correlation), so that N counts
as ``N_eff = N / (1 + (N - 1) icc)``. The rho that can be observed is ``rho sqrt(N_eff / (N_eff + a0))``, a0 the
concentration of true shares between lots (`reliability.share_reliability`): more cells cure this only up to 1 / icc.

Simulation. Potency and the driver's share are bivariate normal within sites, with Spearman's rho as asked (Pearson's is
``2 sin(pi rho / 6)``); each site shifts both, independently; the other clusters follow nothing. Each run is tested as
a study would be.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import atanh, ceil, factorial, pi, prod, sin, sqrt

import numpy as np
from scipy.stats import norm

from shared.errors import DesignError, InputError
from shared.statistics.arrays import Tail
from shared.statistics.association import associate
from shared.statistics.reliability import share_reliability
from shared.statistics.streams import block_generator, named_seed

LIBRARY_ICC = 0.0005
CONCENTRATION = 40.0  # donors at 120 and lots within donors at 60: 1 / (1/120 + 1/60)
_MOST_LOTS = 100_000
_SITE_SHIFT = 1.0  # SD of a site's shift, in SDs of the lots within a site


@dataclass(frozen=True, kw_only=True)
class StudySize:
    """A design: ``lots`` in all, spread as evenly as they go over ``sites``, ``clusters`` tested together."""

    lots: int
    sites: int = 1
    clusters: int = 1
    tail: Tail = "two-sided"
    alpha: float = 0.05

    @property
    def lots_by_site(self) -> tuple[int, ...]:
        """How many lots each site has."""
        each, more = divmod(self.lots, self.sites)
        return tuple(each + 1 if site < more else each for site in range(self.sites))

    @property
    def can_reach_alpha(self) -> bool:
        """Whether some order of distinct potencies within sites is rare enough to be significant.

        Two sides count double where an order has a mirror image for certain: one site, or no site of three lots.
        """
        mirrored = self.tail == "two-sided" and (self.sites == 1 or max(self.lots_by_site) <= 2)  # noqa: PLR2004
        # a Fraction: the orders of 2,000 lots are more than a float holds
        return (2 if mirrored else 1) <= Fraction(self.alpha) * prod(factorial(lots) for lots in self.lots_by_site)


@dataclass(frozen=True, kw_only=True)
class SimulatedPower:
    """How often simulated studies of one design found the driver.

    Attributes
    ----------
    power : float
        Share of the runs in which the driver was significant after correction; ``error`` is its standard error.
    right_cluster : float
        Share of the runs in which the driver came first.
    refused : bool
        Whether the design cannot reach alpha at all (the power is then 0).
    """

    power: float
    error: float
    right_cluster: float
    runs: int
    refused: bool = False


def effective_cells(cells: float, icc: float = LIBRARY_ICC) -> float:
    """Return how many independent cells the cells of one library count as.

    >>> round(effective_cells(2_000)), round(effective_cells(1_000_000))
    (1000, 1996)
    """
    return cells / (1.0 + (cells - 1.0) * icc)


def observable_rho(
    rho: float, cells: float | None, *, concentration: float = CONCENTRATION, icc: float = LIBRARY_ICC
) -> float:
    """Return what counting on so many cells a lot leaves of rho; all of it where ``cells`` is None."""
    return rho if cells is None else rho * sqrt(share_reliability(effective_cells(cells, icc), concentration))


def formula_power(design: StudySize, rho: float) -> float:
    """Return the power of ``design`` for a true (observable) ``rho`` by the formula; 0 where it cannot show any."""
    _check(rho, design.clusters, design.sites, design.alpha)
    freedom = design.lots - (design.sites - 1) - 3
    if freedom <= 0 or not design.can_reach_alpha:
        return 0.0
    shift = atanh(abs(rho)) / sqrt((1.0 + rho * rho / 2.0) / freedom)
    return float(norm.sf(_quantile(design.clusters, design.alpha, design.tail) - shift))


def lots_needed(
    rho: float,
    *,
    power: float = 0.8,
    clusters: int = 1,
    sites: int = 1,
    alpha: float = 0.05,
    tail: Tail = "two-sided",
) -> int:
    """Return the fewest lots in all that reach ``power`` for a true (observable) ``rho`` by the formula.

    >>> lots_needed(0.8, clusters=6)
    17

    Raises
    ------
    InputError
        If an argument is outside its range.
    DesignError
        ``rho-too-small``: more than 100,000 lots.
    """
    _check(rho, clusters, sites, alpha)
    if not alpha < power < 1:
        raise InputError(f"expected a power above alpha and below 1, found {power:g}")
    quantiles = _quantile(clusters, alpha, tail) + float(norm.ppf(power))
    lots = 3 + (sites - 1) + ceil((1.0 + rho * rho / 2.0) * (quantiles / atanh(abs(rho))) ** 2)
    if lots > _MOST_LOTS:
        raise DesignError("rho-too-small", f"expected a rho that {_MOST_LOTS} lots can show, found {rho:g}")
    lots = max(lots, 2 * sites)
    while not StudySize(lots=lots, sites=sites, clusters=clusters, tail=tail, alpha=alpha).can_reach_alpha:
        lots += 1
    return lots


def simulated_power(
    design: StudySize, rho: float, *, runs: int = 400, draws: int = 999, seed: int = 0
) -> SimulatedPower:
    """Return the power of ``design`` for a true (observable) ``rho`` by ``runs`` simulated studies.

    Each run has a random stream of its own, so that more runs extend fewer.
    """
    _check(rho, design.clusters, design.sites, design.alpha)
    found = first = 0
    strata = np.repeat(np.arange(design.sites), design.lots_by_site)
    pearson = 2.0 * sin(pi * rho / 6.0)
    for run in range(runs):
        generator = block_generator(named_seed(seed, "study size"), run)
        shares = generator.standard_normal((design.lots, design.clusters))
        noise = generator.standard_normal(design.lots)
        potency = pearson * shares[:, 0] + sqrt(1.0 - pearson * pearson) * noise
        shares = shares + _SITE_SHIFT * generator.standard_normal((design.sites, design.clusters))[strata]
        potency = potency + _SITE_SHIFT * generator.standard_normal(design.sites)[strata]
        try:
            answer = associate(
                shares,
                potency,
                strata,
                tail=design.tail,
                alpha=design.alpha,
                draws=draws,
                entropy=named_seed(seed, "study size draws", str(run)),
                threads=1,
            )
        except DesignError:
            return SimulatedPower(power=0.0, error=0.0, right_cluster=0.0, runs=0, refused=True)
        found += bool(answer.p_adjusted[0] <= design.alpha)
        first += answer.order()[0] == 0
    power = found / runs
    return SimulatedPower(power=power, error=sqrt(power * (1 - power) / runs), right_cluster=first / runs, runs=runs)


def _quantile(clusters: int, alpha: float, tail: Tail) -> float:
    return float(norm.isf(alpha / clusters / (2 if tail == "two-sided" else 1)))


def _check(rho: float, clusters: int, sites: int, alpha: float) -> None:
    if not 0 < abs(rho) < 1:
        raise InputError(f"expected rho between -1 and 1 and not 0, found {rho:g}")
    if clusters < 1 or sites < 1:
        raise InputError(f"expected at least one cluster and one site, found {clusters} and {sites}")
    if not 0 < alpha < 1:
        raise InputError(f"expected alpha between 0 and 1, found {alpha:g}")
