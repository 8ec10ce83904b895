"""One simulated study, analysed by the real engine, and how its answer compares with the truth.

The answer is had as `coordinator.analysis` has it: rows of the discovery cohort, units by donor, `associate`. Beside it
stands the *naive* comparison: the same units and potency with all sites in one pot, which is what a pooled correlation
does.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coordinator.study_data import StudyData
from coordinator.units import Units, rows_of_cohorts, units_of
from protocol.identifiers import EndpointId
from protocol.plan import Alternative, CohortRole, Endpoint, Strata
from shared.errors import DesignError
from shared.statistics.arrays import Tail
from shared.statistics.association import Associations, associate
from shared.statistics.ranks import stratified_rho
from shared.statistics.streams import named_seed
from simulations.scenarios import Scenario
from simulations.truth import SimulatedStudy, replicate_generator, simulate_study, to_study_data

_POPULATION_STREAM = 2**32 - 1  # a replicate's number is below it

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """One replicate. Arrays are ``(n_clusters,)``; a refused design has none but ``refusal``."""

    refusal: str | None = None
    rho: FloatArray
    p: FloatArray
    p_adjusted: FloatArray
    low: FloatArray
    high: FloatArray
    naive_p: FloatArray
    naive_p_adjusted: FloatArray
    validation_p: float  # one-sided, stratified by tissue, first driver; NaN without a validation cohort
    validation_p_active: float  # the same over the tissues in which the driver is active


def run_replicate(scenario: Scenario, *, seed: int, number: int, draws: int) -> Outcome:
    """Draw replicate ``number`` of ``scenario`` under ``seed`` and analyse it."""
    study = simulate_study(scenario.model, scenario.blocks, replicate_generator(seed, number))
    data = to_study_data(study, small_count_threshold=scenario.small_count_threshold)
    units = _units(scenario, data, CohortRole.DISCOVERY, scenario.strata)
    undefined = np.full(len(study.clusters), np.nan)
    try:
        answer = _answer(scenario, units, units.strata, (seed, number), "discovery", draws)
        naive = _answer(scenario, units, ("all",) * len(units.lots), (seed, number), "naive", draws)
    except DesignError as error:
        return Outcome(
            refusal=error.code,
            rho=undefined,
            p=undefined,
            p_adjusted=undefined,
            low=undefined,
            high=undefined,
            naive_p=undefined,
            naive_p_adjusted=undefined,
            validation_p=np.nan,
            validation_p_active=np.nan,
        )
    active = frozenset(tissue.name for tissue in scenario.model.tissues if tissue.activity > 0)
    return Outcome(
        rho=answer.rho,
        p=answer.p,
        p_adjusted=answer.p_adjusted,
        low=answer.low,
        high=answer.high,
        naive_p=naive.p,
        naive_p_adjusted=naive.p_adjusted,
        validation_p=_validation(scenario, study, data, frozenset(study.tissues), (seed, number), draws),
        validation_p_active=_validation(scenario, study, data, active, (seed, number), draws),
    )


def population_rho(scenario: Scenario, *, seed: int, studies: int = 40, enlarged: int = 40) -> FloatArray:
    """Return what rho would be with very many lots a site, ``(n_clusters,)``: what an interval should cover.

    The mean of the stratified statistic over studies of the same sites with ``enlarged`` times the donors. Sites differ
    from study to study, so this is the value for the average draw of sites. It is exactly 0 without drivers.
    """
    if not scenario.model.drivers or scenario.model.slope == 0.0:
        return np.zeros(len(scenario.model.base_shares))
    discovery = [cohort.cohort for cohort in scenario.cohorts() if cohort.role is CohortRole.DISCOVERY]
    blocks = tuple(
        replace(block, donors=block.donors * enlarged) for block in scenario.blocks if block.cohort in discovery
    )
    values = []
    for number in range(studies):
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_POPULATION_STREAM, number)))
        data = to_study_data(simulate_study(scenario.model, blocks, generator))
        units = _units(scenario, data, CohortRole.DISCOVERY, scenario.strata)
        values.append(stratified_rho(units.shares, units.potency, units.strata))
    mean: FloatArray = np.mean(values, axis=0)
    return mean


def _units(
    scenario: Scenario, data: StudyData, role: CohortRole, strata: Strata, tissues: frozenset[str] | None = None
) -> Units:
    cohorts = [cohort for cohort in scenario.cohorts() if cohort.role is role]
    rows, _ = rows_of_cohorts(data, cohorts)
    if tissues is not None:
        rows = [row for row in rows if data.tissues[row] in tissues]
    endpoint = Endpoint(endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL", normalisation=scenario.normalisation)
    units, _ = units_of(data, rows, endpoint, strata, tuple(range(len(data.clusters))))
    return units


def _answer(
    scenario: Scenario, units: Units, strata: tuple[str, ...], seeds: tuple[int, int], name: str, draws: int
) -> Associations:
    return associate(
        units.shares,
        units.potency,
        strata,
        tail=_tail(scenario.alternative),
        draws=draws,
        entropy=named_seed(seeds[0], str(seeds[1]), name),
        threads=1,
    )


def _validation(
    scenario: Scenario,
    study: SimulatedStudy,
    data: StudyData,
    tissues: frozenset[str],
    seeds: tuple[int, int],
    draws: int,
) -> float:
    """Return the one-sided p of the first driver over the validation lots of ``tissues``; NaN where there is none."""
    roles = {cohort.cohort: cohort.role for cohort in scenario.cohorts()}
    if not study.driver_clusters or CohortRole.VALIDATION not in roles.values():
        return float("nan")
    units = _units(scenario, data, CohortRole.VALIDATION, Strata.TISSUE, tissues)
    try:
        answer = associate(
            units.shares[:, [study.driver_clusters[0]]],
            units.potency,
            units.strata,
            tail="greater",
            draws=draws,
            entropy=named_seed(seeds[0], str(seeds[1]), "validation"),
            threads=1,
        )
    except DesignError:
        return float("nan")
    return float(answer.p[0])


def _tail(alternative: Alternative) -> Tail:
    return alternative.value
