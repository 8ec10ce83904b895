"""A small study with cells: eight lots at two sites, three kinds of cells, one atlas, all of known make."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from coordinator.atlas_signing import manifest_of
from protocol.identifiers import EndpointId, SiteId
from protocol.plan import (
    AnalysisPlan,
    Cohort,
    CohortRole,
    DisclosureRequest,
    Endpoint,
    Profile,
    QualityLimits,
    StudyPlan,
)
from protocol.policy import SitePolicy, write_policy
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import Atlas, to_bytes
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.model import FitParameters
from simulations.keys import coordinator_key
from simulations.site_folder import LotRow, PotencyRow, write_site_tables
from tests.study_parts import STUDY

N_GENES = 120
SYMBOLS = (*(f"GENE{place}" for place in range(N_GENES - 5)), *(f"MT-{place}" for place in range(5)))
IDENTIFIERS = tuple(f"ENSG{place:011d}" for place in range(N_GENES))
KINDS = ("alpha", "beta", "gamma")
CELLS_PER_LOT = 80
LOT_NAMES = tuple(f"Batch-{letter}" for letter in "ABCDEFGH")
SITES = (SiteId("kyoto"), SiteId("leiden"))
SEED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class CellStudy:
    """All cells in one AnnData, with lot, donor, kind and condition in obs, and an atlas of the kinds."""

    cells: ad.AnnData
    atlas: Atlas
    potency: dict[str, float]

    def of_lot(self, lot: str) -> ad.AnnData:
        return self.cells[self.cells.obs["lot"] == lot].copy()


@cache
def cell_study() -> CellStudy:
    """Return the study; the share of beta rises from lot to lot, and potency with it."""
    rng = np.random.default_rng(20)
    lots = np.repeat(LOT_NAMES, CELLS_PER_LOT)
    beta = np.repeat(np.linspace(0.15, 0.6, len(LOT_NAMES)), CELLS_PER_LOT)
    kind = np.where(rng.random(lots.size) < beta, 1, np.where(rng.random(lots.size) < 0.5, 0, 2))
    rates = rng.gamma(0.8, 2.0, (len(KINDS), N_GENES))
    counts = sp.csr_matrix(rng.poisson(rates[kind] * rng.uniform(0.5, 2.0, (lots.size, 1))).astype(np.float32))
    obs = pd.DataFrame(
        {
            "lot": pd.Categorical(lots),
            "donor": pd.Categorical([f"Donor {lot[-1]}" for lot in lots]),
            "kind": pd.Categorical([KINDS[number] for number in kind]),
            "condition": pd.Categorical(["control"] * lots.size),
        },
        index=[f"cell{number}" for number in range(lots.size)],
    )
    atlas = fit_atlas(
        counts,
        obs["kind"].astype(str).tolist(),
        lots.tolist(),
        gene_ids=list(IDENTIFIERS),
        gene_symbols=list(SYMBOLS),
        origin=Origin(name="three kinds"),
        seed=1,
        parameters=FitParameters(n_dimensions=8),
    )
    potency = {lot: round(float(np.exp(4 + place / 4 + rng.normal(0, 0.05))), 1) for place, lot in enumerate(LOT_NAMES)}
    var = pd.DataFrame({"gene_ids": list(IDENTIFIERS)}, index=list(SYMBOLS))
    return CellStudy(cells=ad.AnnData(counts, obs=obs, var=var), atlas=atlas, potency=potency)


def make_study_plan(sites: tuple[SiteId, ...] = SITES) -> StudyPlan:
    return StudyPlan(
        study=STUDY,
        title="Which kind follows VEGF",
        question="Which kind's share follows VEGF?",
        opens="2026-Q1",
        atlas=manifest_of(to_bytes(cell_study().atlas)).reference(),
        sites=sites,
        endpoints=(Endpoint(endpoint=EndpointId("vegf"), assay="ELISA", unit="pg/mL", decimals=1),),
        cohorts=(Cohort(cohort="discovery", role=CohortRole.DISCOVERY),),
        analysis=AnalysisPlan(seed=SEED),
        quality=QualityLimits(minimum_cells_per_lot=50),
        disclosure=DisclosureRequest(profile=Profile.OPEN),
    )


def write_study(folder: Path, *, lots_per_site: int = 4, sites: tuple[SiteId, ...] = SITES) -> Path:
    """Write a sound study folder: a draft, its atlas, and each site's tables, policy and cells."""
    study, plan = cell_study(), make_study_plan(sites)
    folder.mkdir(parents=True)
    (folder / "study.toml").write_bytes(write_study_draft(plan))
    (folder / "reference.atlas").write_bytes(to_bytes(study.atlas))
    for place, site in enumerate(sites):
        own = folder / "sites" / site
        (own / "cells").mkdir(parents=True)
        # in turn, so that each site sees the whole range
        lots = LOT_NAMES[place :: len(sites)][:lots_per_site]
        for lot in lots:
            study.of_lot(lot).write_h5ad(own / "cells" / f"{lot}.h5ad")
        write_site_tables(
            own,
            lots=[
                LotRow(
                    lot=lot,
                    donor=f"Donor {lot[-1]}",
                    file=f"cells/{lot}.h5ad",
                    tissue="bone marrow",
                    product="MSC",
                    passage="5",
                    condition="normoxia",
                    cohort="discovery",
                )
                for lot in lots
            ],
            potency=[
                PotencyRow(
                    lot=lot,
                    endpoint="vegf",
                    assay="ELISA",
                    value=str(study.potency[lot]),
                    unit="pg/mL",
                    run="plate of 14 March",
                    is_reference="false",
                )
                for lot in lots
            ],
            policy=write_policy(
                SitePolicy(
                    version=1,
                    site=site,
                    profile=Profile.OPEN,
                    allowed_studies=(plan.study,),
                    allowed_coordinators=(coordinator_key(plan.study, SEED).fingerprint,),
                    auto_approve=(plan.study,),
                )
            ),
        )
    return folder
