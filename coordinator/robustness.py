"""How far each answer leans on one lot, one site, the scale, its leader, measurement error and hidden counts.

Always computed, beside the headline and never in its place. One rule decides something here: a second hit counts only
if it survives the removal of the lead cluster. Shares sum to 1, so that a strong driver drags others along; the lead's
cells are taken out of each lot, the rest is closed again to 1, and the second hit must pass the correction over what
is left of the family.
"""

from dataclasses import dataclass
from math import nan

import numpy as np

from coordinator.noise import noise_of_shares
from coordinator.study_data import FloatArray, StudyData
from coordinator.units import Units, doubled_cells, lot_runs
from protocol.plan import AnalysisPlan, Endpoint, Normalisation
from protocol.results import LeaveOneOut, Sensitivity
from shared.errors import DesignError
from shared.statistics.arrays import Tail
from shared.statistics.association import Associations, associate
from shared.statistics.composition import centred_log_ratios, mean_shares
from shared.statistics.potency import Run, log_potency, log_relative_potency
from shared.statistics.ranks import stratified_rho
from shared.statistics.reliability import (
    Measured,
    binomial_variance,
    disattenuated,
    estimated_share_reliability,
    potency_reliability,
)
from shared.statistics.sensitivity import (
    Heterogeneity,
    LeaveOut,
    filled_rho_bounds,
    heterogeneity,
    leave_one_out,
    rho_bounds,
)
from shared.statistics.streams import named_seed

_CLR_DIGITS = 12  # equal compositions give equal log-ratios again


@dataclass(frozen=True, kw_only=True, eq=False)
class LeadRemoval:
    """The family without its lead: rho of the re-closed shares, and p adjusted over what is left; both (K,)."""

    rho: FloatArray
    p: FloatArray


def sensitivities(
    data: StudyData, units: Units, table: Associations, endpoint: Endpoint, removal: LeadRemoval
) -> list[Sensitivity]:
    """Return the sensitivity of each cluster of the family, in the family's order."""
    shares = units.shares
    by_lot = leave_one_out(shares, units.potency, units.strata, np.arange(len(units.lots)))
    by_site = leave_one_out(shares, units.potency, units.strata, units.sites)
    rho_clr = _log_ratio_rho(units)
    between = _between_sites(units)
    share = _share_reliability(data, units)
    potency = _potency_reliability(data, units, endpoint)
    bounds = [
        _widened(_suppression_bounds(data, units, int(column)), float(rho))
        for column, rho in zip(units.family, table.rho, strict=True)
    ]
    return [
        Sensitivity(
            leave_one_lot_out=_range(by_lot, k),
            leave_one_site_out=_range(by_site, k),
            rho_clr=defined(rho_clr[k]),
            rho_after_lead_removal=defined(removal.rho[k]),
            p_after_lead_removal=defined(removal.p[k]),
            heterogeneity_i2=defined(between[k].i2),
            heterogeneity_q=defined(between[k].q),
            heterogeneity_p=defined(between[k].p),
            reliability_share=defined(share[k]),
            reliability_potency=defined(potency),
            rho_disattenuated=defined(disattenuated(float(table.rho[k]), float(share[k]), potency)),
            rho_low_under_suppression=bounds[k][0],
            rho_high_under_suppression=bounds[k][1],
        )
        for k in range(len(units.family))
    ]


def remove_lead(
    data: StudyData,
    units: Units,
    table: Associations,
    *,
    endpoint: Endpoint,
    plan: AnalysisPlan,
    tail: Tail,
    threads: int = 2,
) -> LeadRemoval:
    """Return the family without its lead cluster; p is NaN where no second cluster passes the correction."""
    k = len(units.family)
    rho, p = np.full(k, nan), np.full(k, nan)
    lead = table.order()[0]
    others = np.array([column for column in range(k) if column != lead], dtype=np.int64)
    cells, totals = doubled_cells(data)
    removed = units.family[lead]
    rest = mean_shares(cells[:, units.family[others]], totals - cells[:, removed], units.lots)
    whole = ~np.isnan(rest).any(axis=1) if len(others) else np.zeros(0, dtype=np.bool_)
    if not whole.any():
        return LeadRemoval(rho=rho, p=p)
    strata = np.array(units.strata)[whole]
    rho[others] = stratified_rho(rest[whole], units.potency[whole], strata)
    if np.count_nonzero(table.p_adjusted <= plan.alpha) > 1:
        try:
            left = associate(
                rest[whole],
                units.potency[whole],
                strata,
                tail=tail,
                alpha=plan.alpha,
                draws=plan.draws,
                entropy=named_seed(plan.seed, endpoint.endpoint, "lead removed"),
                threads=threads,
            )
            p[others] = left.p_adjusted
        except DesignError:
            p[others] = 1.0  # what is left does not vary: nothing survives
    return LeadRemoval(rho=rho, p=p)


