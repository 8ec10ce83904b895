"""Comparability of a study's lots: from the study's table to findings.

Rules
-----
1. A lot is in when its report names an arm, it belongs to a cohort of the plan, and it has potency by the declared
   normalisation. Cohorts are not told apart: the question is the change.
2. Lots are compared within site and tissue, whatever the strata of the association: a change is a maker's own, and lots
   of two makers are not the before and after of each other.
3. Suppressed counts are intervals throughout. Where only shares are known, a part without cells counts as half a cell
   in 2,000.
4. Noise on counts is part of them; a note says what does not account for it. A cluster that is lost in it supports
   no claim.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np

from coordinator.noise import clusters_lost_in_noise, noise_in_comparison, noise_of_counts
from coordinator.study_data import FloatArray, IntArray, StudyData
from coordinator.units import lot_runs, rows_of_cohorts, stratum_of, units_of
from protocol.modules.comparability import Arm, ComparabilityPlan
from protocol.modules.comparability_results import ComparabilityResults
from protocol.plan import Cohort, Endpoint, Strata
from shared.comparability.assessment import assess, reference_ranges
from shared.comparability.findings import ReferenceRanges
from shared.comparability.method import method_checks
from shared.comparability.units import ArmUnits, ComparedLot, LotEvidence, units_of_lots

_HALF_A_CELL_IN = 4_000  # half a cell in 2,000


def compare_arms(
    data: StudyData, plan: ComparabilityPlan | None, endpoints: Sequence[Endpoint], cohorts: Sequence[Cohort]
) -> ComparabilityResults | None:
    """Return the comparison that the plan asks for, or None where it asks for none."""
    if plan is None:
        return None
    endpoint = next(each for each in endpoints if each.endpoint == plan.endpoint)
    known, _ = rows_of_cohorts(data, cohorts)
    potency = units_of(data, known, endpoint, Strata.SITE_AND_TISSUE, range(len(data.clusters)))[0].lot_potency
    rows = compared_rows(data, known, potency)
    units = units_of_lots(compared_lots(data, rows, potency), len(data.clusters))
    criteria = plan.criteria
    findings = assess(
        units,
        data.clusters,
        method_checks(_evidence(data, rows, endpoint), criteria),
        criteria,
        lost_in_noise=clusters_lost_in_noise(data, rows),
    )
    findings = replace(findings, notes=(*findings.notes, *noise_in_comparison(data, rows)))
    return ComparabilityResults(endpoint=plan.endpoint, findings=findings, ranges=_ranges(data, rows, units))


def compared_rows(data: StudyData, rows: Sequence[int], log_potency: FloatArray) -> tuple[int, ...]:
    """Return those of ``rows`` that name an arm and have potency; ``log_potency`` is (n_lots,)."""
    arms = data.arms or (None,) * len(data.lots)
    return tuple(row for row in rows if arms[row] is not None and not np.isnan(log_potency[row]))


def compared_lots(data: StudyData, rows: Sequence[int], log_potency: FloatArray) -> tuple[ComparedLot, ...]:
    """Return what is compared of each of ``rows``."""
    arms = data.arms or ()
    low, high = (_at_least_half_a_cell(data, table) for table in (data.counts_low, data.counts_high))
    return tuple(
        ComparedLot(
            after=arms[row] is Arm.AFTER,
            stratum=stratum_of(data, row, Strata.SITE_AND_TISSUE),
            donor=data.donors[row],
            potency=float(log_potency[row]),
            cells_low=tuple(map(int, low[row])),
            cells_high=tuple(map(int, high[row])),
        )
        for row in rows
    )


def _at_least_half_a_cell(data: StudyData, counts: IntArray) -> IntArray:
    if data.counted:
        return counts
    return np.maximum(counts, (data.totals_low // _HALF_A_CELL_IN)[:, None])


def _evidence(data: StudyData, rows: Sequence[int], endpoint: Endpoint) -> list[LotEvidence]:
    arms = data.arms or ()
    evidence = []
    for row in rows:
        runs = lot_runs(data, row, endpoint)
        coverage = np.nan if data.quality is None else float(data.quality.gene_coverage[row])
        unassigned = int(data.unassigned_low[row] + data.unassigned_high[row])
        evidence.append(
            LotEvidence(
                after=arms[row] is Arm.AFTER,
                stratum=stratum_of(data, row, Strata.SITE_AND_TISSUE),
                replicates=tuple(tuple(map(log, run.replicates)) for run in runs),
                references=tuple(tuple(map(log, run.reference)) for run in runs),
                gene_coverage=None if np.isnan(coverage) else coverage,
                unassigned_share=unassigned / int(data.totals_low[row] + data.totals_high[row]),
            )
        )
    return evidence


def _ranges(data: StudyData, rows: Sequence[int], units: ArmUnits) -> ReferenceRanges | None:
    arms = data.arms or ()
    before = [row for row in rows if arms[row] is Arm.BEFORE]
    noised = bool(noise_of_counts(data)[before].any())
    return reference_ranges(units, data.clusters, sites=len({data.sites[row] for row in before}), noised=noised)
