"""The words of a comparison in English: what was found, on what evidence, and what would be needed next.

A sentence claims no more than the path that led to it. The bare word for "may be compared" is never said of lots:
alike means that every interval lies within a margin that was fixed before, and is said together with the margin.
"""

from math import exp

from shared.comparability.findings import (
    Check,
    CheckName,
    CheckState,
    Compared,
    Findings,
    Outcome,
    Step,
    StepName,
)
from shared.pages.rounding import p_equation

WORDS = {
    Outcome.METHOD_INADEQUATE: "The method is inadequate",
    Outcome.INSUFFICIENT_DATA: "Too few data",
    Outcome.HIGHLY_SIMILAR: "Highly similar",
    Outcome.NOTABLE_DIFFERENCE: "Notable difference",
    Outcome.SUSPECTED_SIMILAR: "Suspected similar",
}
ICONS = {
    Outcome.METHOD_INADEQUATE: "!",
    Outcome.INSUFFICIENT_DATA: "…",
    Outcome.HIGHLY_SIMILAR: "≈",
    Outcome.NOTABLE_DIFFERENCE: "≠",
    Outcome.SUSPECTED_SIMILAR: "?",
}
CHECKS = {
    CheckName.REPLICATES: "CV of the replicates of one run",
    CheckName.REFERENCE: "fold by which the reference standard moved between the arms",
    CheckName.GENE_COVERAGE: "smallest share of the atlas's genes that a lot has",
    CheckName.UNASSIGNED: "growth of the share of cells of no cluster",
}
QUESTIONS = {
    StepName.METHOD: "Do assay, reference and mapping pass their checks?",
    StepName.POWER: "Had the test of potency enough power?",
    StepName.ALIKE: "Do potency, every part and every quality range pass?",
    StepName.APART: "Does an interval lie wholly outside its margin?",
}
LIMITS = (
    (
        "Likeness in what was measured, within these margins, is not sameness: safety, stability and what was not "
        "measured are outside this analysis. ICH Q5E asks for all of them."
    ),
    (
        "A quality range alone would let about half of all shifts of 2 SD pass at 11 lots before and 3 after, and a "
        "test that finds no difference is no evidence of likeness: neither decides here by itself."
    ),
    (
        "The higher value is not the better one: a lot that is more potent, or richer in a cluster, is as different as "
        "one that is less so."
    ),
)
_SENSITIVE = 0.8
_CERTAIN = 0.995


def fold_text(log_value: float) -> str:
    """Return a difference of logarithms as a fold.

    >>> fold_text(0.0), fold_text(0.405), fold_text(-0.693)
    ('1.00-fold', '1.50-fold', '0.50-fold')
    """
    return f"{exp(log_value):.2f}-fold"


def end_text(log_value: float, margin: float) -> str:
    """Return an end of an interval as a fold, with as many digits as tell it from the margin's own ends.

    >>> end_text(0.5, 0.693), end_text(0.692, 0.6931472)
    ('1.65', '1.998')
    """
    for decimals in range(2, 7):
        text = f"{exp(log_value):.{decimals}f}"
        if text not in {f"{exp(end):.{decimals}f}" for end in (-margin, margin)}:
            return text
    return f"{exp(log_value):.2f}"


def power_text(power: float) -> str:
    """Return a power in per cent; one that is not certain never reads as if it were.

    >>> power_text(0.67), power_text(0.9999)
    ('67%', 'over 99%')
    """
    return f"{power:.0%}" if power < _CERTAIN else "over 99%"


def interval(compared: Compared, level: float) -> str:
    """Return the estimate with the interval that decides."""
    if compared.estimate is None or compared.bound_low is None or compared.bound_high is None:
        return "not estimable"
    estimate = fold_text(compared.estimate)
    low, high = (end_text(end, compared.margin) for end in (compared.bound_low, compared.bound_high))
    hidden = ", whatever the suppressed counts are" if compared.suppressed else ""
    return f"{estimate} ({level:.0%} interval {low} to {high}{hidden})"


def failures(compared: Compared) -> tuple[str, ...]:
    """Return why a value does not pass, in short phrases; empty where it does."""
    reasons = []
    if compared.lost_in_noise:
        reasons.append("noise on counts is too large for its cells")
    elif compared.outside:
        reasons.append("its interval lies wholly outside the margin")
    elif not compared.within:
        reasons.append("its interval reaches beyond the margin")
    if not compared.sites_agree and compared.p_sites is not None:
        reasons.append(f"the change did not do the same at every site, {p_equation(compared.p_sites)}")
    for which, each in (("", compared.own_range), ("consortium's ", compared.consortium)):
        if each is not None and not each.passes:
            reasons.append(f"{each.inside} of {each.of} lots after lie within the {which}quality range")
    return tuple(reasons)


