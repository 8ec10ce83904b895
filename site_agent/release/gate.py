"""The one way out of a site: every byte of a lot that leaves has passed ``release``.

In this order, and nothing is sealed before the last (SPEC 5.9):

1. The gate knows every field of the report, its parts included, by name, and which rule answers for it. A field that it
   does not know is a defect of crosslot, and nothing leaves until someone has decided how it may.
2. The report is what its bytes say: they decode to it and to nothing else.
3. Every disclosure rule is judged anew, on the report as it would leave. One fail, and nothing leaves.
4. An approval for exactly these bytes exists: the policy's own, or one that the steward's key signed. Approval against
   a warning has its reason, a person's name, and names that very warning.
5. Where the counts bear noise, its cost was committed to the lot's budget before.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, get_args

from pydantic import BaseModel

from protocol.codec import decode, encode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, seal
from protocol.errors import ErrorCode, ProtocolError
from protocol.policy import EffectiveRules
from protocol.report import LotReport
from protocol.signing import SigningKey, VerifyingKey
from protocol.steward import Meaning, ReleaseDecision, open_decision
from shared.errors import InternalError
from site_agent.release.decisions import Approval
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.noise_book import NoiseStanding
from site_agent.release.verdicts import Outcome, RuleId, Verdict, warnings_sha256

RULE_OF_FIELD: Final[Mapping[str, RuleId]] = {
    "schema_id": RuleId.SCOPE,
    "study": RuleId.SCOPE,
    "plan_sha256": RuleId.SCOPE,
    "atlas_sha256": RuleId.SCOPE,
    "site": RuleId.SCOPE,
    "lot": RuleId.SCOPE,
    "donor": RuleId.SCOPE,
    "version": RuleId.SCOPE,
    "cohort": RuleId.SCOPE,
    "tissue": RuleId.SCOPE,
    "product": RuleId.SCOPE,
    "passage": RuleId.WITHHELD_FIELDS,
    "condition": RuleId.SCOPE,
    "period": RuleId.WITHHELD_FIELDS,
    "cells_after_qc.low": RuleId.TOTALS,
    "cells_after_qc.high": RuleId.TOTALS,
    "counts.low": RuleId.SMALL_COUNTS,
    "counts.high": RuleId.SMALL_COUNTS,
    "unassigned.low": RuleId.SMALL_COUNTS,
    "unassigned.high": RuleId.SMALL_COUNTS,
    "quality.median_counts": RuleId.PRECISION,
    "quality.median_genes": RuleId.PRECISION,
    "quality.median_mitochondrial_share": RuleId.WITHHELD_FIELDS,
    "quality.gene_coverage": RuleId.PRECISION,
    "potency.endpoint": RuleId.SCOPE,
    "potency.assay": RuleId.SCOPE,
    "potency.unit": RuleId.SCOPE,
    "potency.run": RuleId.WITHHELD_FIELDS,
    "potency.replicates": RuleId.PRECISION,
    "potency.reference_replicates": RuleId.PRECISION,
    "arm": RuleId.MODULES,
    "attributes.attribute": RuleId.MODULES,
    "attributes.value": RuleId.ATTRIBUTES,
    "attributes.below_detection": RuleId.ATTRIBUTES,
    "markers.clusters.cluster": RuleId.MARKERS,
    "markers.clusters.cells": RuleId.MARKERS,
    "markers.clusters.mean": RuleId.MARKERS,
    "markers.clusters.m2": RuleId.MARKERS,
    "markers.clusters.sum_expm1": RuleId.MARKERS,
    "markers.clusters.nonzero": RuleId.MARKERS,
    "markers.clusters.few": RuleId.MARKERS,
    "markers.high_cells.gene": RuleId.MARKERS,
    "markers.high_cells.cluster": RuleId.MARKERS,
    "markers.high_cells.threshold": RuleId.MARKERS,
    "markers.high_cells.low": RuleId.MARKERS,
    "markers.high_cells.high": RuleId.MARKERS,
    "software.crosslot": RuleId.SCOPE,
    "software.mapper": RuleId.SCOPE,
    "disclosure.requested": RuleId.SCOPE,
    "disclosure.applied": RuleId.SCOPE,
    "disclosure.small_count_threshold": RuleId.SCOPE,
    "disclosure.policy_sha256": RuleId.SCOPE,
    "disclosure.noise.mechanism": RuleId.NOISE,
    "disclosure.noise.epsilon": RuleId.NOISE,
    "padding": RuleId.SIZE,
}
"""Every field that may leave, and the rule that answers for it."""


class DisclosureError(ProtocolError):
    """A disclosure rule refuses the release.

    Attributes
    ----------
    verdicts : tuple of Verdict
        What every rule said, worst first: for the steward, not for the other party.
    """

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        failures = [verdict for verdict in verdicts if verdict.outcome is Outcome.FAIL]
        super().__init__(
            ErrorCode.DISCLOSURE_REFUSED,
            " ".join(f"{failure.rule.value}: {failure.reason}" for failure in failures),
            hint="the steward's review shows each rule, its threshold and the fields that offend",
        )
        self.verdicts = tuple(verdicts)


def release(
    report: LotReport,
    rules: EffectiveRules,
    approval: Approval | None,
    key: SigningKey,
    *,
    lots_offered: int,
    earlier: Sequence[EarlierRelease] = (),
    noise: NoiseStanding | None = None,
    steward: VerifyingKey | None = None,
) -> bytes:
    """Return the signed envelope of a report that may leave.

    Parameters
    ----------
    report
        What would leave.
    rules
        The stricter of the site's policy and the study's wishes, as they are now.
    approval
        The airlock's approval, if there is one.
    key
        The site's key.
    lots_offered
        How many lots the site offers to this study, this one included.
    earlier
        Everything that was released of the same lot before.
    noise
        Where the report's noise stands in the site's book.
    steward
        The steward's public key; None where the site has none, and then no person can approve.

    Raises
    ------
    DisclosureError
        If a disclosure rule fails.
    ProtocolError
        If these exact bytes are not approved, or not in a way that suffices.
    InternalError
        If the report has a field that the gate does not know, or noise whose cost was not committed.
    """
    check_every_field_is_known(type(report))
    payload = encode(report)
    if decode(LotReport, payload, limit=PAYLOAD_LIMITS[PayloadType.LOT_REPORT]) != report:
        raise InternalError("expected a report that its own bytes describe in full")
    verdicts = judge(report, rules, lots_offered=lots_offered, earlier=earlier, noise=noise)
    if any(verdict.outcome is Outcome.FAIL for verdict in verdicts):
        raise DisclosureError(verdicts)
    if approval is None:
        raise ProtocolError(ErrorCode.NOT_APPROVED, hint="approve it in the steward's review")
    if approval.payload_sha256 != sha256(payload):
        raise ProtocolError(ErrorCode.NOT_APPROVED, "The approval is for other bytes.", hint="approve this report")
    if not approval.automatic:
        _check_signed(approval, report, steward)
    elif not rules.auto_approved:
        raise ProtocolError(ErrorCode.NOT_APPROVED, "The policy does not let this study's releases leave unseen.")
    warnings = warnings_sha256(verdicts)
    seen = approval.reason is not None and approval.warnings_sha256 == warnings
    if warnings is not None and (approval.automatic or not seen):
        raise ProtocolError(
            ErrorCode.NOT_APPROVED,
            "A rule asks for a person's review.",
            hint="a steward approves it and says why",
        )
    if report.disclosure.noise is not None and (noise is None or not noise.committed):
        raise InternalError("expected the noise of the report to be paid for before it is sealed")
    return seal(payload, PayloadType.LOT_REPORT, key)


def _check_signed(approval: Approval, report: LotReport, steward: VerifyingKey | None) -> None:
    """Return if the steward's key signed exactly what the approval says (SPEC 5.10)."""
    if steward is None or approval.decision is None:
        raise ProtocolError(
            ErrorCode.NOT_APPROVED, "The approval bears no steward's signature.", hint="approve it in the review"
        )
    try:
        signed = open_decision(approval.decision, steward)
    except ProtocolError as error:
        raise ProtocolError(ErrorCode.NOT_APPROVED, f"Its signature does not hold: {error}") from None
    expected = ReleaseDecision(
        study=report.study,
        site=report.site,
        lot=report.lot,
        payload_sha256=sha256(encode(report)),
        meaning=Meaning.APPROVED_FOR_RELEASE,
        by=approval.by,
        at=approval.at,
        reason=approval.reason,
        warnings_sha256=approval.warnings_sha256,
    )
    if signed != expected:
        raise ProtocolError(ErrorCode.NOT_APPROVED, "The steward signed another decision.")


def check_every_field_is_known(kind: type[BaseModel]) -> None:
    """Return if the gate answers for exactly the fields that a report has.

    Raises
    ------
    InternalError
        If a field has come or gone without a decision here.
    """
    fields = _all_field_names(kind)
    unknown, gone = fields - set(RULE_OF_FIELD), set(RULE_OF_FIELD) - fields
    if unknown or gone:
        raise InternalError(
            "expected the gate to know every field of a report; "
            f"unknown: {', '.join(sorted(unknown)) or 'none'}; gone: {', '.join(sorted(gone)) or 'none'}",
            hint="decide in site_agent/release/gate.py by which rule the field may leave",
        )


@cache
def _all_field_names(kind: type[BaseModel]) -> frozenset[str]:
    return frozenset(_field_names(kind))


def _field_names(kind: type[BaseModel]) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        inner = [part for part in _parts_of(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
        if not inner:
            yield name
        for part in inner:
            yield from (f"{name}.{below}" for below in _field_names(part))


def _parts_of(annotation: object) -> Iterator[object]:
    # A field's models may stand within Annotated, unions and tuples.
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _parts_of(argument)
