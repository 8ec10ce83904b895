"""The verdict block of each endpoint: one line, how sure it is, what it does not show.

Rules: the block never says more than the results do. How sure is told by the error rate, the interval, whether one lot
or one site carries the answer, and the validation. A refusal and a "not found" say what they are not evidence of.
"""

from coordinator.analysis import tail_of
from coordinator.report import sentences, texts
from coordinator.report.contents import VerdictBlock
from coordinator.report.edition import names_one_of
from protocol.plan import Alternative
from protocol.results import Association, EndpointCard, LeaveOneOut, ResultSet, ValidationRow, Verdict, VerdictCode
from shared.pages.numbering import Numbering
from shared.pages.rounding import interval_text, p_equation, percent_text, rho_text
from shared.statistics.study_size import StudySize, formula_power

_POWER = 0.8


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


def detectable_rho(design: StudySize) -> float | None:
    """Return the smallest abs(rho), in steps of 0.01, found with 80% power by the formula; None where there is none.

    >>> detectable_rho(StudySize(lots=29, clusters=6)), detectable_rho(StudySize(lots=3, clusters=6))
    (0.64, None)
    """
    steps = (step / 100 for step in range(1, 100))
    return next((rho for rho in steps if formula_power(design, rho) >= _POWER), None)


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
        size = StudySize(
            lots=lots.n_units, sites=lots.strata, clusters=family, tail=tail_of(study.alternative), alpha=study.alpha
        )
        rho = detectable_rho(size)
        said.append(sentences.sure_detectable(None if rho is None else f"{rho:.2f}", over, family))
    if lead is not None and lead.ci_low is not None and lead.ci_high is not None:
        said.append(
            sentences.sure_interval(
                rho_text(lead.ci_low),
                rho_text(lead.ci_high),
                percent_text(study.confidence),
                sign_known=lead.ci_low * lead.ci_high > 0,
                significant=lead.significant,
            )
        )
    if lead is not None:
        said.extend(_left_out(lead))
    if verdict.code is VerdictCode.FOUND and lead is not None:
        rows = [row for row in results.validation if (row.endpoint, row.cluster) == (lead.endpoint, lead.cluster)]
        said.append(sentences.sure_validated([_validated(row) for row in rows]) if rows else texts.NOT_VALIDATED)
    return tuple(said)


def outcome(row: ValidationRow) -> str:
    """Return what became of one validation row, as a word with its sign."""
    if not row.eligible:
        return texts.NOT_ELIGIBLE
    match row.holds:
        case None:
            return texts.NOT_TESTABLE
        case True:
            return texts.HOLDS
        case False:
            return texts.NOT_SHOWN if _goes_the_same_way(row) else texts.DOES_NOT_HOLD


def _goes_the_same_way(row: ValidationRow) -> bool:
    """Return whether the estimate has discovery's sign: then it is the evidence that is too little, not the effect."""
    if row.rho is None:
        return False
    return row.rho < 0 if row.alternative is Alternative.LESS else row.rho > 0


def _validated(row: ValidationRow) -> str:
    return sentences.validated(row.tissue or texts.ALL_TISSUES, outcome(row), row.n_lots)


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
