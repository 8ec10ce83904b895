"""One h5ad into a study of several sites: plan draft, atlas, and a folder for each site.

The folder appears whole or not at all: it is written beside its place and renamed into it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coordinator.atlas_signing import manifest_of
from protocol.atlas_manifest import AtlasManifest
from protocol.identifiers import EndpointId, SiteId, StudyId
from protocol.plan import (
    PROFILE_THRESHOLDS,
    AnalysisPlan,
    Cohort,
    CohortRole,
    DisclosureRequest,
    Endpoint,
    Normalisation,
    QualityLimits,
    StudyPlan,
)
from protocol.policy import NoisePolicy, PolicyThresholds, SitePolicy, write_policy
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import to_bytes
from shared.errors import InputError, ProblemsError
from shared.runtime.files import appearing_whole, write_atomically
from simulations.keys import coordinator_key
from simulations.site_folder import LotRow, PotencyRow, write_site_tables
from simulations.split_cells import NOT_STATED, SplitCells, SplitLot, read_cells
from simulations.split_request import SplitRequest, read_potency
from site_agent.cells.atlas_builder import build_atlas
from site_agent.cells.morphology_builder import build_morphology_atlas

ATLAS_FILE = "reference.atlas"
PLAN_FILE = "study.toml"
SITES_FOLDER = "sites"
DISCOVERY = "discovery"
_ONE_RUN = "run-1"


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """What a split made, for the person who asked for it."""

    out: Path
    lots_by_site: Mapping[SiteId, tuple[str, ...]]
    clusters: tuple[str, ...]
    reference_lots: tuple[str, ...]
    lots_without_potency: tuple[str, ...]


def split_study(request: SplitRequest) -> SplitSummary:
    """Make the study folder that ``request`` asks for.

    Lots are dealt to the sites in turn, in order of their names, so every site has about as many. The reference lots
    stay in the study, as in the model study, where the pooled lots are the reference.

    Raises
    ------
    InputError
        Something of the input is missing or wrong (see :mod:`simulations.split_request` and
        :mod:`simulations.split_cells`), or ``request.out`` holds something.
    ProblemsError
        Lots, potency, sites and reference lots do not go together: all of it is listed.
    """
    potency = read_potency(request.potency)
    split = read_cells(request)
    lots = tuple(lot for lot in split.lots if lot.name in potency)
    _check_lots(request, split, potency, lots)
    reference = request.reference_lots or tuple(lot.name for lot in lots)
    by_site: dict[SiteId, list[SplitLot]] = {SiteId(f"site-{number + 1}"): [] for number in range(request.sites)}
    for index, lot in enumerate(lots):
        by_site[SiteId(f"site-{index % request.sites + 1}")].append(lot)
    study = study_id_of(request.out)
    with appearing_whole(request.out) as work:
        manifest = _build_atlas(request, split, reference, work / ATLAS_FILE)
        plan = _plan(request, study, manifest, tuple(by_site))
        write_atomically(work / PLAN_FILE, write_study_draft(plan))
        for site, its_lots in by_site.items():
            _write_site(request, plan, split, site, its_lots, potency, work / SITES_FOLDER / site)
    return SplitSummary(
        out=request.out,
        lots_by_site={site: tuple(lot.name for lot in its_lots) for site, its_lots in by_site.items()},
        clusters=plan.atlas.clusters,
        reference_lots=reference,
        lots_without_potency=tuple(lot.name for lot in split.lots if lot.name not in potency),
    )


def study_id_of(folder: Path) -> StudyId:
    """Return the identifier of the study in ``folder``: its name in lower case, other characters as hyphens.

    >>> study_id_of(Path("out/Kang IFN-b"))
    'kang-ifn-b'
    """
    slug = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:63]
    return StudyId(slug or "study")


def _check_lots(
    request: SplitRequest, split: SplitCells, potency: Mapping[str, Sequence[str]], lots: Sequence[SplitLot]
) -> None:
    names = [lot.name for lot in split.lots]
    problems: list[InputError] = []
    unknown = [name for name in potency if name not in names]
    if unknown:
        message = f"{request.potency.path}: potency without a lot: {', '.join(unknown[:12])}; "
        message += f"lots of the cells: {', '.join(names[:12])}"
        hint = f"the column {request.potency.key_column!r} must hold the values of {request.lot_column!r}"
        problems.append(InputError(message, hint=hint))
    if len(lots) < request.sites:
        message = f"--sites {request.sites}: expected at least one lot with potency for each site, found {len(lots)}"
        problems.append(InputError(message, hint="ask for fewer sites"))
    missing = [name for name in request.reference_lots or () if name not in names]
    if missing:
        message = f"--reference-lots: not among the lots: {', '.join(missing)}"
        problems.append(InputError(message, hint=f"lots are: {', '.join(names)}"))
    if problems:
        raise ProblemsError(f"splitting {request.cells}", problems)


def _build_atlas(request: SplitRequest, split: SplitCells, reference: Sequence[str], path: Path) -> AtlasManifest:
    rows = np.sort(np.concatenate([lot.rows for lot in split.lots if lot.name in reference]))
    cells = split.cells[rows].copy()
    name = f"{request.cells.stem[:40]} reference"
    if request.control is None:
        atlas = build_atlas(
            cells,
            lot=request.lot_column,
            labels=request.labels_column,
            cluster=request.labels_column is None,
            name=name,
            seed=request.seed,
        )
    else:
        if request.labels_column is None:
            raise InputError("expected --labels with --control", hint="clusters of morphology are your own labels")
        atlas = build_morphology_atlas(
            cells,
            lot=request.lot_column,
            labels=request.labels_column,
            control=(request.control.column, request.control.value),
            name=name,
            seed=request.seed,
        )
    data = to_bytes(atlas)
    write_atomically(path, data)
    return manifest_of(data)


def _plan(request: SplitRequest, study: StudyId, manifest: AtlasManifest, sites: tuple[SiteId, ...]) -> StudyPlan:
    thresholds = PROFILE_THRESHOLDS[request.profile]
    return StudyPlan(
        study=study,
        title=f"{request.assay} and the composition of {request.cells.stem}",
        question=f"Which cluster's share of a lot follows its {request.assay} ({request.unit})?",
        opens="2026-Q1",
        atlas=manifest.reference(),
        sites=sites,
        endpoints=(
            Endpoint(
                endpoint=endpoint_of(request),
                assay=request.assay,
                unit=request.unit,
                normalisation=Normalisation.NONE,
                decimals=request.decimals,
            ),
        ),
        cohorts=(Cohort(cohort=DISCOVERY, role=CohortRole.DISCOVERY),),
        analysis=AnalysisPlan(seed=request.seed),
        quality=QualityLimits(minimum_cells_per_lot=request.minimum_cells or thresholds.minimum_cells_per_lot),
        disclosure=DisclosureRequest(
            profile=request.profile,
            minimum_lots_per_site=thresholds.minimum_lots_per_site,
            small_count_threshold=thresholds.small_count_threshold,
        ),
    )


def endpoint_of(request: SplitRequest) -> EndpointId:
    """Return the endpoint's identifier: the assay in lower case, other characters as hyphens."""
    return EndpointId(re.sub(r"[^a-z0-9]+", "-", request.assay.lower()).strip("-")[:63] or "potency")


