"""The review in the terminal and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from site_agent.release.verdicts import Verdict
from site_agent.review.model import ReviewItem

LIST_COLUMNS: Final = ("lot", "state", "study", "worst verdict", "rules", "size [bytes]", "SHA-256")
VERDICT_COLUMNS: Final = ("rule", "verdict", "threshold", "fields", "why")
LINE_COLUMNS: Final = ("field", "would leave", "last release", "note")
RISKS: Final = (
    "The shares of a lot are a fingerprint: whoever sees the same lot in two studies can link them, pseudonyms or not.",
    "The rules know what left through crosslot; what you published elsewhere is not among it.",
    "Noise, where your policy asks for it, hides a cell in the counts, not a donor; medians and potency leave without.",
)
"""What no rule can prevent, said before every decision."""


def list_rows(items: Sequence[ReviewItem]) -> list[tuple[str, ...]]:
    """Return one row a report."""
    return [
        (
            item.lot_name or item.held.lot,
            item.held.state.value,
            item.held.study,
            item.verdicts[0].outcome.value if item.verdicts else "not judged",
            counted(item.verdicts) if item.verdicts else item.problem,
            str(len(item.held.payload)),
            item.held.payload_sha256[:12],
        )
        for item in items
    ]


def counted(verdicts: Sequence[Verdict]) -> str:
    """Return how many rules say what, worst first: "1 review, 8 pass"."""
    outcomes = [verdict.outcome.value for verdict in verdicts]
    return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))


def verdict_rows(item: ReviewItem) -> list[tuple[str, ...]]:
    """Return what each rule says, worst first."""
    return [verdict_cells(verdict, item) for verdict in item.verdicts]


def verdict_cells(verdict: Verdict, item: ReviewItem) -> tuple[str, ...]:
    """Return one verdict as the cells of a row: rule, verdict, threshold, fields, why."""
    fields = ", ".join(field_name(name, item) for name in verdict.fields)
    return verdict.rule.value, verdict.outcome.value, threshold_text(verdict), fields, verdict.reason


def threshold_text(verdict: Verdict) -> str:
    """Return the threshold and whose it is, "" for a rule without one."""
    return "" if verdict.threshold is None else f"{verdict.threshold.value} ({verdict.threshold.owner.value}'s)"


def field_name(name: str, item: ReviewItem) -> str:
    """Return a field's dotted name in a steward's words: the cluster's name for ``counts.3``."""
    kind, _, position = name.partition(".")
    if kind == "counts" and position.isdigit() and int(position) < len(item.clusters):
        return item.clusters[int(position)]
    return name


def line_rows(item: ReviewItem) -> list[tuple[str, ...]]:
    """Return the report as a table."""
    return [(line.field, line.value, line.before, line.note) for line in item.lines]


def headline(items: Sequence[ReviewItem]) -> str:
    """Return the state of the airlock in a sentence."""
    waiting = sum(item.waits for item in items)
    approved = sum(item.held.state.value == "approved" for item in items)
    sent = sum(item.held.state.value == "sent" for item in items)
    if not items:
        return "Nothing waits, and nothing has left."
    head = "Nothing has left." if sent == 0 else f"{sent} report{'s' * (sent != 1)} left after approval."
    waits = "waits" if waiting == 1 else "wait"
    return f"{head} {waiting} {waits} for your decision; {approved} approved and not yet sent."


def purpose(item: ReviewItem) -> str:
    """Return to whom the report would go, and for what."""
    to = f"the coordinator with key {item.recipient[:16]}"
    if item.rules is None:
        return f"to {to}; the study's plan cannot be read"
    return f"to {to}, for study {item.held.study}: {item.rules.plan.question}"


def as_document(item: ReviewItem) -> Mapping[str, Any]:
    """Return a report and all that is said of it as JSON."""
    held = item.held
    return {
        "payload_sha256": held.payload_sha256,
        "payload": held.payload.decode("utf-8"),
        "bytes": len(held.payload),
        "state": held.state.value,
        "study": held.study,
        "question": None if item.rules is None else item.rules.plan.question,
        "recipient_key": item.recipient,
        "lot": held.lot,
        "lot_name": item.lot_name or None,
        "submitted_at": held.submitted_at,
        "approvable": item.why_not_approvable == "",
        "why_not": item.why_not_approvable or None,
        "needs_reason": item.needs_reason,
        "withheld_clusters": [item.clusters[i] for i in sorted(item.withheld) if i < len(item.clusters)],
        "verdicts": [
            {
                "rule": verdict.rule.value,
                "outcome": verdict.outcome.value,
                "threshold": None if verdict.threshold is None else verdict.threshold.value,
                "threshold_owner": None if verdict.threshold is None else verdict.threshold.owner.value,
                "fields": list(verdict.fields),
                "reason": verdict.reason,
            }
            for verdict in item.verdicts
        ],
        "table": [
            {"field": line.field, "value": line.value, "before": line.before or None, "note": line.note or None}
            for line in item.lines
        ],
        "previous": None
        if item.previous is None
        else {
            "study": item.previous.report.study,
            "version": item.previous.report.version,
            "same_cells": item.previous.same_cells,
        },
        "approval": None
        if held.approval is None
        else {
            "by": held.approval.by,
            "at": held.approval.at,
            "meaning": held.approval.meaning.value,
            "reason": held.approval.reason,
        },
        "refusal_reason": held.refusal_reason,
    }