def headline(findings: Findings) -> str:
    """Return the outcome in one sentence with its evidence."""
    match findings.outcome:
        case Outcome.METHOD_INADEQUATE:
            failed = "; ".join(check_text(check) for check in findings.checks if check.state is CheckState.FAILED)
            return f"Assay, reference or mapping cannot carry a comparison: {failed}."
        case Outcome.INSUFFICIENT_DATA:
            return _too_few(findings)
        case Outcome.HIGHLY_SIMILAR:
            return (
                f"Lots after the change are highly similar to those before: potency {_potency(findings)} lies within "
                f"{_margin(findings)}, the ratio of each of {len(findings.parts)} clusters to their geometric mean "
                f"within {fold_text(findings.criteria.part_margin)}, and the lots after lie within the quality ranges "
                "of those before."
            )
        case Outcome.NOTABLE_DIFFERENCE:
            outside = [each for each in _everything(findings) if each.outside]
            return f"Lots after the change differ notably from those before: {_named(findings, outside)}."
        case Outcome.SUSPECTED_SIMILAR:
            open_ = [each for each in _everything(findings) if failures(each)]
            nothing = "nothing is shown to lie" if _lost(findings) else "nothing lies"
            return (
                "Lots after the change are suspected to be similar to those before, and not shown to be: "
                f"{len(_everything(findings)) - len(open_)} of {len(_everything(findings))} values pass, {nothing} "
                f"wholly outside its margin, and open is {_open(open_)}."
            )


def next_steps(findings: Findings) -> tuple[str, ...]:
    """Return what would be needed next."""
    match findings.outcome:
        case Outcome.METHOD_INADEQUATE:
            return ("Mend the method first: assay, reference standard or atlas. Then measure both arms again.",)
        case Outcome.INSUFFICIENT_DATA:
            return (_more_lots(findings),)
        case Outcome.HIGHLY_SIMILAR:
            steps = ["Put this beside stability, impurities and process data; go on watching the lots to come."]
            if findings.criteria.justification is None:
                steps.insert(0, "Justify the margin of potency: until then it is a placeholder, and so is this answer.")
            return tuple(steps)
        case Outcome.SUSPECTED_SIMILAR:
            return (
                "Gather experience: more lots after the change, and further analyses of what is open.",
                *_open_lots(findings),
                *_against_noise(findings),
            )
        case Outcome.NOTABLE_DIFFERENCE:
            return (
                "Find the cause: which step of the process moves the values named above.",
                "If the change stays, a nonclinical or clinical study has to show that the difference does not matter.",
            )


def notes(findings: Findings, *, against_ranges: bool) -> tuple[str, ...]:
    """Return what a reader should know beside the answer."""
    arms, told = findings.arms, []
    if against_ranges:
        told.append(
            "This site has no lot before the change: the lots before are the consortium's, of other sites, known by "
            "number, mean and SD only. A difference between sites is within the difference."
        )
    left_out = arms.units_before + arms.units_after - arms.compared_before - arms.compared_after
    if left_out:
        told.append(
            f"Not in the difference: {_count(left_out, 'donor')} of a site and tissue with lots on one side only. Lots "
            "are compared within a site and a tissue."
        )
    if arms.donors_in_both:
        told.append(
            f"{_count(arms.donors_in_both, 'donor')} with lots on both sides: the pairing is not used, which errs on "
            "the side of finding no likeness."
        )
    if any(check.state is CheckState.NOT_TOLD for check in findings.checks):
        names = "; ".join(CHECKS[check.name] for check in findings.checks if check.state is CheckState.NOT_TOLD)
        told.append(f"Not recorded, so neither passed nor failed: {names}.")
    apart = [each for each in _everything(findings) if each.outside]
    if apart and findings.outcome in {Outcome.METHOD_INADEQUATE, Outcome.INSUFFICIENT_DATA}:
        told.append(
            f"All the same, and not to be passed over: wholly outside its margin lies {_named(findings, apart)}."
        )
    widened = [each.name for each in _everything(findings) if each.suppressed]
    if widened:
        told.append(
            f"Suppressed counts leave open more than the lots do for {_listed(widened)}: what decides holds whatever "
            "they were."
        )
    lost = _lost(findings)
    if lost:
        told.append(
            f"Noise on counts is more than a quarter of a lot's cells for {_listed([each.name for each in lost])}: a "
            "difference there may come out too small or too large, and more lots only make the wrong value surer. So "
            "such a cluster is shown neither within its margin nor outside, and the lots cannot be called highly "
            "similar."
        )
    unproven = [each for each in lost if each.outside_as_counted]
    if unproven:
        told.append(
            "All the same, and not to be passed over: as counted, with the noise, wholly outside its margin lies "
            f"{_named(findings, unproven)}."
        )
    return tuple(told)


def check_text(check: Check) -> str:
    """Return a check as "what: found, limit"."""
    found = "not recorded" if check.found is None else f"{check.found:.2f}"
    bound = "at least" if check.name is CheckName.GENE_COVERAGE else "at most"
    return f"{CHECKS[check.name]} {found}, {bound} {check.limit:g} asked for"


