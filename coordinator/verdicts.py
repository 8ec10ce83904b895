"""What was and was not found, in one plain sentence for each endpoint: never more than the numbers say.

"Found" needs significance after correction over the whole family. What stands out before correction only is said to
be so. A refusal gives its reason in the place of an answer.
"""

from collections.abc import Sequence

from protocol.plan import Endpoint
from protocol.results import Association, Verdict, VerdictCode
from shared.errors import DesignError


def verdict_of(
    endpoint: Endpoint, associations: Sequence[Association], *, units: int, sites: int, alpha: float, confidence: float
) -> Verdict:
    """Return the verdict on ``associations`` (best first, at least one) of one endpoint."""
    hits = tuple(row for row in associations if row.significant)
    over = f"{units} lots of {_count(sites, 'site')}"
    family = _count(len(associations), "cluster")
    best = associations[0]
    if hits:
        lead = hits[0]
        sentence = (
            f"The share of {lead.cluster} {_moves(lead.rho)} {endpoint.assay} over {over}: rho {_number(lead.rho)} "
            f"({confidence:.0%} interval {_number(lead.ci_low)} to {_number(lead.ci_high)}), "
            f"p {_p(lead.p_adjusted)} after correction over {family}."
        )
        if len(hits) > 1:
            others = ", ".join(f"{row.cluster} (rho {_number(row.rho)}, p {_p(row.p_adjusted)})" for row in hits[1:])
            sentence += f" So {'does' if len(hits) == 2 else 'do'} {others}, also with {lead.cluster} set aside."  # noqa: PLR2004
        return Verdict(
            endpoint=endpoint.endpoint,
            code=VerdictCode.FOUND,
            clusters=tuple(row.cluster for row in hits),
            sentence=sentence,
        )
    before = f"The strongest is {best.cluster}: rho {_number(best.rho)}, p {_p(best.p_value)}"
    if best.p_value is not None and best.p_value <= alpha and len(associations) > 1:
        sentence = (
            f"Not significant after correction over the {len(associations)} clusters: no share is shown to follow "
            f"{endpoint.assay} over {over}. {before} before correction, {_p(best.p_adjusted)} after it."
        )
    else:
        sentence = f"No share is shown to follow {endpoint.assay} over {over}, out of {family}. {before}."
    return Verdict(endpoint=endpoint.endpoint, code=VerdictCode.NOT_FOUND, sentence=sentence)


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


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2g}"
