"""Whether assay, reference and mapping can carry a comparison: the first question of the path.

Rules
-----
- Replicates: the CV of the replicates of one run, pooled over runs, ``sqrt(exp(s^2) - 1)`` of the variance of their
  natural logarithms, in the worse of the two arms.
- Reference: by what fold the reference standard's level moved between the runs of the two arms, within strata. A ratio
  to the reference takes a drift out; one beyond the limit says that standard or assay is another.
- Gene coverage: the smallest of all lots.
- Unassigned: by how much the mean share of cells of no cluster grew within strata. Cells that the atlas does not know
  are in no part, so that parts could look alike while the lot is not.
- What was not recorded is not told: it neither passes nor fails, and is said.
"""

from collections.abc import Sequence
from math import exp, expm1, sqrt

import numpy as np

from shared.comparability.findings import Check, CheckName, CheckState, Criteria
from shared.comparability.units import LotEvidence
from shared.statistics.comparability import contrast


def method_checks(lots: Sequence[LotEvidence], criteria: Criteria) -> tuple[Check, ...]:
    """Return every check, in their order."""
    return (
        _check(CheckName.REPLICATES, _replicate_cv(lots), at_most=criteria.maximum_replicate_cv),
        _check(CheckName.REFERENCE, _reference_fold(lots), at_most=criteria.maximum_reference_fold),
        _check(CheckName.GENE_COVERAGE, _least_coverage(lots), at_least=criteria.minimum_gene_coverage),
        _check(CheckName.UNASSIGNED, _unassigned_excess(lots), at_most=criteria.maximum_unassigned_excess),
    )


def _check(
    name: CheckName, found: float | None, *, at_most: float | None = None, at_least: float | None = None
) -> Check:
    limit = at_most if at_most is not None else at_least or 0.0
    if found is None:
        return Check(name=name, state=CheckState.NOT_TOLD, found=None, limit=limit)
    passed = found <= limit if at_most is not None else found >= limit
    return Check(name=name, state=CheckState.PASSED if passed else CheckState.FAILED, found=found, limit=limit)


def _replicate_cv(lots: Sequence[LotEvidence]) -> float | None:
    worst: float | None = None
    for after in (False, True):
        runs = [np.array(run) for lot in lots if lot.after == after for run in lot.replicates]
        freedom = sum(len(run) - 1 for run in runs)
        if freedom > 0:
            variance = sum(float(((run - run.mean()) ** 2).sum()) for run in runs) / freedom
            cv = sqrt(expm1(variance))
            worst = cv if worst is None else max(worst, cv)
    return worst


def _reference_fold(lots: Sequence[LotEvidence]) -> float | None:
    with_reference = [lot for lot in lots if lot.references and all(lot.references)]
    levels = [float(np.mean([np.mean(run) for run in lot.references])) for lot in with_reference]
    difference = _difference(with_reference, levels)
    return None if difference is None else exp(abs(difference))


def _least_coverage(lots: Sequence[LotEvidence]) -> float | None:
    told = [lot.gene_coverage for lot in lots if lot.gene_coverage is not None]
    return min(told) if told else None


def _unassigned_excess(lots: Sequence[LotEvidence]) -> float | None:
    return _difference(lots, [lot.unassigned_share for lot in lots])


def _difference(lots: Sequence[LotEvidence], values: Sequence[float]) -> float | None:
    """Return the mean after less the mean before within strata, or None where no stratum has both arms."""
    design = contrast([lot.after for lot in lots], [lot.stratum for lot in lots])
    if not (design.stratum >= 0).any():
        return None
    return float(design.weights @ np.array(values))
