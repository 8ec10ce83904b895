"""The model study as files: one folder a site, a reference for the atlas, a plan draft, and the truth kept apart.

Layout of the folder that is written::

    study.toml  reference.atlas  truth.json
    reference/<lot>.h5ad                      the atlas owner's lots, labelled
    sites/<site>/lots.csv  potency.csv  policy.toml  cells/<lot>.h5ad

A site's folder holds what a real site has: cells without labels, replicates without truth. The folder appears whole or
not at all. The same seed gives the same cells, tables and truth: the study is replicate 0 of a power run at that seed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from anndata import AnnData

from coordinator.atlas_signing import manifest_of
from protocol.atlas_manifest import AtlasManifest
from protocol.identifiers import SiteId, StudyId
from protocol.plan import (
    PROFILE_THRESHOLDS,
    DisclosureRequest,
    Profile,
    StudyPlan,
)
from protocol.policy import SitePolicy, write_policy
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import to_bytes
from shared.runtime.console import Advance
from shared.runtime.files import appearing_whole, write_atomically
from simulations.cells import LotOfCells, cells_of_lots, lots_of_cells, simulated_anndata
from simulations.design import Block
from simulations.keys import coordinator_key
from simulations.morphology_cells import CONTROL_COLUMN, CONTROL_VALUE, morphology_of_lots, simulated_morphology
from simulations.new_lots import NEW_LOTS, write_new_lots
from simulations.potency_truth import VEGF
from simulations.scenarios import Scenario, scenario_named
from simulations.scenarios_comparability import change_truth
from simulations.site_folder import LotRow, write_site_tables
from simulations.study_folder import ATLAS_FILE, PLAN_FILE, SITES_FOLDER, study_id_of
from simulations.study_tables import attribute_rows, potency_rows, truth_beside
from simulations.truth import replicate_generator, simulate_study
from simulations.whole_study import WholeStudy, beside
from site_agent.cells.atlas_builder import build_atlas
from site_agent.cells.morphology_builder import build_morphology_atlas

TRUTH_FILE = "truth.json"
REFERENCE_FOLDER = "reference"
_MSC = frozenset({"BM", "AD", "UC"})
_REFERENCE_BLOCK = Block(site="atlas-owner", donors=4, cohort="reference")
_REFERENCE_CELLS = 1_500
_STUDY_STREAM, _REFERENCE_STREAM = 0, 1


@dataclass(frozen=True, kw_only=True)
class DemoStudy:
    """What was written, for whoever runs it."""

    folder: Path
    lots_by_site: Mapping[SiteId, tuple[str, ...]]
    clusters: tuple[str, ...]
    drivers: tuple[str, ...]


def demo_steps(scenario: Scenario) -> int:
    """Return how many steps of progress writing ``scenario`` takes: lots, the reference's, new ones, the atlas."""
    lots = sum(block.donors * block.lots_per_donor for block in scenario.blocks)
    return lots + _REFERENCE_BLOCK.donors + 1 + (NEW_LOTS if scenario.modules.specification else 0)


def write_demo_study(
    folder: Path, *, seed: int = 1, progress: Advance | None = None, scenario: Scenario | None = None
) -> DemoStudy:
    """Write the model study, or another scenario, as a study folder.

    Parameters
    ----------
    folder : Path
        New or empty.
    seed : int
        Of everything: composition, potency, cells, atlas, analysis.
    progress : Advance, optional
        Called once a step; `demo_steps` says how many there are.
    scenario : Scenario, optional
        The model study where none is given.

    Raises
    ------
    InputError
        The folder holds something already.
    """
    chosen = scenario or scenario_named("model-study")
    advance = progress or _silently
    study = simulate_study(chosen.model, chosen.blocks, replicate_generator(seed, 0))
    whole = beside(chosen, study, seed)
    sites = tuple(SiteId(site) for site in sorted(set(study.sites)))
    with appearing_whole(folder) as work:
        manifest = _write_reference(chosen, seed, work, advance)
        plan = _plan(chosen, study_id_of(folder), manifest, sites, seed)
        write_atomically(work / PLAN_FILE, write_study_draft(plan))
        write_atomically(work / TRUTH_FILE, _truth(chosen, whole, seed))
        for site in sites:
            _write_site(whole, site, plan, work / SITES_FOLDER / site)
        for number, lot in enumerate(lots_of_cells(study, chosen.model, seed=(seed, _STUDY_STREAM))):
            path = work / SITES_FOLDER / study.sites[number] / _cells_file(lot.lot)
            draw_cells(lot, chosen).write_h5ad(path, compression="gzip", compression_opts=1)
            advance()
        if plan.modules.specification is not None:
            write_new_lots(work, study, chosen.model, seed=seed, advance=advance)
    return DemoStudy(
        folder=folder,
        lots_by_site={
            site: tuple(lot for lot, where in zip(study.lots, study.sites, strict=True) if where == site)
            for site in sites
        },
        clusters=study.clusters,
        drivers=tuple(study.clusters[driver] for driver in study.driver_clusters),
    )


def draw_cells(lot: LotOfCells, scenario: Scenario, *, labels: bool = False) -> AnnData:
    """Draw the cells of a lot as the scenario's modality has them; those of morphology with their control wells."""
    drawn = simulated_morphology if scenario.modality == "morphology" else simulated_anndata
    return drawn(lot, labels=labels)


def _silently(_steps: int = 1, /) -> None:
    return


