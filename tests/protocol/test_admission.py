"""Whether a report fits the plan that it names: one rule for the site and for the coordinator."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.admission import check_report_fits, misfits_of_values
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Pseudonym, Sha256
from protocol.plan import Normalisation, StudyPlan
from protocol.report import Count, LotReport

Change = Callable[..., Any]
PLAN_SHA256 = Sha256("b" * 64)


def refusal(report: LotReport, plan: StudyPlan, plan_sha256: Sha256 = PLAN_SHA256) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        check_report_fits(report, plan, plan_sha256)
    return caught.value


def test_a_report_that_the_plan_asks_for_fits(report: LotReport, plan: StudyPlan) -> None:
    check_report_fits(report, plan, PLAN_SHA256)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"study": "another-study"}, ErrorCode.WRONG_STUDY),
        ({"plan_sha256": "c" * 64}, ErrorCode.PLAN_MISMATCH),
        ({"atlas_sha256": "c" * 64}, ErrorCode.ATLAS_MISMATCH),
        ({"site": "oslo"}, ErrorCode.WRONG_SITE),
        ({"cohort": "validation"}, ErrorCode.LOTS_UNSUITABLE),
        ({"tissue": "adipose"}, ErrorCode.LOTS_UNSUITABLE),
        ({"counts": (Count.exactly(1000), Count.exactly(1000))}, ErrorCode.LOTS_UNSUITABLE),
        ({"cells_after_qc": Count.exactly(5000)}, ErrorCode.LOTS_UNSUITABLE),
        ({"cells_after_qc": Count.exactly(100)}, ErrorCode.LOTS_UNSUITABLE),
    ],
)
def test_each_rule_refuses_what_breaks_it(
    changes: dict[str, object], code: ErrorCode, report: LotReport, plan: StudyPlan, changed: Change
) -> None:
    assert refusal(changed(report, **changes), plan).code is code


@pytest.mark.parametrize("changes", [{"endpoint": "hgf"}, {"unit": "ng/mL"}, {"assay": "Luminex"}])
def test_a_potency_of_another_endpoint_unit_or_assay_is_refused(
    changes: dict[str, str], report: LotReport, plan: StudyPlan, changed: Change
) -> None:
    series = changed(report.potency[0], **changes)
    error = refusal(changed(report, potency=(report.potency[0], series)), plan)
    assert error.code is ErrorCode.LOTS_UNSUITABLE
    assert next(iter(changes.values())) in str(error)


def test_every_misfit_of_the_values_is_told_and_the_first_refuses_the_report(
    report: LotReport, plan: StudyPlan, changed: Change
) -> None:
    assert list(misfits_of_values(report, plan)) == []
    strange = tuple(changed(report.potency[0], **change) for change in ({"endpoint": "hgf"}, {"unit": "ng/mL"}))
    wrong = changed(report, counts=report.counts[:2], cells_after_qc=Count.exactly(5_000_000), potency=strange)
    reasons = list(misfits_of_values(wrong, plan))
    assert len(reasons) == 4
    assert all(word in reason for word, reason in zip(("5 counts", "add up", "hgf", "ng/mL"), reasons, strict=True))
    assert reasons[0] in str(refusal(wrong, plan))


def test_a_relative_potency_needs_its_reference(report: LotReport, plan: StudyPlan, changed: Change) -> None:
    endpoint = changed(plan.endpoints[0], normalisation=Normalisation.RUN_REFERENCE)
    relative = changed(plan, endpoints=(endpoint,))
    check_report_fits(report, relative, PLAN_SHA256)
    bare = changed(report, potency=(changed(report.potency[0], reference_replicates=()),))
    assert refusal(bare, relative).code is ErrorCode.LOTS_UNSUITABLE
    check_report_fits(bare, plan, PLAN_SHA256)


def test_a_lot_without_a_cell_is_refused(report: LotReport, plan: StudyPlan, changed: Change) -> None:
    none = Count.exactly(0)
    empty = changed(report, counts=(none,) * 5, unassigned=none, cells_after_qc=none)
    assert refusal(empty, plan).code is ErrorCode.LOTS_UNSUITABLE


_COUNT = st.tuples(st.integers(0, 50), st.integers(0, 9)).map(lambda ends: Count(low=ends[0], high=sum(ends)))


@given(parts=st.lists(_COUNT, min_size=6, max_size=6), total=_COUNT)
def test_counts_fit_exactly_where_some_table_within_their_intervals_sums_to_the_total(
    parts: list[Count], total: Count, report: LotReport, plan: StudyPlan, changed: Change
) -> None:
    lot = changed(report, counts=tuple(parts[:5]), unassigned=parts[5], cells_after_qc=total)
    sums = range(sum(part.low for part in parts), sum(part.high for part in parts) + 1)
    if total.high >= 1 and any(total.low <= cells <= total.high for cells in sums):
        check_report_fits(lot, plan, PLAN_SHA256)
    else:
        assert refusal(lot, plan).code is ErrorCode.LOTS_UNSUITABLE


def test_the_other_party_is_told_the_code_and_not_the_lot(report: LotReport, plan: StudyPlan, changed: Change) -> None:
    error = refusal(changed(report, lot=Pseudonym("00" * 8), cohort="validation"), plan)
    assert "00" * 8 in str(error)
    assert "00" * 8 not in error.code.sentence
