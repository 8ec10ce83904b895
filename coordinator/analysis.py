"""Reports to results: the whole analysis of a study, as a pure function of its data and its plan.

Order of things, for each endpoint (each endpoint is a family of its own): lots to units, the association of every
cluster of the family, the sensitivity of each answer, the verdict; then the validation cohorts, which test only what
discovery named. A design that cannot answer is a result too: a verdict "refused" with its named reason, and no number.
The same data and plan give the same bytes, whatever the number of threads or the order of arrival.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from math import isnan
from typing import assert_never

from coordinator.modules.attributes import analyse_attributes
from coordinator.modules.comparability import compare_arms
from coordinator.modules.markers import analyse_markers
from coordinator.modules.potencies import potencies_together
from coordinator.modules.specification import specify
from coordinator.modules.specification_question import asked_by
from coordinator.noise import about_noise
from coordinator.reported import study_data_from_reports
from coordinator.robustness import defined, remove_lead, sensitivities, survives
from coordinator.study_data import StudyData
from coordinator.units import Units, donors_in_several_strata, rows_of_cohorts, units_of
from coordinator.validation import Discovered, validate
from coordinator.verdicts import Over, refusal_of, verdict_of
from protocol.identifiers import SiteId, StudyId
from protocol.modules.asked import Modules
from protocol.plan import (
    Alternative,
    AnalysisPlan,
    AtlasReference,
    Cohort,
    CohortRole,
    Endpoint,
    Normalisation,
    StudyPlan,
)
from protocol.results import (
    Association,
    EndpointCard,
    ExcludedLot,
    LotCounts,
    NullMethod,
    ResultSet,
    Sensitivity,
    StudyCard,
    Verdict,
)
from shared.errors import DesignError, InputError
from shared.statistics.arrays import Tail
from shared.statistics.association import Associations, associate
from shared.statistics.streams import named_seed

__all__ = ["AnalysisParameters", "analyse", "parameters_from_plan", "study_card", "study_data_from_reports"]


@dataclass(frozen=True, kw_only=True)
class AnalysisParameters:
    """The question, as the plan fixed it."""

    study: StudyCard
    endpoints: tuple[Endpoint, ...]
    cohorts: tuple[Cohort, ...]
    analysis: AnalysisPlan
    modules: Modules = field(default_factory=Modules)

    def family(self, data: StudyData) -> tuple[int, ...]:
        """Return the columns of the clusters that are tested.

        Raises
        ------
        InputError
            If the plan names a cluster that the data do not have.
        """
        names = self.analysis.clusters or data.clusters
        unknown = [name for name in names if name not in data.clusters]
        if unknown:
            raise InputError(f"expected clusters of the atlas ({', '.join(data.clusters)}), found {', '.join(unknown)}")
        return tuple(column for column, name in enumerate(data.clusters) if name in names)

    def cohorts_for(self, role: CohortRole) -> tuple[Cohort, ...]:
        """Return the cohorts of one role, in the plan's order."""
        return tuple(cohort for cohort in self.cohorts if cohort.role is role)


def parameters_from_plan(plan: StudyPlan, plan_sha256: str | None) -> AnalysisParameters:
    """Return the analysis that ``plan`` fixes; ``plan_sha256`` is the hash of its signed payload."""
    return AnalysisParameters(
        study=study_card(
            study=plan.study,
            title=plan.title,
            question=plan.question,
            plan_sha256=plan_sha256,
            atlas=plan.atlas,
            analysis=plan.analysis,
        ),
        endpoints=plan.endpoints,
        cohorts=plan.cohorts,
        analysis=plan.analysis,
        modules=plan.modules,
    )