def _write_reference(scenario: Scenario, seed: int, work: Path, advance: Advance) -> AtlasManifest:
    """Write the reference lots and the atlas made of them; unassigned cells are not in an owner's reference."""
    model, tissue = scenario.model, scenario.blocks[0].tissue
    stream = (seed, _REFERENCE_STREAM)
    even = replace(model, cells_low=_REFERENCE_CELLS, cells_high=_REFERENCE_CELLS)
    block = replace(_REFERENCE_BLOCK, tissue=tissue)
    study = simulate_study(even, (block,), np.random.default_rng(stream))
    lots = [
        replace(lot, cells_per_state=(*lot.cells_per_state[:-1], 0)) for lot in lots_of_cells(study, model, seed=stream)
    ]
    (work / REFERENCE_FOLDER).mkdir()
    for lot in lots:
        cells = draw_cells(lot, scenario, labels=True)
        cells.write_h5ad(work / REFERENCE_FOLDER / f"{lot.lot}.h5ad", compression="gzip", compression_opts=1)
        advance()
    name = f"simulated {tissue}-MSC reference" if tissue in _MSC else f"simulated {tissue} reference"
    data = to_bytes(
        build_morphology_atlas(
            morphology_of_lots(lots),
            lot="lot",
            labels="label",
            control=(CONTROL_COLUMN, CONTROL_VALUE),
            name=f"{name}, morphology",
            seed=seed,
            tissue=tissue,
        )
        if scenario.modality == "morphology"
        else build_atlas(
            cells_of_lots(lots, labels=True), lot="lot", labels="label", name=name, seed=seed, tissue=tissue
        )
    )
    write_atomically(work / ATLAS_FILE, data)
    advance()
    return manifest_of(data)


def _plan(
    scenario: Scenario, study: StudyId, manifest: AtlasManifest, sites: tuple[SiteId, ...], seed: int
) -> StudyPlan:
    thresholds = PROFILE_THRESHOLDS[Profile.OPEN]
    return StudyPlan(
        study=study,
        title=_title(scenario),
        question=_question(scenario),
        opens="2026-Q4",
        atlas=manifest.reference(),
        sites=sites,
        endpoints=tuple(
            each.as_endpoint(scenario.normalisation)
            for each in (scenario.assay, *(further.assay for further in scenario.potencies))
        ),
        cohorts=scenario.cohorts(),
        analysis=scenario.analysis_plan(seed=seed),
        disclosure=DisclosureRequest(
            profile=Profile.OPEN,
            minimum_lots_per_site=thresholds.minimum_lots_per_site,
            small_count_threshold=thresholds.small_count_threshold,
        ),
        modules=scenario.modules,
    )


def _title(scenario: Scenario) -> str:
    if scenario.potencies:
        return "Several potencies and the composition of MSC lots (simulated)"
    if scenario.modality == "morphology":
        return "Immunosuppression after IFN-gamma and the morphology of MSC lots (simulated)"
    if scenario.assay == VEGF:
        return "VEGF secretion and the composition of MSC lots (simulated)"
    return f"{scenario.assay.assay}, the lots' composition and their attributes (simulated)"


def _question(scenario: Scenario) -> str:
    if scenario.potencies:
        return "Which cluster's share of a lot follows which of its potencies?"
    if scenario.modality == "morphology":
        return "Which shape's share of a lot's cells follows its suppression of T cells?"
    if scenario.assay == VEGF:
        return "Which cluster's share of a lot follows the VEGF that it secretes under ischemia?"
    return f"Which cluster's share, and which attribute of a lot, follows its {scenario.assay.assay}?"


def _cells_file(lot: str) -> str:
    return f"cells/{lot}.h5ad"


def _write_site(whole: WholeStudy, site: SiteId, plan: StudyPlan, folder: Path) -> None:
    study = whole.study
    (folder / "cells").mkdir(parents=True)
    rows = [number for number, where in enumerate(study.sites) if where == site]
    lots = [
        LotRow(
            lot=study.lots[row],
            donor=study.donors[row],
            file=_cells_file(study.lots[row]),
            tissue=study.tissues[row],
            product="MSC" if study.tissues[row] in _MSC else "cell culture",
            passage="5",
            condition="normoxia",
            cohort=study.cohorts[row],
            arm=study.arms[row] or "",
        )
        for row in rows
    ]
    policy = SitePolicy(
        version=1,
        site=site,
        profile=Profile.OPEN,
        allowed_studies=(plan.study,),
        allowed_coordinators=(coordinator_key(plan.study, plan.analysis.seed).fingerprint,),
        auto_approve=(plan.study,),
        allowed_modules=tuple(sorted(plan.modules.names)),
    )
    write_site_tables(
        folder,
        lots=lots,
        potency=potency_rows(whole, rows),
        policy=write_policy(policy),
        attributes=attribute_rows(whole, rows),
    )


def _truth(scenario: Scenario, whole: WholeStudy, seed: int) -> bytes:
    """Return what no site and no coordinator sees, as JSON."""
    study = whole.study
    document = {
        "scenario": scenario.name,
        "expectation": scenario.expectation,
        "seed": seed,
        "clusters": study.clusters,
        "drivers": [study.clusters[driver] for driver in study.driver_clusters],
        "slope_ln_potency_per_unit_share": scenario.model.slope,
        **change_truth(scenario),
        **truth_beside(scenario, whole),
        "lots": [
            {
                "lot": study.lots[row],
                "site": study.sites[row],
                "donor": study.donors[row],
                "tissue": study.tissues[row],
                "cohort": study.cohorts[row],
                **({"arm": study.arms[row]} if study.arms[row] else {}),
                "cells": study.counts[row].tolist(),
                "unassigned": int(study.unassigned[row]),
                "true_shares": [round(share, 9) for share in study.true_shares[row].tolist()],
                "true_log_potency": round(float(study.true_log_potency[row]), 9),
            }
            for row in range(len(study.lots))
        ],
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
