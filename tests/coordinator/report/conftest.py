"""Small studies of each kind that a report must tell: made by the real models and the real analysis."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.report.contents import ReportModel
from coordinator.report.edition import Edition
from coordinator.report.model import Bundle, build_report
from coordinator.study_data import LotQualityTable, PotencyReplicates, StudyData
from protocol.identifiers import EndpointId, Sha256, SiteId
from protocol.plan import (
    Alternative,
    AnalysisPlan,
    AtlasReference,
    Cohort,
    CohortRole,
    Endpoint,
    Normalisation,
    Strata,
)
from protocol.results import (
    ExcludedLot,
    LeaveOneOut,
    Parity,
    ResultSet,
    Sensitivity,
    ValidationRow,
    VerdictCode,
)

PBMC = (
    "B cells", "CD14 Mono", "CD4 Memory T", "CD4 Naive T", "CD8 T", "DC", "FCGR3A Mono", "Megakaryocytes",
    "NK", "Plasma", "T activated", "pDC", "Erythroblasts and their precursors",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Results with the lots they came from, and what else the report is given."""

    results: ResultSet
    data: StudyData
    bundle: Bundle

    def report(self, edition: Edition | None = None) -> ReportModel:
        return build_report(self.results, self.data, edition=edition or Edition.coordinator(), bundle=self.bundle)


def _pseudonym(rng: np.random.Generator) -> str:
    return rng.bytes(8).hex()


def _analysed(data: StudyData, *, endpoint: Endpoint, title: str, question: str, strata: Strata) -> ResultSet:
    plan = AnalysisPlan(strata=strata, draws=999, seed=7)
    card = study_card(
        study="study-" + endpoint.endpoint,
        title=title,
        question=question,
        plan_sha256=Sha256("5e" * 32),
        atlas=AtlasReference(name="reference atlas", sha256=Sha256("a7" * 32), clusters=data.clusters),
        analysis=plan,
    )
    cohorts = (
        Cohort(cohort="discovery", role=CohortRole.DISCOVERY),
        Cohort(cohort="validation", role=CohortRole.VALIDATION),
    )
    parameters = AnalysisParameters(study=card, endpoints=(endpoint,), cohorts=cohorts, analysis=plan)
    results = analyse(data, parameters, threads=1)
    return results.model_copy(update={"parity": Parity(
        max_abs_count_difference=0, max_abs_rho_difference=0.0, same_ranking=True)})  # fmt: skip


def _quality(rng: np.random.Generator, n_lots: int) -> LotQualityTable:
    mitochondrial = rng.uniform(0.02, 0.09, n_lots)
    mitochondrial[0] = np.nan
    return LotQualityTable(
        median_counts=rng.integers(2_000, 9_000, n_lots).astype(np.float64),
        median_genes=rng.integers(900, 2_800, n_lots).astype(np.float64),
        median_mitochondrial_share=mitochondrial,
        gene_coverage=rng.uniform(0.9, 1.0, n_lots),
    )


def _replicates(rng: np.random.Generator, log_potency: np.ndarray, *, reference: bool) -> PotencyReplicates:
    runs = []
    for value in log_potency:
        lot = tuple(float(100 * np.exp(value + error)) for error in rng.normal(0, 0.05, 3))
        standard = tuple(float(100 * np.exp(error)) for error in rng.normal(0, 0.05, 3)) if reference else ()
        runs.append((("run-1", lot, standard),))
    return PotencyReplicates(runs=tuple(runs))


def pbmc_study() -> Study:
    """13 clusters, 8 lots, 3 sites: nothing is significant after correction."""
    rng = np.random.default_rng(3)
    n_lots, sites = 8, ("amber", "amber", "amber", "birch", "birch", "birch", "cedar", "cedar")
    shares = rng.dirichlet(np.array([9, 22, 18, 20, 9, 2, 6, 1.2, 8, 0.2, 4, 1, 0.15]) * 3, n_lots)
    totals = rng.integers(56, 311, n_lots)
    counts = np.array([rng.multinomial(total, share) for total, share in zip(totals, shares, strict=True)])
    counts[:, 12] = 0
    level = 0.5 * np.log(shares[:, 1]) + rng.normal(0, 0.18, n_lots)
    data = StudyData(
        lots=tuple(_pseudonym(rng) for _ in range(n_lots)),
        sites=sites,
        donors=tuple(_pseudonym(rng) for _ in range(n_lots)),
        tissues=("blood",) * n_lots,
        cohorts=("discovery",) * n_lots,
        clusters=PBMC,
        counts_low=counts.astype(np.int64),
        counts_high=counts.astype(np.int64),
        unassigned_low=np.full(n_lots, 4),
        unassigned_high=np.full(n_lots, 4),
        totals_low=totals + 4,
        totals_high=totals + 4,
        potency={"cxcl10": _replicates(rng, level, reference=False)},
    )
    results = _analysed(
        data,
        endpoint=Endpoint(endpoint=EndpointId("cxcl10"), assay="CXCL10", unit="CPM"),
        title="Blood cells and the interferon response",
        question="Which cell type's share of a lot follows the CXCL10 that the lot makes under interferon-beta?",
        strata=Strata.SITE,
    )
    return Study(results=results, data=data, bundle=Bundle())


