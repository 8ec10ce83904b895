"""The validation cohorts: they test only what discovery named, one-sided in the direction that discovery named.

Rules
-----
- Which tissues can speak is decided first, from composition and marker moments alone; no potency is read before that.
- Each eligible tissue is tested by itself, and all eligible tissues together, stratified: tissues never mix.
- Strata are the plan's, or those that it declares for validation; tissue always parts them.
- What cannot be tested says why: ``holds`` is null, not false.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from coordinator.modules.marker_rule import tissue_expresses
from coordinator.study_data import StudyData
from coordinator.units import doubled_cells, rows_of_cohorts, units_of
from protocol.plan import Alternative, AnalysisPlan, Cohort, Endpoint, Strata, ValidationPlan
from protocol.results import ExcludedLot, ValidationRow
from shared.errors import DesignError
from shared.statistics.association import associate
from shared.statistics.composition import shares
from shared.statistics.streams import named_seed


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """A cluster that discovery named, and the sign of its rho."""

    endpoint: Endpoint
    cluster: str
    rises: bool


@dataclass(frozen=True, kw_only=True)
class Eligible:
    """Whether a tissue can speak on a cluster, and why."""

    tissue: str
    eligible: bool
    reason: str


def validate(
    data: StudyData,
    cohorts: Sequence[Cohort],
    plan: AnalysisPlan,
    discovered: Sequence[Discovered],
    *,
    threads: int = 2,
) -> tuple[list[ValidationRow], list[ExcludedLot]]:
    """Return a row for each discovered cluster, cohort and tissue, and one over the tissues; and the lots left out."""
    answers: list[ValidationRow] = []
    out: list[ExcludedLot] = []
    for cohort in cohorts:
        rows, outside = rows_of_cohorts(data, [cohort])
        out += outside
        for found in discovered:
            column = data.clusters.index(found.cluster)
            tissues = eligible_tissues(data, rows, column, plan.validation)
            for tissue in tissues:
                here = [row for row in rows if data.tissues[row] == tissue.tissue]
                answer, left_out = _tested(data, here, cohort, plan, found, tissue, threads=threads)
                answers.append(answer)
                out += left_out
            if len(tissues) > 1:
                admitted = [tissue.tissue for tissue in tissues if tissue.eligible]
                together = Eligible(
                    tissue="",
                    eligible=bool(admitted),
                    reason=f"eligible: {', '.join(admitted)}" if admitted else "no tissue is eligible",
                )
                here = [row for row in rows if data.tissues[row] in admitted]
                answers.append(_tested(data, here, cohort, plan, found, together, threads=threads)[0])
    return answers, out


def eligible_tissues(data: StudyData, rows: Sequence[int], column: int, rules: ValidationPlan) -> list[Eligible]:
    """Return which tissues can speak on a cluster, sorted by name: its share is large enough and its marker expressed.

    Both are medians over the tissue's lots, of composition and moments alone.
    """
    cells, totals = doubled_cells(data)
    share = shares(cells[:, [column]], totals)[:, 0]
    result = []
    for tissue in sorted({data.tissues[row] for row in rows}):
        here = [row for row in rows if data.tissues[row] == tissue]
        median = float(np.median(share[here]))
        present = median >= rules.minimum_share
        reason = f"median share {median:.2%} over {len(here)} lots, at least {rules.minimum_share:.2%} asked"
        expressed = True
        if rules.marker is not None:
            expressed, why = tissue_expresses(data, here, column, rules.marker)
            reason = f"{reason}; {why}"
        result.append(Eligible(tissue=tissue, eligible=present and expressed, reason=reason))
    return result


def _tested(
    data: StudyData,
    rows: Sequence[int],
    cohort: Cohort,
    plan: AnalysisPlan,
    found: Discovered,
    tissue: Eligible,
    *,
    threads: int,
) -> tuple[ValidationRow, list[ExcludedLot]]:
    column = data.clusters.index(found.cluster)
    row = ValidationRow(
        endpoint=found.endpoint.endpoint,
        cluster=found.cluster,
        cohort=cohort.cohort,
        tissue=tissue.tissue or None,
        n_lots=len(rows),
        eligible=tissue.eligible,
        eligibility_reason=tissue.reason,
        alternative=Alternative.GREATER if found.rises else Alternative.LESS,
        rho=None,
        p_value=None,
        ci_low=None,
        ci_high=None,
        holds=None,
    )
    if not tissue.eligible:
        return row.model_copy(update={"reason_code": "tissue-not-eligible"}), []
    units, out = units_of(data, rows, found.endpoint, _with_tissue(plan.validation.strata or plan.strata), [column])
    try:
        answer = associate(
            units.shares,
            units.potency,
            units.strata,
            tail="greater" if found.rises else "less",
            alpha=plan.alpha,
            confidence=plan.confidence,
            draws=plan.draws,
            entropy=named_seed(plan.seed, found.endpoint.endpoint, cohort.cohort, tissue.tissue, found.cluster),
            threads=threads,
        )
    except DesignError as error:
        return row.model_copy(update={"n_lots": units.n_lots, "reason_code": error.code}), out
    low, high = float(answer.low[0]), float(answer.high[0])
    return row.model_copy(
        update={
            "n_lots": units.n_lots,
            "rho": float(answer.rho[0]),
            "p_value": float(answer.p[0]),
            "ci_low": None if np.isnan(low) else low,
            "ci_high": None if np.isnan(high) else high,
            "holds": bool(answer.p[0] <= plan.alpha),
        }
    ), out


def _with_tissue(strata: Strata) -> Strata:
    match strata:
        case Strata.SITE_AND_TISSUE | Strata.SITE:
            return Strata.SITE_AND_TISSUE
        case Strata.TISSUE | Strata.NONE:
            return Strata.TISSUE
        case _:
            assert_never(strata)