def _write_site(
    request: SplitRequest,
    plan: StudyPlan,
    split: SplitCells,
    site: SiteId,
    lots: Sequence[SplitLot],
    potency: Mapping[str, Sequence[str]],
    folder: Path,
) -> None:
    (folder / "cells").mkdir(parents=True)
    rows = []
    for number, lot in enumerate(lots, start=1):
        file = f"cells/lot-{number:03d}.h5ad"  # a lot's own name may hold what a file name may not
        split.cells[lot.rows].copy().write_h5ad(folder / file, compression="gzip")
        rows.append(
            LotRow(
                lot=lot.name,
                donor=lot.donor,
                file=file,
                tissue=lot.tissue,
                product=request.cells.stem[:64],
                passage="",
                condition=", ".join(f"{each.column}={each.value}" for each in request.where)[:64] or NOT_STATED,
                cohort=DISCOVERY,
            )
        )
    replicates = [
        PotencyRow(
            lot=lot.name,
            endpoint=endpoint_of(request),
            assay=request.assay,
            value=value,
            unit=request.unit,
            run=_ONE_RUN,
            is_reference="false",
        )
        for lot in lots
        for value in potency[lot.name]
    ]
    policy = SitePolicy(
        version=1,
        site=site,
        profile=request.profile,
        allowed_studies=(plan.study,),
        allowed_coordinators=(coordinator_key(plan.study, plan.analysis.seed).fingerprint,),
        auto_approve=(plan.study,),
        thresholds=PolicyThresholds(minimum_cells_per_lot=request.minimum_cells),
        noise=_noise(request.noise_epsilon),
    )
    write_site_tables(folder, lots=rows, potency=replicates, policy=write_policy(policy))


def _noise(epsilon: float | None) -> NoisePolicy | None:
    return None if epsilon is None else NoisePolicy(epsilon_per_release=epsilon, epsilon_budget=10 * epsilon)
