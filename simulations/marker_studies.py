"""One simulated study with markers, analysed by the real engine: what its tests said of genes whose truth is known."""

from dataclasses import dataclass, replace

import numpy as np

from coordinator.analysis import AnalysisParameters, analyse, study_card
from protocol.plan import CohortRole
from protocol.results import ResultSet
from simulations.marker_truth import MarkerModel, marker_table_of
from simulations.scenario import Scenario
from simulations.whole_study import simulate_whole

_MARKER_STREAM = 7
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class GeneCounts:
    """Over the genes of one cluster: how many were tested, and rejected at .05 by each test; ``found`` by q."""

    tested: int
    by_lots: int
    by_sign_flips: int
    by_cells: int
    found: int


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The validation of the driver: whether it was found, and what each tissue said; None: it was not asked."""

    found: bool
    held: dict[str, bool | None]  # by tissue; "" is all together
    eligible: dict[str, bool]


def marker_results(
    scenario: Scenario, *, seed: int, number: int, markers: MarkerModel | None = None, draws: int = 999
) -> ResultSet:
    """Return the results of replicate ``number`` of a scenario that asks for markers."""
    whole = simulate_whole(scenario, seed=seed, number=number)
    plan = scenario.modules.markers
    if plan is None:
        raise ValueError(f"expected a scenario that asks for markers, found {scenario.name}")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_MARKER_STREAM, number)))
    table = marker_table_of(whole.study, scenario.model, plan, rng, markers)
    analysis = scenario.analysis_plan(seed=seed + number, draws=draws)
    parameters = AnalysisParameters(
        study=study_card(
            study=scenario.name, title=scenario.name, question="-", plan_sha256=None, atlas=None, analysis=analysis
        ),
        endpoints=(scenario.assay.as_endpoint(scenario.normalisation),),
        cohorts=scenario.cohorts(),
        analysis=analysis,
        modules=scenario.modules,
    )
    return analyse(replace(whole.data(), markers=table), parameters, threads=1)


def gene_counts(results: ResultSet, cluster: str, genes: frozenset[str] | None = None) -> GeneCounts:
    """Return what the tests of a cluster's genes said, over all of them or over ``genes``."""
    markers = results.markers
    rows = [
        row
        for each in (markers.clusters if markers else ())
        if each.cluster == cluster
        for row in each.rows
        if row.p_value is not None and (genes is None or row.gene in genes)
    ]
    return GeneCounts(
        tested=len(rows),
        by_lots=sum((row.p_value or 0.0) <= 0.05 for row in rows),  # noqa: PLR2004 - the level
        by_sign_flips=sum((row.p_sign_flip or 0.0) <= 0.05 for row in rows),  # noqa: PLR2004 - the same
        by_cells=sum(abs(row.cell_t or 0.0) > _NORMAL_95 for row in rows),
        found=sum(row.significant for row in rows),
    )


def outcomes(results: ResultSet, cluster: str) -> Outcomes:
    """Return what validation said of a cluster."""
    rows = [row for row in results.validation if row.cluster == cluster]
    return Outcomes(
        found=any(row.significant for row in results.associations if row.cluster == cluster),
        held={row.tissue or "": row.holds for row in rows},
        eligible={row.tissue or "": row.eligible for row in rows},
    )


def discovery_of(scenario: Scenario, lots: int | None = None) -> Scenario:
    """Return the scenario with its discovery cohort alone, of its first ``lots`` lots where given."""
    names = [cohort.cohort for cohort in scenario.cohorts() if cohort.role is CohortRole.DISCOVERY]
    blocks, left = [], lots
    for block in scenario.blocks:
        if block.cohort not in names:
            continue
        donors = block.donors if left is None else min(block.donors, left)
        left = None if left is None else left - donors
        if donors:
            blocks.append(replace(block, donors=donors))
    return replace(scenario, blocks=tuple(blocks))
