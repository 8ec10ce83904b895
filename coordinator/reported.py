"""The data of a study from its verified reports.

Of a lot reported again the highest version counts. What does not belong to the plan is refused here, all of it at
once: values of another atlas, unit or assay cannot be ranked together.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from coordinator.modules.marker_table import marker_table
from coordinator.study_data import AttributeTable, FloatArray, LotQualityTable, PotencyReplicates, StudyData
from protocol.admission import misfits_of_values
from protocol.plan import StudyPlan
from protocol.report import LotReport
from shared.errors import InputError, ProblemsError


def study_data_from_reports(plan: StudyPlan, reports: Sequence[LotReport]) -> StudyData:
    """Return the data of a study from its verified reports; of a lot reported again, the highest version.

    Raises
    ------
    ProblemsError
        If reports do not belong to the plan: another study or atlas, a number of clusters, a unit or an assay that
        the plan does not declare, or two different reports of one lot under one version.
    """
    latest: dict[tuple[str, str], LotReport] = {}
    problems: list[InputError] = []
    for report in sorted(reports, key=lambda report: (report.site, report.lot, report.version)):
        problems.extend(_misfits(plan, report))
        known = latest.get((report.site, report.lot))
        if known is not None and known.version == report.version and known != report:
            problems.append(
                InputError(
                    f"lot {report.lot} of {report.site}: expected one report of version {report.version}, found two",
                    hint="the site reports a change as a new version",
                )
            )
        latest[report.site, report.lot] = report
    if problems:
        raise ProblemsError(f"reports of study {plan.study}", problems)
    return _tabulated(plan, [latest[key] for key in sorted(latest)])


def _misfits(plan: StudyPlan, report: LotReport) -> Iterator[InputError]:
    """Yield all of one report that cannot stand in the plan's table."""
    where = f"lot {report.lot} of {report.site}"
    if report.study != plan.study:
        yield InputError(f"{where}: expected study {plan.study}, found {report.study}")
    if report.atlas_sha256 != plan.atlas.sha256:
        yield InputError(f"{where}: expected atlas {plan.atlas.sha256}, found {report.atlas_sha256}")
    for misfit in misfits_of_values(report, plan):
        yield InputError(f"{where}: {misfit}", hint="values of another kind cannot be ranked together")


def _tabulated(plan: StudyPlan, reports: Sequence[LotReport]) -> StudyData:
    n, clusters = len(reports), len(plan.atlas.clusters)
    quality = [report.quality for report in reports]
    return StudyData(
        lots=tuple(report.lot for report in reports),
        sites=tuple(report.site for report in reports),
        donors=tuple(report.donor for report in reports),
        tissues=tuple(report.tissue for report in reports),
        cohorts=tuple(report.cohort for report in reports),
        clusters=plan.atlas.clusters,
        counts_low=np.array([[c.low for c in r.counts] for r in reports], dtype=np.int64).reshape(n, clusters),
        counts_high=np.array([[c.high for c in r.counts] for r in reports], dtype=np.int64).reshape(n, clusters),
        unassigned_low=np.array([report.unassigned.low for report in reports], dtype=np.int64),
        unassigned_high=np.array([report.unassigned.high for report in reports], dtype=np.int64),
        totals_low=np.array([report.cells_after_qc.low for report in reports], dtype=np.int64),
        totals_high=np.array([report.cells_after_qc.high for report in reports], dtype=np.int64),
        potency={
            endpoint.endpoint: PotencyReplicates(
                runs=tuple(
                    tuple(
                        (series.run, series.replicates, series.reference_replicates)
                        for series in report.potency
                        if series.endpoint == endpoint.endpoint
                    )
                    for report in reports
                )
            )
            for endpoint in plan.endpoints
        },
        attributes=_attributes(plan, reports),
        arms=None if plan.modules.comparability is None else tuple(report.arm for report in reports),
        markers=marker_table(plan, reports),
        quality=LotQualityTable(
            median_counts=_or_nan([q.median_counts for q in quality]),
            median_genes=_or_nan([q.median_genes for q in quality]),
            median_mitochondrial_share=np.array(
                [np.nan if q.median_mitochondrial_share is None else q.median_mitochondrial_share for q in quality],
                dtype=np.float64,
            ),
            gene_coverage=np.array([q.gene_coverage for q in quality], dtype=np.float64),
        ),
        noise_epsilon=_noise(reports),
    )


def _noise(reports: Sequence[LotReport]) -> FloatArray | None:
    """Return the epsilon of each report's noise, NaN where it has none; None where no report has any."""
    applied = [report.disclosure.noise for report in reports]
    if not any(applied):
        return None
    return np.array([np.nan if noise is None else noise.epsilon for noise in applied], dtype=np.float64)


def _or_nan(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _attributes(plan: StudyPlan, reports: Sequence[LotReport]) -> AttributeTable | None:
    if plan.modules.attributes is None:
        return None
    names = tuple(each.attribute for each in plan.modules.attributes.attributes)
    values = np.full((len(reports), len(names)), np.nan)
    below = np.zeros(values.shape, dtype=np.bool_)
    for row, report in enumerate(reports):
        for each in report.attributes:
            column = names.index(each.attribute)
            below[row, column] = each.below_detection
            values[row, column] = np.nan if each.value is None else each.value
    return AttributeTable(names=names, values=values, below=below)
