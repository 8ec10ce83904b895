"""Whether a lot report fits the study plan it names: the same rules at the site before sending and on receipt.

SPEC 4.7: a report names the plan and the atlas by their exact hashes, a site and a cohort of the plan, one count for
each cluster of the atlas, counts that can sum to the cells after QC, and endpoints with the plan's assay and unit.
"""

from collections.abc import Iterator

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
    for reason in misfits_of_values(report, plan):  # the first is enough to refuse it
        raise _unsuitable(report, f"{reason}.")
    if report.cells_after_qc.high < 1:
        raise _unsuitable(report, "it has no cells.")
    _check_references(report, plan)
    misfit = misfit_of_modules(
        plan.modules,
        arm=report.arm,
        attributes=report.attributes,
        markers=report.markers,
        n_clusters=len(plan.atlas.clusters),
    )
    if misfit is not None:
        raise _unsuitable(report, misfit)


def misfits_of_values(report: LotReport, plan: StudyPlan) -> Iterator[str]:
    """Yield every reason why the report's numbers cannot stand in one table with those of the plan's other lots.

    Its counts are of other clusters or cannot add up to the cells after QC; an endpoint is none of the plan's, or was
    measured by another assay or in another unit.
    """
    if len(report.counts) != len(plan.atlas.clusters):
        yield f"expected {len(plan.atlas.clusters)} counts, found {len(report.counts)}"
    parts, total = (*report.counts, report.unassigned), report.cells_after_qc
    low, high = sum(part.low for part in parts), sum(part.high for part in parts)
    if low > total.high or high < total.low:
        yield f"expected counts that can add up to all cells, found {low} to {high} of {total.low} to {total.high}"
    endpoints = {endpoint.endpoint: endpoint for endpoint in plan.endpoints}
    for series in report.potency:
        endpoint = endpoints.get(series.endpoint)
        if endpoint is None:
            yield f"expected an endpoint of the plan, found {series.endpoint}"
        elif (series.assay, series.unit) != (endpoint.assay, endpoint.unit):
            yield (
                f"expected {series.endpoint} by {endpoint.assay} in {endpoint.unit}, "
                f"found {series.assay} in {series.unit}"
            )


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


def _check_references(report: LotReport, plan: StudyPlan) -> None:
    relative = {each.endpoint for each in plan.endpoints if each.normalisation is Normalisation.RUN_REFERENCE}
    for series in report.potency:
        if series.endpoint in relative and not series.reference_replicates:
            raise _unsuitable(report, f"{series.endpoint}, run {series.run}: the plan asks for reference replicates.")
