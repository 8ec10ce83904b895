"""Validation: only what discovery named, one-sided, tissue by tissue, and eligible before potency is read."""

from dataclasses import replace

import numpy as np
import pytest

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.study_data import PotencyReplicates, StudyData
from coordinator.validation import eligible_tissues
from protocol.identifiers import EndpointId
from protocol.plan import Alternative, AnalysisPlan, Cohort, CohortRole, Endpoint, Strata, ValidationPlan
from protocol.results import ResultSet, ValidationRow

_VEGF = EndpointId("vegf")
RULE = ValidationPlan(minimum_share=0.01)


def _data(*, validation_slope: float = 1.0) -> StudyData:
    """Discovery: 8 lots at one site, c0 rises with potency. Validation: 4 BM, 4 AD, 5 UC lots, each at another site."""
    cohorts = ["discovery"] * 8 + ["validation"] * 13
    tissues = ["BM"] * 8 + ["BM"] * 4 + ["AD"] * 4 + ["UC"] * 5
    sites = ["s0"] * 8 + [f"s{i}" for i in range(1, 14)]
    step = np.array([*range(8), *range(4), *range(4), *range(5)], dtype=np.float64)
    sign = np.where(np.array(cohorts) == "discovery", 1.0, validation_slope)
    c0 = (100 + 20 * step).astype(np.int64)
    c0[-5:] = [1, 2, 3, 4, 5]  # UC lots hardly have the cluster
    c1 = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6]) * 10
    counts = np.column_stack([c0, c1, 1_000 - c0 - c1])
    none = np.zeros(21, dtype=np.int64)
    total = np.full(21, 1_000, dtype=np.int64)
    value = np.exp(sign * step / 4)
    return StudyData(
        lots=tuple(f"l{i:02}" for i in range(21)),
        sites=tuple(sites),
        donors=tuple(f"d{i:02}" for i in range(21)),
        tissues=tuple(tissues),
        cohorts=tuple(cohorts),
        clusters=("c0", "c1", "c2"),
        counts_low=counts,
        counts_high=counts,
        unassigned_low=none,
        unassigned_high=none,
        totals_low=total,
        totals_high=total,
        potency={"vegf": PotencyReplicates(runs=tuple((("r", (float(v),), ()),) for v in value))},
    )


def _results(data: StudyData, validation: ValidationPlan | None = None) -> ResultSet:
    analysis = AnalysisPlan(
        clusters=("c0", "c1"), seed=1, validation=validation or ValidationPlan(strata=Strata.TISSUE, minimum_share=0.01)
    )
    return analyse(
        data,
        AnalysisParameters(
            study=study_card(study="s", title="t", question="q", plan_sha256=None, atlas=None, analysis=analysis),
            endpoints=(Endpoint(endpoint=_VEGF, assay="VEGF", unit="pg/mL"),),
            cohorts=(
                Cohort(cohort="discovery", role=CohortRole.DISCOVERY),
                Cohort(cohort="validation", role=CohortRole.VALIDATION),
            ),
            analysis=analysis,
        ),
    )


def _by_tissue(results: ResultSet) -> dict[str | None, ValidationRow]:
    return {row.tissue: row for row in results.validation}


def test_only_the_discovered_cluster_is_tested_in_its_direction() -> None:
    results = _results(_data())
    assert results.verdicts[0].clusters == ("c0",)
    assert {row.cluster for row in results.validation} == {"c0"}
    assert {row.alternative for row in results.validation} == {Alternative.GREATER}
    assert (results.lots.n, results.lots.n_validation) == (8, 13)


def test_each_tissue_and_all_eligible_ones_together() -> None:
    rows = _by_tissue(_results(_data()))
    assert set(rows) == {"BM", "AD", "UC", None}
    assert rows["BM"].p_value == rows["AD"].p_value == 1 / 24
    assert rows[None].p_value == 1 / 576  # 4! x 4! orders: UC is not eligible
    assert rows[None].n_lots == 8
    assert rows[None].eligibility_reason == "eligible: AD, BM"
    assert all(rows[tissue].holds for tissue in ("BM", "AD", None))


def test_a_tissue_without_the_cluster_neither_confirms_nor_refutes() -> None:
    uc = _by_tissue(_results(_data()))["UC"]
    assert (uc.eligible, uc.holds, uc.rho, uc.p_value) == (False, None, None, None)
    assert uc.reason_code == "tissue-not-eligible"
    assert uc.eligibility_reason == "median share 0.30% over 5 lots, at least 1.00% asked"


def test_eligibility_does_not_look_at_potency() -> None:
    data = _data()
    blind = replace(data, potency={})
    rows = [row for row, cohort in enumerate(data.cohorts) if cohort == "validation"]
    assert eligible_tissues(data, rows, 0, RULE) == eligible_tissues(blind, rows, 0, RULE)


def test_the_other_direction_does_not_hold() -> None:
    rows = _by_tissue(_results(_data(validation_slope=-1.0)))
    assert rows["BM"].rho == -1.0
    assert (rows["BM"].p_value, rows["BM"].holds, rows[None].holds) == (1.0, False, False)


def test_site_strata_that_leave_nothing_to_permute_are_refused_by_name() -> None:
    rows = _by_tissue(_results(_data(), ValidationPlan(strata=Strata.SITE)))
    assert {row.reason_code for row in rows.values()} == {"no-stratum-with-two-units"}
    assert all(row.holds is None and row.p_value is None for row in rows.values())


@pytest.mark.parametrize("strata", [Strata.NONE, Strata.TISSUE])
def test_tissues_never_mix(strata: Strata) -> None:
    assert _by_tissue(_results(_data(), ValidationPlan(strata=strata, minimum_share=0.01)))[None].p_value == 1 / 576


def test_nothing_discovered_leaves_nothing_to_validate() -> None:
    data = _data()
    flat = replace(data, counts_low=data.counts_low * 0 + 7, counts_high=data.counts_high * 0 + 7)
    assert _results(flat).validation == ()
