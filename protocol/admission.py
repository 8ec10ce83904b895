"""Whether a lot report fits the study plan it names: the same rules at the site before sending and on receipt.

SPEC 4.7: a report names the plan and the atlas by their exact hashes, a site and a cohort of the plan, one count for
each cluster of the atlas, counts that can sum to the cells after QC, and endpoints with the plan's assay and unit.
"""

from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Sha256
from protocol.modules.fit import misfit_of_modules
from protocol.plan import Normalisation, StudyPlan
from protocol.report import LotReport


def check_report_fits(report: LotReport, plan: StudyPlan, plan_sha256: Sha256) -> None:
    """Return if ``report`` is one that ``plan`` asks for.

    Parameters
    ----------
    report : LotReport
        Decoded, its signature held.
    plan : StudyPlan
        The signed plan.
    plan_sha256 : Sha256
        The hash of the plan's exact payload.

    Raises
    ------
    ProtocolError
        It names another study, plan, atlas or site, or its lot does not fit the plan.
    """
    if report.study != plan.study:
        raise ProtocolError(ErrorCode.WRONG_STUDY, f"Expected {plan.study}, found {report.study}.")
    if report.plan_sha256 != plan_sha256:
        raise ProtocolError(ErrorCode.PLAN_MISMATCH)
    if report.atlas_sha256 != plan.atlas.sha256:
        raise ProtocolError(ErrorCode.ATLAS_MISMATCH)
    if report.site not in plan.sites:
        raise ProtocolError(ErrorCode.WRONG_SITE, f"The plan does not name {report.site}.")
    _check_cohort(report, plan)
    _check_counts(report, plan)
    _check_potency(report, plan)
    misfit = misfit_of_modules(
        plan.modules,
        arm=report.arm,
        attributes=report.attributes,
        markers=report.markers,
        n_clusters=len(plan.atlas.clusters),
    )
    if misfit is not None:
        raise _unsuitable(report, misfit)


def _unsuitable(report: LotReport, detail: str) -> ProtocolError:
    return ProtocolError(ErrorCode.LOTS_UNSUITABLE, f"Lot {report.lot}: {detail}")


def _check_cohort(report: LotReport, plan: StudyPlan) -> None:
    for cohort in plan.cohorts:
        if cohort.cohort == report.cohort:
            if cohort.tissues and report.tissue not in cohort.tissues:
                expected = ", ".join(cohort.tissues)
                raise _unsuitable(report, f"cohort {cohort.cohort} takes {expected}; found {report.tissue}.")
            return
    expected = ", ".join(cohort.cohort for cohort in plan.cohorts)
    raise _unsuitable(report, f"expected a cohort of the plan ({expected}), found {report.cohort}.")


def _check_counts(report: LotReport, plan: StudyPlan) -> None:
    if len(report.counts) != len(plan.atlas.clusters):
        raise _unsuitable(report, f"expected {len(plan.atlas.clusters)} counts, found {len(report.counts)}.")
    parts = (*report.counts, report.unassigned)
    low, high = sum(part.low for part in parts), sum(part.high for part in parts)
    if low > report.cells_after_qc.high or high < report.cells_after_qc.low:
        raise _unsuitable(report, "its counts cannot sum to its cells after QC.")
    if report.cells_after_qc.high < 1:
        raise _unsuitable(report, "it has no cells.")


def _check_potency(report: LotReport, plan: StudyPlan) -> None:
    endpoints = {endpoint.endpoint: endpoint for endpoint in plan.endpoints}
    for series in report.potency:
        endpoint = endpoints.get(series.endpoint)
        if endpoint is None:
            raise _unsuitable(report, f"endpoint {series.endpoint} is not in the plan.")
        if (series.assay, series.unit) != (endpoint.assay, endpoint.unit):
            raise _unsuitable(
                report,
                f"{series.endpoint}: expected {endpoint.assay} in {endpoint.unit}, "
                f"found {series.assay} in {series.unit}.",
            )
        if endpoint.normalisation is Normalisation.RUN_REFERENCE and not series.reference_replicates:
            raise _unsuitable(report, f"{series.endpoint}, run {series.run}: the plan asks for reference replicates.")
