"""The verdict block of each endpoint: one line, how sure it is, what it does not show.

Rules: the block never says more than the results do. How sure is told by the error rate, the interval, whether one lot
or one site carries the answer, and the validation. A refusal and a "not found" say what they are not evidence of.
"""

import math
from statistics import NormalDist

from coordinator.report import sentences, texts
from coordinator.report.contents import VerdictBlock
from coordinator.report.edition import names_one_of
from coordinator.report.numbering import Numbering
from coordinator.report.rounding import interval_text, p_equation, percent_text, rho_text
from protocol.results import Association, EndpointCard, LeaveOneOut, ResultSet, Verdict, VerdictCode

_POWER = 0.8
_RHO_STEPS = 999


def verdict_block(
    results: ResultSet, verdict: Verdict, *, hidden_names: frozenset[str], numbering: Numbering
) -> VerdictBlock:
    """Return the verdict block of one endpoint."""
    card = endpoint_card(results, verdict.endpoint)
    rows = associations_of(results, verdict.endpoint)
    found = tuple(row for row in rows if row.cluster in verdict.clusters)
    lead = found[0] if found else next((row for row in rows if row.rho is not None), None)
    return VerdictBlock(
        endpoint=card.assay,
        code=verdict.code,
        word=texts.VERDICT_WORDS[verdict.code],
        headline=sentences.headline(
            verdict.code,
            rising=[row.cluster for row in found if (row.rho or 0) > 0],
            falling=[row.cluster for row in found if (row.rho or 0) < 0],
            assay=card.assay,
            family=len(rows),
        ),
        finding=numbering.finding(_detail(results, verdict, lead, len(rows), hidden_names)),
        confidence=_confidence(results, verdict, lead, len(rows)),
        limits=_limits(verdict.code),
    )


def associations_of(results: ResultSet, endpoint: str) -> tuple[Association, ...]:
    """Return the associations of one endpoint, best first as the results hold them."""
    return tuple(row for row in results.associations if row.endpoint == endpoint)


def endpoint_card(results: ResultSet, endpoint: str) -> EndpointCard:
    """Return the card of one endpoint."""
    return next(card for card in results.endpoints if card.endpoint == endpoint)


def statistic_text(row: Association, confidence: float) -> str:
    """Return rho with its interval."""
    return sentences.statistic(rho_text(row.rho), interval_text(row.ci_low, row.ci_high), percent_text(confidence))


def detectable_rho(n_units: int, n_strata: int, family: int, alpha: float) -> float | None:
    """Return the smallest abs(rho) found with 80% power, or None where there is none below 1.

    Solves n = 3 + q + (1 + rho^2 / 2) ((z[alpha / 2K] + z[power]) / atanh rho)^2 for rho, with q = strata - 1: Bonett
    and Wright (2000), Psychometrika 65:23-28, their standard error with Bonferroni's alpha; 0 to 4 lots conservative.

    >>> round(detectable_rho(29, 1, 6, 0.05), 1), detectable_rho(3, 1, 6, 0.05)
    (0.6, None)
    """
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / (2 * max(family, 1))) + normal.inv_cdf(_POWER)
    for step in range(1, _RHO_STEPS + 1):
        rho = step / (_RHO_STEPS + 1)
        if 3 + n_strata - 1 + (1 + rho**2 / 2) * (z / math.atanh(rho)) ** 2 <= n_units:
            return rho
    return None


def alpha_text(alpha: float) -> str:
    """Return alpha as it was planned.

    >>> alpha_text(0.05)
    '0.05'
    """
    return f"{alpha:g}"


def _detail(
    results: ResultSet, verdict: Verdict, lead: Association | None, family: int, hidden_names: frozenset[str]
) -> str:
    if verdict.code is VerdictCode.REFUSED:
        named = names_one_of(verdict.sentence, hidden_names)
        return sentences.refused_detail(texts.WITHHELD_SENTENCE if named else verdict.sentence, verdict.reason_code)
    if lead is None:
        return texts.NOTHING_DEFINED
    study, lots = results.study, results.lots
    common = {
        "name": lead.cluster,
        "statistic": statistic_text(lead, study.confidence),
        "p": p_equation(lead.p_value),
        "p_adjusted": p_equation(lead.p_adjusted, alpha=study.alpha),
        "lots": sentences.lots_of_sites(lots.n, lots.n_units, lots.sites),
    }
    if verdict.code is VerdictCode.FOUND:
        return sentences.found_detail(**common, family=family)
    return sentences.not_found_detail(**common, family=family, alpha=alpha_text(study.alpha))


def _confidence(results: ResultSet, verdict: Verdict, lead: Association | None, family: int) -> tuple[str, ...]:
    if verdict.code is VerdictCode.REFUSED:
        return (texts.SURE_REFUSED,)
    study, lots = results.study, results.lots
    over = sentences.lots_of_sites(lots.n, lots.n_units, lots.sites)
    said: list[str] = []
    if verdict.code is VerdictCode.FOUND and lead is not None:
        p = p_equation(lead.p_adjusted, alpha=study.alpha)
        said.append(sentences.sure_adjusted(p, alpha_text(study.alpha), family))
    if verdict.code is VerdictCode.NOT_FOUND:
        rho = detectable_rho(lots.n_units, lots.strata, family, study.alpha)
        said.append(sentences.sure_detectable(None if rho is None else f"{rho:.2f}", over, family))
    if lead is not None and lead.ci_low is not None and lead.ci_high is not None:
        said.append(
            sentences.sure_interval(
                interval_text(lead.ci_low, lead.ci_high),
                percent_text(study.confidence),
                sign_known=lead.ci_low * lead.ci_high > 0,
            )
        )
    if lead is not None:
        said.extend(_left_out(lead))
    if verdict.code is VerdictCode.FOUND:
        tested = [row for row in results.validation if row.endpoint == verdict.endpoint and row.holds is not None]
        said.append(
            sentences.sure_validated(sum(row.holds is True for row in tested), len(tested))
            if tested
            else texts.NOT_VALIDATED
        )
    return tuple(said)


def _left_out(lead: Association) -> tuple[str, ...]:
    kinds: tuple[tuple[str, LeaveOneOut | None], ...] = (
        ("lot", lead.sensitivity.leave_one_lot_out),
        ("site", lead.sensitivity.leave_one_site_out),
    )
    return tuple(
        sentences.sure_left_out(what, rho_text(left.low), rho_text(left.high), holds=left.sign_holds)
        for what, left in kinds
        if left is not None and left.low is not None and left.high is not None
    )


def _limits(code: VerdictCode) -> tuple[str, ...]:
    first = {
        VerdictCode.FOUND: (texts.LIMIT_CAUSE,),
        VerdictCode.NOT_FOUND: (texts.LIMIT_ABSENCE,),
        VerdictCode.REFUSED: (texts.LIMIT_REFUSED,),
    }[code]
    last = (texts.LIMIT_SPECIFICATION,) if code is VerdictCode.FOUND else ()
    return (*first, texts.LIMIT_SHARES, *last)