def study_card(
    *,
    study: str,
    title: str,
    question: str,
    plan_sha256: str | None,
    atlas: AtlasReference | None,
    analysis: AnalysisPlan,
) -> StudyCard:
    """Return the card that says by what plan a result was had."""
    return StudyCard.model_validate(
        {
            "study": StudyId(study),
            "title": title,
            "question": question,
            "plan_sha256": plan_sha256,
            "atlas_name": atlas.name if atlas else None,
            "atlas_sha256": atlas.sha256 if atlas else None,
            "alpha": analysis.alpha,
            "confidence": analysis.confidence,
            "alternative": analysis.alternative,
            "strata": analysis.strata,
            "multiplicity": analysis.multiplicity,
            "draws": analysis.draws,
            "seed": analysis.seed,
            "software": f"crosslot {version('crosslot')}",
        }
    )


def analyse(data: StudyData, parameters: AnalysisParameters, *, threads: int = 2) -> ResultSet:
    """Return all results of a study.

    Raises
    ------
    InputError
        If the plan names a cluster that the data do not have.
    """
    family = parameters.family(data)
    rows, excluded = rows_of_cohorts(data, parameters.cohorts_for(CohortRole.DISCOVERY))
    excluded += _outside_every_cohort(data, parameters)
    answers = []
    for endpoint in parameters.endpoints:
        units, out = units_of(data, rows, endpoint, parameters.analysis.strata, family)
        excluded += out
        answers.append(_discovery(data, units, endpoint, parameters, threads=threads))
    validation_cohorts = parameters.cohorts_for(CohortRole.VALIDATION)
    discovered = [found for answer in answers for found in answer.discovered]
    validation, out = validate(data, validation_cohorts, parameters.analysis, discovered, threads=threads)
    associations = tuple(row for answer in answers for row in answer.associations)
    question = asked_by(
        parameters.modules,
        parameters.endpoints,
        parameters.cohorts,
        parameters.analysis,
        declared=parameters.study.plan_sha256 is not None,
    )
    markers = analyse_markers(
        data, parameters.modules.markers, parameters.analysis, parameters.endpoints, rows, threads=threads
    )
    return ResultSet(
        study=parameters.study,
        endpoints=tuple(_endpoint_card(endpoint) for endpoint in parameters.endpoints),
        lots=_lot_counts(
            [answer.units for answer in answers],
            list(dict.fromkeys([*excluded, *out])),  # a lot out for one reason is named once
            n_validation=len(rows_of_cohorts(data, validation_cohorts)[0]),
        ),
        verdicts=tuple(answer.verdict for answer in answers),
        associations=associations,
        validation=tuple(validation),
        warnings=(
            *about_noise(data, parameters.modules),
            *(warning for answer in answers for warning in answer.warnings),
        ),
        comparability=compare_arms(data, parameters.modules.comparability, parameters.endpoints, parameters.cohorts),
        specification=None
        if question is None
        else specify(data, question, associations, () if markers is None else markers.predictors),
        markers=markers,
        potencies=potencies_together(
            parameters.endpoints, [answer.units for answer in answers], associations, data.clusters
        ),
        attributes=analyse_attributes(
            data, parameters.modules.attributes, parameters.analysis, parameters.endpoints, rows, threads=threads
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What discovery says on one endpoint."""

    units: Units
    verdict: Verdict
    associations: tuple[Association, ...] = ()
    discovered: tuple[Discovered, ...] = ()
    warnings: tuple[str, ...] = ()


def _discovery(
    data: StudyData, units: Units, endpoint: Endpoint, parameters: AnalysisParameters, *, threads: int
) -> _Answer:
    plan = parameters.analysis
    tail = tail_of(plan.alternative)
    warnings = _warnings(units, endpoint)
    try:
        table = associate(
            units.shares,
            units.potency,
            units.strata,
            tail=tail,
            alpha=plan.alpha,
            confidence=plan.confidence,
            draws=plan.draws,
            entropy=named_seed(plan.seed, endpoint.endpoint, "discovery"),
            threads=threads,
        )
    except DesignError as error:
        return _Answer(units=units, verdict=refusal_of(endpoint, error), warnings=warnings)
    removal = remove_lead(data, units, table, endpoint=endpoint, plan=plan, tail=tail, threads=threads)
    found = survives(table, removal, plan.alpha)
    clusters = [data.clusters[column] for column in units.family]
    rows = _rows(table, clusters, units, endpoint, found, sensitivities(data, units, table, endpoint, removal))
    over = Over(units=len(units.lots), lots=units.n_lots, sites=len(set(units.sites)))
    return _Answer(
        units=units,
        verdict=verdict_of(endpoint, rows, over=over, alpha=plan.alpha, confidence=plan.confidence),
        associations=tuple(rows),
        discovered=tuple(
            Discovered(endpoint=endpoint, cluster=row.cluster, rises=row.rho is not None and row.rho > 0)
            for row in rows
            if row.significant
        ),
        warnings=warnings,
    )


def tail_of(alternative: Alternative) -> Tail:
    """Return the plan's direction in the words of the statistics."""
    match alternative:
        case Alternative.TWO_SIDED:
            return "two-sided"
        case Alternative.GREATER:
            return "greater"
        case Alternative.LESS:
            return "less"
        case _:
            assert_never(alternative)


def _rows(
    table: Associations,
    clusters: Sequence[str],
    units: Units,
    endpoint: Endpoint,
    found: Sequence[bool],
    sensitivity: Sequence[Sensitivity],
) -> list[Association]:
    return [
        Association(
            endpoint=endpoint.endpoint,
            cluster=clusters[k],
            n_lots=units.n_lots,
            n_units=len(units.lots),
            rho=defined(table.rho[k]),
            rho_pooled=defined(table.rho_pooled[k]),
            p_value=float(table.p[k]),
            p_adjusted=float(table.p_adjusted[k]),
            q_value=float(table.q[k]),
            ci_low=defined(table.low[k]),
            ci_high=defined(table.high[k]),
            method=NullMethod.UNDEFINED if isnan(table.rho[k]) else NullMethod(table.method),
            method_adjusted=NullMethod.UNDEFINED if isnan(table.rho[k]) else NullMethod(table.method_adjusted),
            significant=found[k],
            sensitivity=sensitivity[k],
        )
        for k in table.order()
    ]


def _warnings(units: Units, endpoint: Endpoint) -> tuple[str, ...]:
    """Return what a reader should know before the numbers."""
    result = []
    repeated = donors_in_several_strata(units)
    if repeated:
        result.append(
            f"{endpoint.endpoint}: donors with lots in several strata count once in each: {', '.join(repeated)}"
        )
    sizes = Counter(units.strata)
    alone = sum(size == 1 for size in sizes.values())
    if alone and len(sizes) > 1:
        result.append(
            f"{endpoint.endpoint}: {alone} of {len(sizes)} strata hold a single unit, which adds nothing to an "
            "association within strata"
        )
    return tuple(result)


def _outside_every_cohort(data: StudyData, parameters: AnalysisParameters) -> list[ExcludedLot]:
    known = {cohort.cohort for cohort in parameters.cohorts}
    return [
        ExcludedLot(lot=lot, site=SiteId(site), code="unknown-cohort", reason=f"the plan has no cohort {cohort}")
        for lot, site, cohort in zip(data.lots, data.sites, data.cohorts, strict=True)
        if cohort not in known
    ]


def _lot_counts(used: Sequence[Units], excluded: Sequence[ExcludedLot], *, n_validation: int) -> LotCounts:
    widest = max(used, key=lambda units: units.n_lots)
    return LotCounts(
        n=widest.n_lots,
        n_units=len(widest.lots),
        sites=len(set(widest.sites)),
        strata=len(set(widest.strata)),
        n_validation=n_validation,
        excluded=tuple(excluded),
    )


def _endpoint_card(endpoint: Endpoint) -> EndpointCard:
    relative = endpoint.normalisation is Normalisation.RUN_REFERENCE
    return EndpointCard(
        endpoint=endpoint.endpoint,
        assay=endpoint.assay,
        unit=endpoint.unit,
        scale="ln relative potency" if relative else "ln potency",
    )
