"""What the qualification page of one lot says: every sentence made and every number rounded.

Rules: the verdict stands first; each criterion has its value, its uncertainty and its limit; the error rates stand with
the number of units that they rest on; the page says what it does not decide, and that nothing was sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.modules.signed_specification import Specification
from protocol.modules.specification_results import RateRange, Side, SpecificationOutcome
from shared.pages.contents import Cell, Column, Row, Table
from shared.pages.rounding import share_text
from site_agent.qualification.criteria import criteria_strips, is_relative
from site_agent.qualification.judgement import (
    Judgement,
    LotFacts,
    QualificationVerdict,
    Reason,
    exact_share,
    threshold_of,
)
from site_agent.qualification.records import QualifiedLot
from site_agent.qualification.strips import Strip

WORDS: Final = {
    QualificationVerdict.PASS: ("✓", "Meets the specification"),
    QualificationVerdict.FAIL: ("✕", "Does not meet the specification"),
    QualificationVerdict.CANNOT_BE_JUDGED: ("?", "Cannot be judged"),
}
_INDICATIVE_WORDS: Final = {
    QualificationVerdict.PASS: ("✓", "Meets the indicative limit"),
    QualificationVerdict.FAIL: ("✕", "Does not meet the indicative limit"),
    QualificationVerdict.CANNOT_BE_JUDGED: ("?", "Cannot be judged"),
}
DECISION: Final = (
    "This page supports, and does not replace, the release decision. It says nothing of sterility, identity, viability "
    "or any other attribute of the lot."
)
NOTHING_SENT: Final = "Made on this machine. Nothing was sent: no network connection was opened."


@dataclass(frozen=True, kw_only=True)
class LotCard:
    """What the site says of the lot, for the head of the page."""

    lot: str
    made: str
    product: str | None
    file: str
    cells_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class QualificationView:
    """The page of one lot; ``facts`` are pairs of a label and its value, and whether that is code."""

    verdict: QualificationVerdict
    icon: str
    word: str
    headline: str
    card: LotCard
    product: str
    strips: tuple[Strip, ...]
    strips_sentence: str
    table: Table
    reasons: tuple[Reason, ...]
    remarks: tuple[str, ...]
    rates: tuple[str, ...]
    validity: tuple[str, ...]
    facts: tuple[tuple[str, str, bool], ...]


def qualification_view(
    card: LotCard,
    facts: LotFacts,
    judgement: Judgement,
    specification: Specification,
    past: Sequence[QualifiedLot],
    *,
    specification_sha256: str,
    record_sha256: str,
    signer: str,
) -> QualificationView:
    """Return the page of one lot.

    Parameters
    ----------
    card, facts, judgement
        The lot, what its cells say, and the verdict.
    specification, specification_sha256, signer
        What it was held against: the message, the hash of its payload, the fingerprint of the key that signed it.
    past
        The site's earlier lots of the same cluster and atlas, this one not among them.
    record_sha256
        Of the record that the site keeps of this verdict.
    """
    indicative = specification.basis.outcome is SpecificationOutcome.INDICATIVE
    icon, word = (_INDICATIVE_WORDS if indicative else WORDS)[judgement.verdict]
    strips = criteria_strips(facts, judgement, specification, past)
    return QualificationView(
        verdict=judgement.verdict,
        icon=icon,
        word=word,
        headline=_headline(facts, judgement, specification),
        card=card,
        product=card.product or "not given",
        strips=strips,
        strips_sentence=_past_sentence(past),
        table=_table(strips),
        reasons=judgement.reasons,
        remarks=judgement.remarks,
        rates=_rates(specification),
        validity=_validity(specification),
        facts=(
            ("Specification", f"{specification.study}, version {specification.version}, {specification.issued}", False),
            ("Specification SHA-256", specification_sha256, True),
            ("Signed by the key", signer, True),
            ("Atlas", specification.atlas.name, False),
            ("Atlas SHA-256", specification.atlas.sha256, True),
            ("Lot file", card.file, False),
            ("Lot file SHA-256", card.cells_sha256 or "a folder: not hashed", card.cells_sha256 is not None),
            ("Record SHA-256", record_sha256, True),
        ),
    )


def _headline(facts: LotFacts, judgement: Judgement, specification: Specification) -> str:
    basis = specification.basis
    threshold = f"{100 * threshold_of(specification):.4g}%"
    side = "at least" if basis.side is Side.AT_LEAST else "at most"
    what = f"the lot's cells are in {basis.cluster}"
    if basis.marker is not None:
        among = "" if basis.marker.cluster is None else f" in {basis.marker.cluster}"
        what = f"the lot's cells{among} are {basis.marker.gene}-high"
    has = f"{exact_share(facts.share)} of {what}; {side} {threshold} is asked for."
    if judgement.verdict is QualificationVerdict.CANNOT_BE_JUDGED:
        return judgement.reasons[0].sentence
    return has


def _past_sentence(past: Sequence[QualifiedLot]) -> str:
    if not past:
        return "No earlier lot of this site is on record."
    lots = "lot" if len(past) == 1 else "lots"
    return f"{len(past)} earlier {lots} of this site on record, {past[0].made} to {past[-1].made}."


def _table(strips: Sequence[Strip]) -> Table:
    def row(strip: Strip) -> Row:
        span = f"{min(strip.past):.4g} to {max(strip.past):.4g} (n = {len(strip.past)})" if strip.past else "none"
        value = strip.value_text if strip.low is None else f"{strip.value_text} ({strip.low:.4g} to {strip.high:.4g})"
        return Row((Cell(strip.name), Cell(value), Cell(strip.limit_text), Cell(span), Cell(strip.result)))

    return Table(
        identifier="criteria",
        caption="Criteria",
        columns=tuple(
            Column(heading) for heading in ("Criterion", "This lot", "Limit", "Past lots of this site", "Result")
        ),
        rows=tuple(row(strip) for strip in strips),
    )


def _rates(specification: Specification) -> tuple[str, ...]:
    basis = specification.basis
    n = f"{basis.n_units} donors ({basis.n_lots} lots, {basis.n_sites} sites)"
    return (
        f"False pass: of lots that pass, {_rate(basis.false_pass)} would miss the limit of potency.",
        f"False fail: of lots with enough potency, {_rate(basis.false_fail)} are turned away.",
        f"Both rest on {n} and hold for lots made as those were.",
    )


def _rate(rate: RateRange | None) -> str:
    if rate is None or rate.value is None:
        return "an unknown part"
    text = share_text(100 * rate.value)
    if rate.low is None or rate.high is None:
        return text
    return f"{text} (95% of resampled data sets: {share_text(100 * rate.low)} to {share_text(100 * rate.high)})"


def _validity(specification: Specification) -> tuple[str, ...]:
    basis, limits = specification.basis, specification.quality
    seen = basis.seen
    shares = "" if seen is None else f" with {100 * seen.low:.3g}% to {100 * seen.high:.3g}% of {basis.share_of}"
    needs = (
        f"{limits.minimum_cells_per_lot:,} cells after QC and {limits.minimum_gene_coverage:.0%} of the atlas's genes"
    )
    if basis.marker is not None:
        shares += f" (log1p of counts per 10,000 from {basis.marker.threshold:g})"
        if basis.marker.cluster is not None:
            needs = f"{basis.marker_minimum_cells:,} cells of {basis.marker.cluster}, {needs}"
    speaks = f"It speaks for lots of {', '.join(basis.tissues)}{shares}, mapped onto this atlas, with at least {needs}."
    unit = "times the reference standard" if is_relative(specification) else specification.unit
    asks = f"It asks for a potency of at least {basis.limit:g} {unit} ({specification.assay})"
    return speaks, f"{asks}, with {basis.confidence:.0%} confidence for each lot."