def survives(table: Associations, removal: LeadRemoval, alpha: float) -> list[bool]:
    """Return which clusters are found: corrected p within alpha, and for all but the lead also without the lead."""
    lead = table.order()[0]
    return [
        bool(table.p_adjusted[k] <= alpha and (k == lead or removal.p[k] <= alpha))
        for k in range(len(table.p_adjusted))
    ]


def defined(value: float) -> float | None:
    """Return ``value``, or None where it is NaN: what is not defined is null, never a number."""
    return None if np.isnan(value) else float(value)


def _log_ratio_rho(units: Units) -> FloatArray:
    present = units.parts.sum(axis=0) > 0  # a part that no lot has is no part of the whole
    logs = np.zeros_like(units.parts)
    logs[:, present] = np.round(centred_log_ratios(units.parts[:, present], units.cells), _CLR_DIGITS)
    return stratified_rho(logs[:, units.family], units.potency, units.strata)


def _between_sites(units: Units) -> list[Heterogeneity]:
    sites = np.array(units.sites)
    strata = np.array(units.strata)
    n, parts, rho = [], [], []
    for site in sorted(set(units.sites)):
        here = sites == site
        _, sizes = np.unique(strata[here], return_counts=True)
        n.append(int(sizes[sizes > 1].sum()))
        parts.append(max(1, int(np.count_nonzero(sizes > 1))))
        rho.append(stratified_rho(units.shares[here], units.potency[here], strata[here]))
    return [heterogeneity([float(site[k]) for site in rho], n, parts) for k in range(len(units.family))]


def _share_reliability(data: StudyData, units: Units) -> FloatArray:
    if not data.counted:
        return np.full(len(units.family), nan)
    cells, totals = doubled_cells(data)
    chosen = cells[:, units.family] / np.maximum(totals, 1)[:, None]
    variance = binomial_variance(chosen, totals / 2.0)
    variance = variance + noise_of_shares(data, units.family)
    of_units = np.array([variance[members].mean(axis=0) / len(members) for members in units.lots])
    return estimated_share_reliability(units.shares, of_units, units.strata)


def _potency_reliability(data: StudyData, units: Units, endpoint: Endpoint) -> float:
    """Return the reliability of the lots' potency: by runs where a lot was measured in several, by wells otherwise."""
    lots = [
        (stratum, lot_runs(data, int(row), endpoint))
        for stratum, members in zip(units.strata, units.lots, strict=True)
        for row in members
    ]
    relative = endpoint.normalisation is Normalisation.RUN_REFERENCE
    level = log_relative_potency if relative else log_potency
    by_runs = any(len(runs) > 1 for _, runs in lots)
    measured = []
    for stratum, runs in lots:
        if by_runs:
            values = tuple(level([run]) for run in runs)
        else:
            run = runs[0]
            values = tuple(level([Run(replicates=(well,), reference=run.reference)]) for well in run.replicates)
        measured.append(Measured(stratum=stratum, values=values))
    return potency_reliability(measured)


def _suppression_bounds(data: StudyData, units: Units, column: int) -> tuple[float, float] | None:
    """Return the bounds of rho under hidden counts of one cluster; None where nothing is hidden."""
    rows = units.rows
    low, high = data.counts_low[rows, column], data.counts_high[rows, column]
    total_low, total_high = data.totals_low[rows], data.totals_high[rows]
    if (low == high).all() and (total_low == total_high).all():
        return None
    if (total_low == total_high).all() and len(rows) == len(units.lots):
        filled = filled_rho_bounds(low, high, total_low, units.potency, units.strata)
        if filled is not None:
            return filled
    at_least = data.counts_low[:, column] / np.maximum(data.totals_high, 1)
    at_most = np.minimum(1.0, data.counts_high[:, column] / np.maximum(data.totals_low, 1))
    return rho_bounds(
        np.array([at_least[members].mean() for members in units.lots]),
        np.array([at_most[members].mean() for members in units.lots]),
        units.potency,
        units.strata,
    )


def _range(table: LeaveOut | None, k: int) -> LeaveOneOut | None:
    if table is None or np.isnan(table.low[k]):
        return None
    return LeaveOneOut(low=float(table.low[k]), high=float(table.high[k]), sign_holds=bool(table.sign_holds[k]))


def _widened(bounds: tuple[float, float] | None, rho: float) -> tuple[float | None, float | None]:
    """Return the bounds, wide enough to hold the headline: half a cell may rank where no whole number does."""
    if bounds is None:
        return None, None
    ends = [end for end in (*bounds, rho) if not np.isnan(end)]
    return (min(ends), max(ends)) if ends else (None, None)
