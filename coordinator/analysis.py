"""Reports to results: the whole analysis of a study, as a pure function of its data and its plan.

Order of things, for each endpoint (each endpoint is a family of its own): lots to units, the association of every
cluster of the family, the sensitivity of each answer, the verdict; then the validation cohorts, which test only what
discovery named. A design that cannot answer is a result too: a verdict "refused" with its named reason, and no number.
The same data and plan give the same bytes, whatever the number of threads or the order of arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import isnan
from typing import assert_never

from coordinator.reported import study_data_from_reports
from coordinator.study_data import StudyData
from coordinator.units import Units, donors_in_several_strata, rows_of_cohorts, units_of
from coordinator.verdicts import refusal_of, verdict_of
from protocol.identifiers import SiteId, StudyId
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
    columns = parameters.family(data)
    rows, excluded = rows_of_cohorts(data, parameters.cohorts_for(CohortRole.DISCOVERY))
    known = {cohort.cohort for cohort in parameters.cohorts}
    excluded += [
        ExcludedLot(lot=lot, site=SiteId(site), code="unknown-cohort", reason=f"the plan has no cohort {cohort}")
        for lot, site, cohort in zip(data.lots, data.sites, data.cohorts, strict=True)
        if cohort not in known
    ]
    verdicts: list[Verdict] = []
    associations: list[Association] = []
    warnings: list[str] = []
    used: list[Units] = []
    for endpoint in parameters.endpoints:
        units, out = units_of(data, rows, endpoint, parameters.analysis.strata, columns)
        excluded += out
        used.append(units)
        repeated = donors_in_several_strata(units)
        if repeated:
            warnings.append(
                f"{endpoint.endpoint}: donors with lots in several strata count once in each: {', '.join(repeated)}"
            )
        try:
            table = _associations(units, endpoint, parameters, threads=threads)
        except DesignError as error:
            verdicts.append(refusal_of(endpoint, error))
            continue
        answers = _rows(
            table, [data.clusters[column] for column in columns], units, endpoint, parameters.analysis.alpha
        )
        associations += answers
        verdicts.append(
            verdict_of(
                endpoint,
                answers,
                units=len(units.lots),
                sites=len(set(units.sites)),
                alpha=parameters.analysis.alpha,
                confidence=parameters.analysis.confidence,
            )
        )
    return ResultSet(
        study=parameters.study,
        endpoints=tuple(_endpoint_card(endpoint) for endpoint in parameters.endpoints),
        lots=_lot_counts(used, excluded),
        verdicts=tuple(verdicts),
        associations=tuple(associations),
        warnings=tuple(warnings),
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


def _associations(units: Units, endpoint: Endpoint, parameters: AnalysisParameters, *, threads: int) -> Associations:
    plan = parameters.analysis
    return associate(
        units.shares,
        units.potency,
        units.strata,
        tail=tail_of(plan.alternative),
        alpha=plan.alpha,
        confidence=plan.confidence,
        draws=plan.draws,
        entropy=named_seed(plan.seed, endpoint.endpoint, "discovery"),
        threads=threads,
    )


def _rows(
    table: Associations, clusters: Sequence[str], units: Units, endpoint: Endpoint, alpha: float
) -> list[Association]:
    return [
        Association(
            endpoint=endpoint.endpoint,
            cluster=clusters[k],
            n_lots=units.n_lots,
            rho=defined(table.rho[k]),
            rho_pooled=defined(table.rho_pooled[k]),
            p_value=float(table.p[k]),
            p_adjusted=float(table.p_adjusted[k]),
            q_value=float(table.q[k]),
            ci_low=defined(table.low[k]),
            ci_high=defined(table.high[k]),
            method=NullMethod.UNDEFINED if isnan(table.rho[k]) else NullMethod(table.method),
            significant=bool(table.p_adjusted[k] <= alpha),
        )
        for k in table.order()
    ]


def defined(value: float) -> float | None:
    """Return ``value``, or None where it is NaN: what is not defined is null, never a number."""
    return None if isnan(value) else float(value)


def _lot_counts(used: Sequence[Units], excluded: Sequence[ExcludedLot]) -> LotCounts:
    widest = max(used, key=lambda units: units.n_lots)
    return LotCounts(
        n=widest.n_lots,
        n_units=len(widest.lots),
        sites=len(set(widest.sites)),
        strata=len(set(widest.strata)),
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