def msc_study() -> Study:
    """6 clusters, 11 lots at 4 sites, 13 validation lots in 3 tissues: cluster 3 drives potency."""
    rng = np.random.default_rng(11)
    sites = ("north",) * 3 + ("south",) * 3 + ("east",) * 3 + ("west",) * 2
    order = sorted(range(11), key=lambda row: sites[row])
    discovery = [("discovery", sites[row], "bone marrow") for row in order]
    validation = [("validation", ("north", "west")[row % 2], "bone marrow") for row in range(4)]
    validation += [("validation", ("east", "south")[row % 2], "adipose") for row in range(4)]
    validation += [("validation", "cord-bank", "umbilical cord") for _ in range(5)]
    lots = sorted(discovery + validation, key=lambda lot: (lot[1], lot[0], lot[2]))
    n_lots = len(lots)
    shares = rng.dirichlet(np.array([30, 24, 16, 14, 10, 6]), n_lots)
    activity = {"bone marrow": 1.0, "adipose": 0.8, "umbilical cord": 0.0}
    active = np.array([activity[tissue] for _, _, tissue in lots])
    level = 11 * active * (shares[:, 3] - 0.14) - 1.2 * (active == 0) + rng.normal(0, 0.08, n_lots)
    totals = rng.integers(1_500, 4_000, n_lots)
    counts = np.array([rng.multinomial(total, share) for total, share in zip(totals, shares, strict=True)])
    unassigned = rng.integers(10, 120, n_lots)
    data = StudyData(
        lots=tuple(_pseudonym(rng) for _ in range(n_lots)),
        sites=tuple(site for _, site, _ in lots),
        donors=tuple(_pseudonym(rng) for _ in range(n_lots)),
        tissues=tuple(tissue for _, _, tissue in lots),
        cohorts=tuple(cohort for cohort, _, _ in lots),
        clusters=("0", "1", "2", "3", "4", "5"),
        counts_low=counts.astype(np.int64),
        counts_high=counts.astype(np.int64),
        unassigned_low=unassigned,
        unassigned_high=unassigned,
        totals_low=totals + unassigned,
        totals_high=totals + unassigned,
        potency={"vegf": _replicates(rng, level, reference=True)},
        quality=_quality(rng, n_lots),
    )
    results = _analysed(
        data,
        endpoint=Endpoint(
            endpoint=EndpointId("vegf"), assay="VEGF secretion", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE
        ),
        title="What makes a bone-marrow MSC lot secrete VEGF under ischemia",
        question="Which cluster's share of a lot follows the VEGF that the lot secretes at low oxygen without glucose?",
        strata=Strata.SITE_AND_TISSUE,
    )
    return Study(
        results=_with_validation(_with_sensitivity(results)),
        data=data,
        bundle=Bundle(validation_cohorts=("validation",), results_sha256="d4" * 32),
    )


def _around(rho: float, below: float, above: float) -> LeaveOneOut:
    low, high = max(rho - below, -1.0), min(rho + above, 1.0)
    return LeaveOneOut(low=low, high=high, sign_holds=low * high > 0)


def _with_sensitivity(results: ResultSet) -> ResultSet:
    rows = []
    for index, row in enumerate(results.associations):
        rho = row.rho or 0.0
        rows.append(row.model_copy(update={"sensitivity": Sensitivity(
            leave_one_lot_out=_around(rho, 0.16, 0.09),
            leave_one_site_out=_around(rho, 0.22, 0.05),
            rho_clr=rho * 0.96,
            rho_after_lead_removal=None if index == 0 else rho * 0.5,
            p_after_lead_removal=None if index == 0 else 0.4,
            heterogeneity_i2=0.12,
            heterogeneity_q=3.4,
            heterogeneity_p=0.33,
            reliability_share=0.97,
            reliability_potency=0.91,
            rho_disattenuated=max(-1.0, min(rho * 1.06, 1.0)),
        )}))  # fmt: skip
    return results.model_copy(update={"associations": tuple(rows)})


