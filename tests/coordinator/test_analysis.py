"""Reports to results."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from coordinator.analysis import AnalysisParameters, analyse, parameters_from_plan, study_data_from_reports
from coordinator.study_data import PotencyReplicates, StudyData
from protocol.identifiers import EndpointId, Sha256
from protocol.plan import (
    Alternative,
    AnalysisPlan,
    AtlasReference,
    Cohort,
    CohortRole,
    Endpoint,
    Normalisation,
    Profile,
    Strata,
    StudyPlan,
)
from protocol.report import Count, CountNoise, Disclosure, LotQuality, LotReport, PotencySeries, Software
from protocol.results import NullMethod, VerdictCode
from shared.errors import ProblemsError

_HASH = Sha256("ab" * 32)
_VEGF = EndpointId("vegf")
_SHAPE = np.array([[90, 610, 300], [140, 570, 290], [210, 490, 300], [260, 500, 240]])


def _plan(**changes: object) -> StudyPlan:
    content: dict[str, object] = {
        "study": "vegf",
        "title": "VEGF",
        "question": "Which cluster follows VEGF?",
        "opens": "2026-Q3",
        "atlas": AtlasReference(name="atlas", sha256=_HASH, clusters=("c0", "c1", "c2")),
        "sites": ("a", "b"),
        "endpoints": (Endpoint(endpoint=_VEGF, assay="VEGF ELISA", unit="pg/mL"),),
        "cohorts": (Cohort(cohort="discovery", role=CohortRole.DISCOVERY),),
        "analysis": AnalysisPlan(seed=1),
    }
    return StudyPlan.model_validate(content | changes)


def _report(site: str, lot: int, counts: Sequence[int], value: float, **changes: object) -> LotReport:
    name = f"{ord(site):08x}{lot:08x}"
    content: dict[str, object] = {
        "study": "vegf",
        "plan_sha256": _HASH,
        "atlas_sha256": _HASH,
        "site": site,
        "lot": name,
        "donor": name,
        "cohort": "discovery",
        "tissue": "bone marrow",
        "product": "MSC",
        "passage": 5,
        "condition": "normoxia",
        "cells_after_qc": Count.exactly(sum(counts) + 10),
        "counts": tuple(Count.exactly(int(count)) for count in counts),
        "unassigned": Count.exactly(10),
        "quality": LotQuality(
            median_counts=5_000.0, median_genes=2_000.0, median_mitochondrial_share=None, gene_coverage=1.0
        ),
        "potency": (
            PotencySeries(endpoint=_VEGF, assay="VEGF ELISA", unit="pg/mL", run="r1", replicates=(value, value)),
        ),
        "software": Software(crosslot="0.1.0", mapper="1"),
        "disclosure": Disclosure(
            requested=Profile.OPEN, applied=Profile.OPEN, small_count_threshold=0, policy_sha256=_HASH
        ),
    }
    return LotReport.model_validate(content | changes)


def _reports() -> list[LotReport]:
    """Two sites of four lots; c0 follows potency at both, the second site measures ten times as much."""
    return [
        _report(site, lot, counts.tolist(), scale * (lot + 1.0))
        for site, scale in (("a", 1.0), ("b", 10.0))
        for lot, counts in enumerate(_SHAPE)
    ]


def _parameters(plan: StudyPlan | None = None) -> AnalysisParameters:
    return parameters_from_plan(plan or _plan(), _HASH)


def _data() -> StudyData:
    return study_data_from_reports(_plan(), _reports())


def test_the_order_of_arrival_does_not_show() -> None:
    expected = analyse(_data(), _parameters()).model_dump_json()
    shuffled = study_data_from_reports(_plan(), _reports()[::-1])
    assert analyse(shuffled, _parameters()).model_dump_json() == expected


def test_the_number_of_threads_does_not_show() -> None:
    plan = _plan(analysis=AnalysisPlan(seed=1, strata=Strata.NONE))
    data = _wide_data(40)
    parameters = _parameters(plan)
    assert analyse(data, parameters, threads=1) == analyse(data, parameters, threads=3)


def _wide_data(lots_per_site: int) -> StudyData:
    rng = np.random.default_rng(5)
    reports = [
        _report(site, lot, rng.integers(1, 500, 3).tolist(), float(rng.uniform(1, 9)))
        for site in "ab"
        for lot in range(lots_per_site)
    ]
    return study_data_from_reports(_plan(), reports)


def test_a_share_that_follows_potency_at_every_site_is_found() -> None:
    results = analyse(_data(), _parameters())
    best = results.associations[0]
    assert (best.cluster, best.rho, best.method, best.significant) == ("c0", 1.0, NullMethod.EXACT, True)
    # Of 4! x 4! orders the observed one and its mirror image are as extreme.
    assert best.p_value == 2 / 576
    assert results.verdicts[0].code is VerdictCode.FOUND
    assert results.verdicts[0].clusters[0] == "c0"
    assert "The share of c0 rises with VEGF ELISA over 8 lots at 2 sites" in results.verdicts[0].sentence
    assert (results.lots.n, results.lots.n_units, results.lots.sites, results.lots.strata) == (8, 8, 2, 2)


def test_a_refused_design_gives_its_reason_and_no_number() -> None:
    data = study_data_from_reports(_plan(), [r for r in _reports() if int(r.lot[8:], 16) < 2])
    results = analyse(data, _parameters())
    assert results.verdicts[0].code is VerdictCode.REFUSED
    assert results.verdicts[0].reason_code == "alpha-unreachable"
    assert results.associations == ()


def test_two_lots_are_refused() -> None:
    results = analyse(study_data_from_reports(_plan(), _reports()[:2]), _parameters())
    assert results.verdicts[0].reason_code == "too-few-units"


def test_no_lot_at_all_is_refused() -> None:
    results = analyse(study_data_from_reports(_plan(), []), _parameters())
    assert results.verdicts[0].reason_code == "too-few-units"
    assert results.lots.n == 0


def test_equal_potencies_are_refused() -> None:
    reports = [_report("a", lot, counts.tolist(), 5.0) for lot, counts in enumerate(np.tile(_SHAPE, (2, 1)))]
    assert analyse(study_data_from_reports(_plan(), reports), _parameters()).verdicts[0].reason_code == (
        "no-variation-in-potency"
    )


def test_a_constant_cluster_stays_in_the_family_with_p_of_one() -> None:
    reports = [
        _report(site, lot, [counts[0], 990 - counts[0], 10], float(lot + 1))
        for site in "ab"
        for lot, counts in enumerate(_SHAPE.tolist())
    ]
    results = analyse(study_data_from_reports(_plan(), reports), _parameters())
    constant = next(row for row in results.associations if row.cluster == "c2")
    assert (constant.rho, constant.p_value, constant.p_adjusted) == (None, 1.0, 1.0)
    assert constant.method is NullMethod.UNDEFINED
    assert len(results.associations) == 3


def test_lots_of_one_donor_are_one_unit() -> None:
    reports = _reports()
    twin = reports[0].model_copy(update={"lot": "f" * 16})
    once, twice = (
        analyse(study_data_from_reports(_plan(), lots), _parameters()) for lots in (reports, [*reports, twin])
    )
    assert (twice.lots.n, twice.lots.n_units) == (9, 8)
    assert [row.p_value for row in twice.associations] == [row.p_value for row in once.associations]


def test_the_highest_version_of_a_lot_counts() -> None:
    reports = _reports()
    older = _report("a", 0, [1, 1, 998], 99.0)
    newer = reports[0].model_copy(update={"version": 2})
    assert analyse(study_data_from_reports(_plan(), [older, *reports[1:], newer]), _parameters()) == analyse(
        _data(), _parameters()
    )


def test_two_reports_of_one_version_are_refused() -> None:
    with pytest.raises(ProblemsError, match="found two"):
        study_data_from_reports(_plan(), [*_reports(), _report("a", 0, [1, 1, 998], 99.0)])


def test_mixed_units_are_refused_all_at_once() -> None:
    series = PotencySeries(endpoint=_VEGF, assay="VEGF ELISA", unit="ng/mL", run="r1", replicates=(1.0,))
    reports = [report.model_copy(update={"potency": (series,)}) for report in _reports()]
    with pytest.raises(ProblemsError, match="8 problems") as caught:
        study_data_from_reports(_plan(), reports)
    assert all("expected vegf by VEGF ELISA in pg/mL" in str(problem) for problem in caught.value.problems)


def test_a_lot_out_of_the_analysis_is_named_with_its_reason() -> None:
    endpoint = Endpoint(endpoint=_VEGF, assay="VEGF ELISA", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE)
    cohort = Cohort(cohort="discovery", role=CohortRole.DISCOVERY, tissues=("bone marrow",))
    plan = _plan(endpoints=(endpoint,), cohorts=(cohort,))
    reports = _reports()
    data = study_data_from_reports(
        plan,
        [
            reports[0].model_copy(update={"tissue": "adipose"}),
            reports[1].model_copy(update={"cohort": "other"}),
            reports[2].model_copy(
                update={
                    "cells_after_qc": Count.exactly(0),
                    "counts": (Count.exactly(0),) * 3,
                    "unassigned": Count.exactly(0),
                }
            ),
            *reports[3:],
        ],
    )
    excluded = {lot.lot: lot.code for lot in analyse(data, _parameters(plan)).lots.excluded}
    assert [excluded[report.lot] for report in reports[:4]] == [
        "tissue-outside-cohort",
        "unknown-cohort",
        "no-cells",
        "no-reference",
    ]


def test_a_lot_without_the_endpoint_is_left_out() -> None:
    data = _data()
    runs = list(data.potency["vegf"].runs)
    runs[0] = ()
    without = replace(data, potency={"vegf": PotencyReplicates(runs=tuple(runs))})
    results = analyse(without, _parameters())
    assert [lot.code for lot in results.lots.excluded] == ["no-potency"]
    assert results.lots.n == 7


def test_a_test_in_one_direction_does_not_find_the_other() -> None:
    plan = _plan(analysis=AnalysisPlan(seed=1, alternative=Alternative.LESS))
    c0 = next(row for row in analyse(_data(), _parameters(plan)).associations if row.cluster == "c0")
    assert (c0.rho, c0.p_value, c0.significant) == (1.0, 1.0, False)


@pytest.mark.parametrize("total", [999, 1_011])
def test_counts_that_cannot_add_up_to_all_cells_are_refused(total: int) -> None:
    wrong = _reports()[0].model_copy(update={"cells_after_qc": Count.exactly(total)})
    with pytest.raises(ProblemsError, match="expected counts that can add up to all cells, found 1010 to 1010"):
        study_data_from_reports(_plan(), [wrong])


def _noised(report: LotReport, epsilon: float) -> LotReport:
    said = report.disclosure.model_copy(update={"noise": CountNoise(epsilon=epsilon)})
    return report.model_copy(update={"disclosure": said})


def test_noise_on_counts_lowers_the_reliability_of_shares_and_nothing_else() -> None:
    # 1,010 cells: at epsilon .05 the noise on a share (sd .056) is four times what sampling leaves (.012 to .015).
    parameters = parameters_from_plan(_plan(), None)
    exact = analyse(study_data_from_reports(_plan(), _reports()), parameters)
    noised = analyse(study_data_from_reports(_plan(), [_noised(each, 0.05) for each in _reports()]), parameters)
    for without, under in zip(exact.associations, noised.associations, strict=True):
        one, other = without.sensitivity.reliability_share, under.sensitivity.reliability_share
        assert one is not None
        assert other is not None
        assert other < one or other == 0.0
        unmoved = {"reliability_share": None, "rho_disattenuated": None}
        assert without.model_copy(
            update={"sensitivity": without.sensitivity.model_copy(update=unmoved)}
        ) == under.model_copy(update={"sensitivity": under.sensitivity.model_copy(update=unmoved)})


def test_the_report_says_that_noise_hides_a_cell_and_not_a_donor() -> None:
    reports = _reports()
    mixed = [_noised(reports[0], 1.0), _noised(reports[1], 0.5), *reports[2:]]
    parameters = parameters_from_plan(_plan(), None)
    (said,) = analyse(study_data_from_reports(_plan(), mixed), parameters).warnings
    assert f"2 of {len(reports)} lots" in said
    assert "epsilon 0.5 or 1 a report" in said
    assert "a cell, not a donor" in said
    assert analyse(study_data_from_reports(_plan(), reports), parameters).warnings == ()
