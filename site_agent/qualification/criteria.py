"""The criteria of a qualification as strips: value, uncertainty, limit, past lots, and the result in words."""

from collections.abc import Sequence
from math import exp, isnan
from typing import Final

from protocol.modules.signed_specification import Specification
from protocol.modules.specification_results import Side
from shared.pages.rounding import share_text
from site_agent.qualification.judgement import (
    NO_SHARE,
    Judgement,
    LotFacts,
    ReasonCode,
    exact_share,
    threshold_of,
)
from site_agent.qualification.records import QualifiedLot
from site_agent.qualification.strips import Strip

MET: Final = "✓ met"
NOT_MET: Final = "✕ not met"
NOT_JUDGED: Final = "? cannot be judged"


def criteria_strips(
    facts: LotFacts, judgement: Judgement, specification: Specification, past: Sequence[QualifiedLot]
) -> tuple[Strip, ...]:
    """Return the criteria of one lot as strips, the share first."""
    basis, limits = specification.basis, specification.quality
    codes = {reason.code for reason in judgement.reasons}
    at_least, threshold = basis.side is Side.AT_LEAST, threshold_of(specification)
    meets = facts.share >= threshold if at_least else facts.share <= threshold
    share_result = MET if meets else NOT_MET
    if codes & {ReasonCode.BEYOND_RANGE, ReasonCode.SENSITIVE_SHARES, *NO_SHARE}:
        share_result = NOT_JUDGED
    interval = _interval(facts)
    percents = [each.percent for each in past if each.share is not None]
    name = f"Share of {basis.cluster} (%)"
    if basis.marker is not None:  # short: the strip has little room for it
        name = f"{basis.marker.gene}-high in {basis.marker.cluster or 'the lot'} (%)"
    most = basis.unassigned_limit
    return (
        Strip(
            name=name,
            note=f"{facts.interval_confidence:.0%} interval {interval}" if interval else "interval not known",
            value=None if isnan(facts.share) else 100 * facts.share,
            low=None if facts.share_low is None else 100 * facts.share_low,
            high=None if facts.share_high is None else 100 * facts.share_high,
            limit=100 * threshold,
            limit_text=f"{'at least' if at_least else 'at most'} {100 * threshold:.4g}%",
            at_least=at_least,
            seen=None if basis.seen is None else (100 * basis.seen.low, 100 * basis.seen.high),
            past=percents,
            value_text=exact_share(facts.share),
            result=share_result,
        ),
        _potency_strip(judgement, specification),
        Strip(
            name="Cells outside every cluster (%)",
            note="of another kind than was studied",
            value=100 * facts.unassigned_share,
            low=None,
            high=None,
            limit=None if most is None else 100 * most,
            limit_text="no limit" if most is None else f"at most {100 * most:.4g}%",
            at_least=False,
            seen=None,
            past=[100 * each.unassigned_share for each in past],
            value_text=share_text(100 * facts.unassigned_share),
            result=NOT_JUDGED if ReasonCode.NOVEL_CELLS in codes else MET,
        ),
        Strip(
            name="Cells after QC",
            note="number of cells",
            value=float(facts.cells),
            low=None,
            high=None,
            limit=float(limits.minimum_cells_per_lot),
            limit_text=f"at least {limits.minimum_cells_per_lot:,}",
            at_least=True,
            seen=None,
            past=[float(each.cells) for each in past],
            value_text=f"{facts.cells:,}",
            result=NOT_JUDGED if ReasonCode.TOO_FEW_CELLS in codes else MET,
        ),
        Strip(
            name="The atlas's genes in the file (%)",
            note="mapping needs them",
            value=100 * facts.gene_coverage,
            low=None,
            high=None,
            limit=100 * limits.minimum_gene_coverage,
            limit_text=f"at least {100 * limits.minimum_gene_coverage:.3g}%",
            at_least=True,
            seen=None,
            past=[100 * each.gene_coverage for each in past],
            value_text=f"{100 * facts.gene_coverage:.1f}%",
            most=100.0,
            result=NOT_JUDGED if ReasonCode.LOW_GENE_COVERAGE in codes else MET,
        ),
    )


def _potency_strip(judgement: Judgement, specification: Specification) -> Strip:
    """Return what such a share lets expect: no criterion of its own, but what the threshold stands for."""
    basis = specification.basis
    known = judgement.potency is not None
    values = [
        None if each is None else exp(each)
        for each in (judgement.potency, judgement.potency_low, judgement.potency_high)
    ]
    unit = "× reference" if is_relative(specification) else specification.unit
    return Strip(
        name=f"Expected potency ({unit})",
        note="from the share; not measured here",
        value=values[0],
        low=values[1],
        high=values[2],
        limit=basis.limit,
        limit_text=f"limit {basis.limit:g}",
        at_least=True,
        seen=None,
        past=(),
        value_text=potency_text(judgement.potency, specification) if judgement.potency is not None else "not known",
        result=f"{2 * basis.confidence - 1:.0%} prediction" if known else "cannot be said",
    )


def _interval(facts: LotFacts) -> str | None:
    if facts.share_low is None or facts.share_high is None:
        return None
    return f"{100 * facts.share_low:.2f}–{100 * facts.share_high:.2f}%"


def potency_text(log_potency: float, specification: Specification) -> str:
    """Return a log potency in the unit of the endpoint."""
    value = f"{exp(log_potency):.3g}"
    return f"{value} × reference" if is_relative(specification) else f"{value} {specification.unit}"


def is_relative(specification: Specification) -> bool:
    """Return whether potency is relative to the run's reference standard."""
    return "relative" in specification.scale