def _with_validation(results: ResultSet) -> ResultSet:
    def row(tissue: str | None, n: int, *, holds: bool | None, **changes: object) -> ValidationRow:
        content = {
            "endpoint": "vegf", "cluster": "3", "cohort": "validation", "tissue": tissue, "n_lots": n, "eligible": True,
            "eligibility_reason": "the cluster makes up at least 1% of the cells", "alternative": Alternative.GREATER,
            "rho": None, "p_value": None, "ci_low": None, "ci_high": None, "holds": holds,
        }  # fmt: skip
        return ValidationRow.model_validate(content | changes)

    rows = (
        row(None, 8, holds=True, rho=0.88, p_value=0.012, ci_low=0.41, ci_high=0.98),
        row("bone marrow", 4, holds=True, rho=1.0, p_value=0.042, ci_low=0.2, ci_high=1.0),
        row("adipose", 4, holds=False, rho=0.4, p_value=0.3, ci_low=-0.5, ci_high=0.88),
        row("umbilical cord", 5, holds=None, eligible=False, reason_code="marker-not-expressed",
            eligibility_reason="the marker is expressed in 0.4% of the cells, at least 5% was asked for"),
    )  # fmt: skip
    lots = results.lots.model_copy(update={"n_validation": 13})
    return results.model_copy(update={"validation": rows, "lots": lots})


def suppressed_study() -> Study:
    """The MSC study with small counts suppressed, one lot without potency and lots that were not used."""
    study = msc_study()
    data = study.data
    low, high, totals = data.counts_low.copy(), data.counts_high.copy(), data.totals_low.copy()
    for row in range(0, len(data.lots), 3):
        totals[row] -= low[row, 2]
        low[row, 4], high[row, 4] = low[row, 4] - 20, high[row, 4] + 20
        low[row, 5], high[row, 5] = 0, 4
        low[row, 2], high[row, 2] = 0, 0
    runs = list(data.potency["vegf"].runs)
    runs[1] = ()
    excluded = (
        ExcludedLot(
            lot=data.lots[1], site=SiteId(data.sites[1]), code="no-potency", reason="no value of endpoint vegf"
        ),
        ExcludedLot(
            lot="0f0f0f0f0f0f0f0f", site=SiteId("west"), code="no-cells", reason="no cell passed quality control"
        ),
    )
    associations = tuple(
        row.model_copy(update={"sensitivity": row.sensitivity.model_copy(update={
            "rho_low_under_suppression": max(-1.0, (row.rho or 0) - 0.1),
            "rho_high_under_suppression": min(1.0, (row.rho or 0) + 0.14)})}) if row.cluster in {"4", "5"} else row
        for row in study.results.associations
    )  # fmt: skip
    results = study.results.model_copy(
        update={
            "associations": associations,
            "lots": study.results.lots.model_copy(update={"excluded": excluded}),
            "warnings": (
                f"donor {data.donors[0]} has lots in several strata",
                "one run had a single reference replicate",
            ),
        }
    )
    changed = replace(
        data,
        counts_low=low,
        counts_high=high,
        totals_low=totals,
        totals_high=totals,
        potency={"vegf": PotencyReplicates(runs=tuple(runs))},
    )
    return Study(results=results, data=changed, bundle=study.bundle)


def refused_study() -> Study:
    """4 sites with 2 lots each: the smallest reachable p is above alpha."""
    study = msc_study()
    data = study.data
    wanted = [
        row
        for site in ("east", "north", "south", "west")
        for row in [r for r in range(len(data.lots)) if data.sites[r] == site and data.cohorts[r] == "discovery"][:2]
    ]
    small = StudyData(
        lots=tuple(data.lots[row] for row in wanted),
        sites=tuple(data.sites[row] for row in wanted),
        donors=tuple(data.donors[row] for row in wanted),
        tissues=tuple(data.tissues[row] for row in wanted),
        cohorts=tuple(data.cohorts[row] for row in wanted),
        clusters=data.clusters,
        counts_low=data.counts_low[wanted],
        counts_high=data.counts_high[wanted],
        unassigned_low=data.unassigned_low[wanted],
        unassigned_high=data.unassigned_high[wanted],
        totals_low=data.totals_low[wanted],
        totals_high=data.totals_high[wanted],
        potency={"vegf": PotencyReplicates(runs=tuple(data.potency["vegf"].runs[row] for row in wanted))},
    )
    endpoint = Endpoint(
        endpoint=EndpointId("vegf"), assay="VEGF secretion", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE
    )
    results = _analysed(
        small,
        endpoint=endpoint,
        title="Too small a study",
        question="Which cluster follows VEGF?",
        strata=Strata.SITE,
    )
    assert results.verdicts[0].code is VerdictCode.REFUSED
    return Study(results=results, data=small, bundle=Bundle())


@pytest.fixture(scope="session")
def pbmc() -> Study:
    return pbmc_study()


@pytest.fixture(scope="session")
def msc() -> Study:
    return msc_study()


@pytest.fixture(scope="session")
def suppressed() -> Study:
    return suppressed_study()


@pytest.fixture(scope="session")
def refused() -> Study:
    return refused_study()