def step_reason(findings: Findings, step: Step) -> str:
    """Return why a question of the path was answered so."""
    match step.name:
        case StepName.METHOD:
            failed = [check for check in findings.checks if check.state is CheckState.FAILED]
            told = [check for check in findings.checks if check.state is not CheckState.NOT_TOLD]
            return (
                "; ".join(map(check_text, failed)) or f"{len(told)} of {len(findings.checks)} checks made, all passed"
            )
        case StepName.POWER:
            return f"power {power_text(findings.power)}, at least {findings.criteria.minimum_power:.0%} asked for"
        case StepName.ALIKE if step.answer is None:
            return "not estimable"
        case StepName.ALIKE:
            open_ = [each for each in _everything(findings) if failures(each)]
            n = len(_everything(findings))
            return (
                f"all {n} pass" if not open_ else f"{len(open_)} of {n} not: {_listed([each.name for each in open_])}"
            )
        case StepName.APART if step.answer is None:
            return "not estimable"
        case StepName.APART:
            outside = [each.name for each in _everything(findings) if each.outside]
            return _listed(outside) if outside else "none is shown to" if _lost(findings) else "none does"


def margin_text(findings: Findings) -> str:
    """Return the margins and why they are what they are."""
    criteria = findings.criteria
    reason = (
        f"Justification: {criteria.justification}"
        if criteria.justification is not None
        else "No justification was given: it is a placeholder."
    )
    return (
        f"Margin of potency: {criteria.margin_fold:g}-fold either way. {reason} Margin of each cluster: "
        f"{fold_text(criteria.part_margin)} of its ratio to the geometric mean of all clusters. Quality range: mean "
        f"\N{PLUS-MINUS SIGN} {criteria.quality_range_sd:g} SD of the lots before, to hold "
        f"{criteria.quality_range_share:.0%} of the lots after. Each one-sided test at {criteria.alpha:g}."
    )


def _too_few(findings: Findings) -> str:
    arms = findings.arms
    lots = f"{_count(arms.compared_before, 'donor')} before and {arms.compared_after} after"
    if findings.planned_sd is None:
        return (
            f"Too few lots for an answer: {lots} stand side by side at one site and tissue, and each arm needs at "
            "least two of them."
        )
    return (
        f"Too few lots for an answer: with {lots} the test of potency would pass in {findings.power:.0%} of studies "
        f"even if nothing had changed (SD between lots {findings.planned_sd:.2f} in ln), and at least "
        f"{findings.criteria.minimum_power:.0%} was asked for."
    )


def _more_lots(findings: Findings) -> str:
    if findings.planned_sd is None:
        return "Bring at least two lots before and two after the change from the same site and tissue."
    after = (
        f"{_count(findings.lots_needed, 'lot')} after beside the {findings.arms.compared_before} before give a power "
        f"of {findings.criteria.minimum_power:g}; "
        if findings.lots_needed is not None
        else f"No number of lots after makes up for so few before ({findings.arms.compared_before}); "
    )
    each = (
        f"{findings.lots_needed_each} in each arm at one site give 80%."
        if findings.lots_needed_each is not None
        else "even 400 in each arm do not give 80%: the lots vary too much for this margin."
    )
    return (after + each)[:1].upper() + (after + each)[1:]


def _open_lots(findings: Findings) -> tuple[str, ...]:
    return tuple(
        f"For {each.name}: {_count(each.lots_needed, 'lot')} in each arm would give 80% power "
        f"(now {power_text(each.power)})."
        for each in _everything(findings)
        if not (each.within or each.lost_in_noise) and each.lots_needed is not None and each.power < _SENSITIVE
    )


def _against_noise(findings: Findings) -> tuple[str, ...]:
    lost = [each.name for each in _lost(findings)]
    if not lost:
        return ()
    step = (
        f"For {_listed(lost)}: more lots do not help against noise on counts. Lots of more cells, less noise (a larger "
        "epsilon), or an atlas that names fewer, larger clusters would."
    )
    return (step,)


def _lost(findings: Findings) -> list[Compared]:
    return [each for each in _everything(findings) if each.lost_in_noise]


def _everything(findings: Findings) -> tuple[Compared, ...]:
    return (*((findings.potency,) if findings.potency else ()), *findings.parts)


def _named(findings: Findings, which: list[Compared]) -> str:
    return _listed(
        [f"{each.name} {interval(each, findings.criteria.level)}" for each in which],
        separator="; ",
    )


def _open(which: list[Compared]) -> str:
    return _listed([f"{each.name} ({', '.join(failures(each))})" for each in which], separator="; ")


def _potency(findings: Findings) -> str:
    return interval(findings.potency, findings.criteria.level) if findings.potency else ""


def _margin(findings: Findings) -> str:
    placeholder = " (a placeholder)" if findings.criteria.justification is None else ""
    return f"{findings.criteria.margin_fold:g}-fold{placeholder}"


def _count(number: int | None, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: list[str], separator: str = ", ") -> str:
    return names[0] if len(names) == 1 else f"{separator.join(names[:-1])} and {names[-1]}" if names else "nothing"
