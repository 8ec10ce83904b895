"""What a disclosure rule says: pass, review or fail, by whose threshold, about which fields, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from protocol.codec import canonical_json, sha256
from protocol.identifiers import Sha256
from protocol.policy import Threshold


class RuleId(StrEnum):
    """The rules, by the names that the steward's review and the ledger use."""

    SCOPE = "scope"
    MINIMUM_CELLS = "minimum-cells"
    MINIMUM_LOTS = "minimum-lots"
    SMALL_COUNTS = "small-counts"
    TOTALS = "totals"
    EARLIER_RELEASES = "earlier-releases"
    NOISE = "noise"
    NOISE_BUDGET = "noise-budget"
    PRECISION = "precision"
    WITHHELD_FIELDS = "withheld-fields"
    MODULES = "modules"
    MARKERS = "markers"
    ATTRIBUTES = "attributes"
    SIZE = "size"


class Outcome(StrEnum):
    """What a rule says, worst first."""

    FAIL = "fail"
    REVIEW = "review"
    PASS = "pass"  # noqa: S105 - a verdict, no password


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one rule says of one report.

    Attributes
    ----------
    rule, outcome
        Which rule, and what it says.
    threshold
        The threshold in force and whose it is; None for a rule without one.
    fields
        The fields that offend, as dotted names: ``counts.3``.
    reason
        One sentence for the steward, without a value of the lot.
    """

    rule: RuleId
    outcome: Outcome
    threshold: Threshold | None = None
    fields: tuple[str, ...] = ()
    reason: str


def failed(rule: RuleId, fields: tuple[str, ...], reason: str, threshold: Threshold | None = None) -> Verdict:
    """Return the verdict that a rule is broken by ``fields``."""
    return Verdict(rule=rule, outcome=Outcome.FAIL, threshold=threshold, fields=fields, reason=reason)


def passed(rule: RuleId, reason: str, threshold: Threshold | None = None) -> Verdict:
    """Return the verdict that a rule holds."""
    return Verdict(rule=rule, outcome=Outcome.PASS, threshold=threshold, reason=reason)


def warnings_sha256(verdicts: Sequence[Verdict]) -> Sha256 | None:
    """Return the hash of everything that the rules warn of, None where none does: what a person saw when approving."""
    warnings = [
        [verdict.rule.value, list(verdict.fields), verdict.reason]
        for verdict in verdicts
        if verdict.outcome is Outcome.REVIEW
    ]
    return sha256(canonical_json(sorted(warnings))) if warnings else None
