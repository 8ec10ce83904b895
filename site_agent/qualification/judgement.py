"""Whether a lot meets a specification: pass, fail, or cannot be judged, each with its reasons.

Rules
-----
1. A lot cannot be judged where the specification does not speak for it: too few cells, too few of the atlas's genes,
   more cells outside every cluster than lots of the study had, shares that hang on how cells are counted, a tissue that
   the study did not have, a share beyond the best that it saw, or, of a marker's share, no such gene in the file or too
   few cells to count among. Such reasons come before the threshold: a pass must mean something.
2. A share on the failing side of the threshold fails, also where it lies below the range seen: no lot is released on
   less than the least that was studied.
3. What was seen and does not decide is a remark.
4. The share is taken as it was counted. Its interval is shown, and where it holds the threshold a remark says so.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import isnan
from typing import Final

from protocol.modules.signed_specification import Specification
from protocol.modules.specification_results import Side, SpecificationOutcome
from shared.pages.rounding import share_text
from shared.statistics.specification import Line


class QualificationVerdict(StrEnum):
    """The answer, the same word in every language."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    CANNOT_BE_JUDGED = "cannot-be-judged"


class ReasonCode(StrEnum):
    """Why a lot fails, or cannot be judged."""

    BELOW_THRESHOLD = "share-below-threshold"
    ABOVE_THRESHOLD = "share-above-threshold"
    TOO_FEW_CELLS = "too-few-cells"
    LOW_GENE_COVERAGE = "low-gene-coverage"
    NOVEL_CELLS = "novel-cells"
    SENSITIVE_SHARES = "sensitive-shares"
    BEYOND_RANGE = "share-beyond-range"
    OTHER_TISSUE = "other-tissue"
    GENE_MISSING = "gene-missing"
    TOO_FEW_MARKER_CELLS = "too-few-marker-cells"


NO_SHARE: Final = frozenset({ReasonCode.GENE_MISSING, ReasonCode.TOO_FEW_MARKER_CELLS})
"""Where a lot has no share at all."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A code, and a sentence for a person."""

    code: ReasonCode
    sentence: str


@dataclass(frozen=True, kw_only=True)
class LotFacts:
    """What mapping a lot says, as far as a specification asks; shares are of all cells after QC.

    A marker's share is of the ``cells_of_share`` cells of its cluster, or of the lot; it is NaN where there are none,
    or the file lacks the gene (``has_gene``). ``share_low`` and ``share_high`` bound the share with
    ``interval_confidence``; None where the atlas could not calibrate them. ``shares_are_sensitive`` is the mapping's
    own test; ``doubts`` are its other words of warning. ``tissue`` is None where the site did not say it.
    """

    cells: int
    gene_coverage: float
    share: float
    share_low: float | None
    share_high: float | None
    interval_confidence: float
    unassigned_share: float
    shares_are_sensitive: bool
    doubts: tuple[str, ...] = ()
    tissue: str | None = None
    has_gene: bool = True
    cells_of_share: int | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict on one lot.

    ``potency`` is what the study's line expects of such a share, between ``potency_low`` (the one-sided bound that the
    specification rests on) and the same bound above; None where the lot cannot be judged or the share lies outside the
    range seen.
    """

    verdict: QualificationVerdict
    reasons: tuple[Reason, ...]
    remarks: tuple[str, ...]
    potency: float | None
    potency_low: float | None
    potency_high: float | None


def judge_lot(facts: LotFacts, specification: Specification) -> Judgement:
    """Return whether a lot meets ``specification``."""
    reasons = (*_without_a_share(facts, specification), *_not_judged(facts, specification))
    if not isnan(facts.share):
        reasons += _beyond(facts, specification)
    verdict = QualificationVerdict.CANNOT_BE_JUDGED
    if not reasons:
        reasons = _failed(facts, specification)
        verdict = QualificationVerdict.FAIL if reasons else QualificationVerdict.PASS
    judged = verdict is not QualificationVerdict.CANNOT_BE_JUDGED
    potency = _expected(facts.share, specification) if judged else (None, None, None)
    return Judgement(
        verdict=verdict,
        reasons=reasons,
        remarks=_remarks(facts, specification),
        potency=potency[0],
        potency_low=potency[1],
        potency_high=potency[2],
    )


def threshold_of(specification: Specification) -> float:
    """Return the threshold; a specification always has one."""
    threshold = specification.basis.threshold
    assert threshold is not None  # noqa: S101 - the message's own rule
    return threshold


def _without_a_share(facts: LotFacts, specification: Specification) -> tuple[Reason, ...]:
    """Return why a marker's share cannot be had, or says too little."""
    basis = specification.basis
    if basis.marker is None:
        return ()
    if not facts.has_gene:
        sentence = f"The file has no gene {basis.marker.gene}, or names it twice: the share cannot be had."
        return (Reason(code=ReasonCode.GENE_MISSING, sentence=sentence),)
    if (facts.cells_of_share or 0) >= basis.marker_minimum_cells:
        return ()
    sentence = (
        f"{basis.marker.gene} can be counted among {facts.cells_of_share or 0:,} cells of "
        f"{basis.marker.cluster or 'the lot'}; at least {basis.marker_minimum_cells:,} are needed."
    )
    return (Reason(code=ReasonCode.TOO_FEW_MARKER_CELLS, sentence=sentence),)


