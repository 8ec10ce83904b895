"""What was and was not found, in one plain sentence for each endpoint: never more than the numbers say.

"Found" needs significance after correction over the whole family. What stands out before correction only is said to
be so. A refusal gives its reason in the place of an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.plan import Endpoint
from protocol.results import Association, Verdict, VerdictCode
from shared.errors import DesignError
from shared.pages.rounding import interval_text, p_text, rho_text


@dataclass(frozen=True, kw_only=True)
class Over:
    """What an answer rests on."""

    units: int
    lots: int
    sites: int

    def __str__(self) -> str:
        lots = _count(self.lots, "lot") + (f" ({_count(self.units, 'donor')})" if self.units != self.lots else "")
        return f"{lots} at {_count(self.sites, 'site')}"


def verdict_of(
    endpoint: Endpoint, associations: Sequence[Association], *, over: Over, alpha: float, confidence: float
) -> Verdict:
    """Return the verdict on ``associations`` (best first, at least one) of one endpoint."""
    hits = tuple(row for row in associations if row.significant)
    if hits:
        return Verdict(
            endpoint=endpoint.endpoint,
            code=VerdictCode.FOUND,
            clusters=tuple(row.cluster for row in hits),
            sentence=_found(endpoint, associations, hits, over=over, alpha=alpha, confidence=confidence),
        )
    return Verdict(
        endpoint=endpoint.endpoint,
        code=VerdictCode.NOT_FOUND,
        sentence=_not_found(endpoint, associations, over=over, alpha=alpha),
    )


def _found(
    endpoint: Endpoint,
    associations: Sequence[Association],
    hits: Sequence[Association],
    *,
    over: Over,
    alpha: float,
    confidence: float,
) -> str:
    lead = hits[0]
    family = f" after correction over the {len(associations)} clusters" if len(associations) > 1 else ""
    sentence = (
        f"The share of {lead.cluster} {_moves(lead.rho)} {endpoint.assay} over {over}: rho {rho_text(lead.rho)} "
        f"({confidence:.0%} interval {interval_text(lead.ci_low, lead.ci_high)}), "
        f"p {p_text(lead.p_adjusted, alpha=alpha)}{family}."
    )
    if lead.ci_low is not None and lead.ci_high is not None and lead.ci_low <= 0 <= lead.ci_high:
        sentence += " The interval, an approximation that is wide at so few lots, includes 0: the test decides, not it."
    if hits[1:]:
        others = _listed(
            [f"{row.cluster} (rho {rho_text(row.rho)}, p {p_text(row.p_adjusted, alpha=alpha)})" for row in hits[1:]]
        )
        sentence += f" Also with {lead.cluster} set aside, an association holds for {others}."
    dragged = [
        row.cluster
        for row in associations
        if not row.significant and row.p_adjusted is not None and row.p_adjusted <= alpha
    ]
    if dragged:
        sentence += (
            f" {_listed(dragged)} {'passes' if len(dragged) == 1 else 'pass'} the correction too, but not with "
            f"{lead.cluster} set aside: shares sum to 1, which alone can bring this about."
        )
    return sentence


def _not_found(endpoint: Endpoint, associations: Sequence[Association], *, over: Over, alpha: float) -> str:
    best = associations[0]
    several = len(associations) > 1
    who = f"The smallest p is that of {best.cluster}" if several else f"For {best.cluster}"
    smallest = f"{who}: rho {rho_text(best.rho)}, p {p_text(best.p_value)}"
    if several and best.p_value is not None and best.p_value <= alpha:
        return (
            f"Not significant after correction over the {len(associations)} clusters: no cluster's share is shown to "
            f"follow {endpoint.assay} over {over}. {smallest} before correction, "
            f"{p_text(best.p_adjusted, alpha=alpha)} after it."
        )
    family = f" in a family of {len(associations)} clusters" if several else ""
    return f"No cluster's share is shown to follow {endpoint.assay} over {over}{family}. {smallest}."


def refusal_of(endpoint: Endpoint, error: DesignError) -> Verdict:
    """Return the verdict where the design cannot answer: the named reason, and what would help."""
    help_ = f" What would help: {error.hint}." if error.hint else ""
    return Verdict(
        endpoint=endpoint.endpoint,
        code=VerdictCode.REFUSED,
        sentence=f"No answer on {endpoint.assay}: {error}.{help_}",
        reason_code=error.code,
    )


def _moves(rho: float | None) -> str:
    return "rises with" if rho is not None and rho > 0 else "falls with"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