def _not_judged(facts: LotFacts, specification: Specification) -> tuple[Reason, ...]:
    """Return why the mapping gives no share that could be held against anything."""
    limits, tissues = specification.quality, specification.basis.tissues
    coverage, needed = f"{facts.gene_coverage:.1%}", f"{limits.minimum_gene_coverage:.0%}"
    most, unassigned = specification.basis.unassigned_limit, share_text(100 * facts.unassigned_share)
    usual = "" if most is None else f"99% of lots such as the study's have at most {share_text(100 * most)}"
    found = (
        (
            facts.cells < limits.minimum_cells_per_lot,
            ReasonCode.TOO_FEW_CELLS,
            f"{facts.cells:,} cells remain after QC; at least {limits.minimum_cells_per_lot:,} are needed.",
        ),
        (
            facts.gene_coverage < limits.minimum_gene_coverage,
            ReasonCode.LOW_GENE_COVERAGE,
            f"The file has {coverage} of the atlas's genes; at least {needed} are needed.",
        ),
        (
            most is not None and facts.unassigned_share > most,
            ReasonCode.NOVEL_CELLS,
            f"{unassigned} of the cells are unlike any cluster of the atlas; {usual}.",
        ),
        (
            facts.shares_are_sensitive,
            ReasonCode.SENSITIVE_SHARES,
            "Another way to count moves many of the cells to other clusters: the share is not certain enough.",
        ),
        (
            facts.tissue is not None and facts.tissue not in tissues,
            ReasonCode.OTHER_TISSUE,
            f"The lot is of {facts.tissue}; the specification is for {', '.join(tissues)}.",
        ),
    )
    return tuple(Reason(code=code, sentence=sentence) for holds, code, sentence in found if holds)


def _beyond(facts: LotFacts, specification: Specification) -> tuple[Reason, ...]:
    """Return that the share is better than any that was studied: what such a lot does is not known."""
    seen, at_least = specification.basis.seen, specification.basis.side is Side.AT_LEAST
    if seen is None or (facts.share <= seen.high if at_least else facts.share >= seen.low):
        return ()
    end = seen.high if at_least else seen.low
    sentence = (
        f"The share, {share_text(100 * facts.share)}, lies {'above' if at_least else 'below'} all that were studied "
        f"({100 * end:.3g}%): what such a lot can do is not known."
    )
    return (Reason(code=ReasonCode.BEYOND_RANGE, sentence=sentence),)


def _failed(facts: LotFacts, specification: Specification) -> tuple[Reason, ...]:
    threshold, at_least = threshold_of(specification), specification.basis.side is Side.AT_LEAST
    if facts.share >= threshold if at_least else facts.share <= threshold:
        return ()
    side = "below" if at_least else "above"
    code = ReasonCode.BELOW_THRESHOLD if at_least else ReasonCode.ABOVE_THRESHOLD
    sentence = (
        f"The share of {specification.basis.share_of}, {exact_share(facts.share)}, lies {side} the threshold of "
        f"{100 * threshold:.4g}%."
    )
    return (Reason(code=code, sentence=sentence),)


def exact_share(share: float) -> str:
    """Return a share in per cent with two decimals: near a threshold one is not enough."""
    if isnan(share):
        return "not known"
    return f"{100 * share:.2f}%"


def _expected(share: float, specification: Specification) -> tuple[float, float, float] | tuple[None, None, None]:
    basis = specification.basis
    seen, line = basis.seen, basis.line
    if seen is None or line is None or not seen.low <= share <= seen.high:
        return None, None, None
    fitted = Line(**line.model_dump())
    middle, low = float(fitted.predicted(share)), float(fitted.lower_bound(share, basis.confidence))
    return middle, low, 2 * middle - low


def _remarks(facts: LotFacts, specification: Specification) -> tuple[str, ...]:
    basis, threshold = specification.basis, threshold_of(specification)
    remarks = []
    if basis.outcome is SpecificationOutcome.INDICATIVE:
        remarks.append(f"The threshold is indicative, not a specification: {'; '.join(basis.doubts)}.")
    if not basis.declared:
        remarks.append("The limit of potency, or the share, was chosen after the study's plan was signed.")
    if isnan(facts.share):
        pass
    elif facts.share_low is None or facts.share_high is None:
        remarks.append("The atlas has too few reference lots to say how exact the share is.")
    elif facts.share_low < threshold <= facts.share_high:
        remarks.append(
            f"The share's own {facts.interval_confidence:.0%} interval holds the threshold: a second sample might be "
            "judged otherwise."
        )
    if basis.marker is not None and basis.marker.cluster is not None:
        remarks.append(
            "The share's interval is that of counting cells; how exactly cells are told to be of "
            f"{basis.marker.cluster} is not in it."
        )
    if facts.tissue is None:
        remarks.append(f"The lot's tissue was not given; the specification is for {', '.join(basis.tissues)}.")
    return (*remarks, *(f"{doubt[0].upper()}{doubt[1:]}." for doubt in facts.doubts))
