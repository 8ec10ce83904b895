"""The sentences of the report in English, apart from the code that decides which are said.

A sentence never claims more than its numbers: "follows" is association, "found" is significance after correction. A
function here joins words only: what it is given is rounded already.
"""

import re
from collections.abc import Sequence

from coordinator.report import texts
from protocol.plan import Alternative, Strata
from protocol.results import VerdictCode

_TELLS_NOTHING = re.compile(r"\d+|[A-Za-z]\d?|[cC]\d+")


def opening(phrase: str) -> str:
    """Return a phrase as the beginning of a sentence.

    >>> opening("cluster 3")
    'Cluster 3'
    """
    return phrase[:1].upper() + phrase[1:]


def validation_only(site: str) -> str:
    """Return a site that took part in validation only."""
    return f"{site} (validation only)"


def count_of(n: int, one: str, many: str | None = None) -> str:
    """Return "1 lot" or "3 lots".

    >>> count_of(1, "lot"), count_of(3, "lot")
    ('1 lot', '3 lots')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def cluster(name: str) -> str:
    """Return "cluster 3" for a name that says nothing by itself, and a telling name as it is.

    >>> cluster("3"), cluster("NK"), cluster("CD14 Mono")
    ('cluster 3', 'NK', 'CD14 Mono')
    """
    return f"cluster {name}" if _TELLS_NOTHING.fullmatch(name) else name


def listed(names: Sequence[str]) -> str:
    """Return "A", "A and B", "A, B and C", of clusters or of phrases.

    >>> listed(["CD14", "cluster 3", "a phrase"])
    'CD14, cluster 3 and a phrase'
    """
    names = [cluster(name) for name in names]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"


def headline(code: VerdictCode, *, rising: Sequence[str], falling: Sequence[str], assay: str, family: int) -> str:
    """Return the verdict in one line."""
    match code:
        case VerdictCode.FOUND:
            up = f"The share of {listed(rising)} rises with {assay}" if rising else ""
            down = f"{'that' if up else 'The share'} of {listed(falling)} falls" if falling else ""
            return f"{up}; {down} with it" if up and down else up or f"{down} as {assay} rises"
        case VerdictCode.NOT_FOUND if family == 1:
            return f"The cluster that was tested does not follow {assay} significantly"
        case VerdictCode.NOT_FOUND:
            return f"No cluster follows {assay} significantly, once all {family} that were tested are allowed for"
        case VerdictCode.REFUSED:
            return f"These lots cannot answer the question for {assay}"


def found_detail(*, name: str, statistic: str, p: str, p_adjusted: str, family: int, lots: str) -> str:
    """Return the sentence behind a verdict "found", for the leading cluster."""
    corrected = f"{p_adjusted} after correction for {tests(family)}"
    return f"Over {lots}, the share of {cluster(name)} has {statistic}; {p} alone and {corrected}."


def not_found_detail(*, name: str, statistic: str, p: str, p_adjusted: str, family: int, lots: str, alpha: str) -> str:
    """Return the sentence behind a verdict "not found", for the cluster that came closest."""
    return (
        f"Over {lots}, the share of {cluster(name)} comes closest: {statistic}; {p} alone, but {p_adjusted} after "
        f"correction for {tests(family)}, where at most {alpha} was asked for."
    )


def tests(family: int) -> str:
    """Return "the 13 clusters tested"."""
    return "the one cluster tested" if family == 1 else f"the {family} clusters tested"


def refused_detail(reason: str, code: str | None) -> str:
    """Return why no test was made."""
    return f"{reason.rstrip('.')}." + (f" (Reason code: {code}.)" if code else "")


def statistic(rho: str, interval: str, confidence: str) -> str:
    """Return an estimate with its uncertainty."""
    return f"{texts.RHO} = {rho} ({confidence} interval {interval})"


def lots_of_sites(lots: int, units: int, sites: int) -> str:
    """Return "11 lots (9 donors) from 4 sites"."""
    donors = "" if units == lots else f" ({count_of(units, 'donor')})"
    return f"{count_of(lots, 'lot')}{donors} from {count_of(sites, 'site')}"


def lots_and_units(lots: int, units: int) -> str:
    """Return "24", or "24 (20 donors)" where they differ.

    >>> lots_and_units(24, 20)
    '24 (20 donors)'
    """
    return f"{lots:,}" if lots == units else f"{lots:,} ({count_of(units, 'donor')})"


def sure_adjusted(p_adjusted: str, alpha: str, family: int) -> str:
    """Return what the error rate of the verdict is."""
    return (
        f"Adjusted {p_adjusted}, at most {alpha}: were no cluster related to potency, so strong an association "
        f"anywhere among {tests(family)} would be that rare."
    )


def sure_interval(low: str, high: str, confidence: str, *, sign_known: bool, significant: bool) -> str:
    """Return how far the estimate may be off; where interval and test disagree, which of them decides."""
    if sign_known:
        known = "the sign is better known than the strength"
    elif significant:
        known = "an approximation that is wide at so few lots; whether there is an association is decided by the test"
    else:
        known = "even its sign is open"
    return f"The true {texts.RHO} is between {low} and {high} with {confidence} confidence: {known}."


def sure_left_out(what: str, low: str, high: str, *, holds: bool) -> str:
    """Return whether one lot, or one site, carries the answer."""
    sign = "the sign holds" if holds else "the sign turns: the answer hangs on it"
    return f"With any one {what} left out, {texts.RHO} stays between {low} and {high}; {sign}."


def sure_validated(outcomes: Sequence[str]) -> str:
    """Return how the validation of the leading cluster went, tissue by tissue."""
    return f"In validation lots: {'; '.join(outcomes)}."


def validated(tissue: str, outcome: str, lots: int) -> str:
    """Return what became of one tissue.

    >>> validated("BM", "✓ holds", 4)
    'BM ✓ holds (4 lots)'
    """
    return f"{tissue} {outcome} ({count_of(lots, 'lot')})"


def sure_detectable(rho: str | None, lots: str, family: int) -> str:
    """Return what a study of this size could have found."""
    if rho is None:
        return f"With {lots} and {tests(family)}, no association could be found with 80% power."
    return (
        f"With {lots} and {tests(family)}, an association needs |{texts.RHO}| of about {rho} to be found with 80% "
        "power (formula; slightly conservative). Weaker ones are missed more often than that."
    )


def lots_shown(shown: int, total: int) -> str:
    """Return how many of the lots this edition holds."""
    return f"{shown:,} of {total:,}"


def test_fact(alternative: Alternative, strata: Strata, alpha: str, multiplicity: str) -> str:
    """Return the test in short."""
    direction = texts.ALTERNATIVES[alternative]
    return f"rank correlation, strata {texts.STRATA[strata]}, {direction}, alpha {alpha}, {multiplicity}"


def potency_fact(assay: str, unit: str, scale: str) -> str:
    """Return what was measured."""
    return f"{assay} [{unit}], as {scale}"


def excluded_none() -> str:
    """Return that every lot was used."""
    return "Every lot that was received was used."


def excluded_some(total: int, reasons: Sequence[tuple[str, int]], unseen: int) -> str:
    """Return how many lots were not used, by reason."""
    counts = "; ".join(f"{code}: {n}" for code, n in reasons)
    rest = f" {count_of(unseen, 'of them is', 'of them are')} not listed in this edition." if unseen else ""
    return f"{count_of(total, 'lot was', 'lots were')} received and not used ({counts}).{rest}"


def quality_too_many(shown: int) -> str:
    """Return why mapping quality is not listed."""
    return f"The mapping quality of {count_of(shown, 'lot')} is too long to list here."


def clr_finding(name: str, rho: str, primary: str) -> str:
    """Return what centred log-ratios say of the lead."""
    return f"As centred log-ratio instead of share, {cluster(name)} has {texts.RHO} = {rho} (share: {primary})."


def lead_removal_finding(names: Sequence[str], lead: str) -> str:
    """Return which further hits depend on the lead."""
    anew = ", ".join(names)
    return f"With {cluster(lead)} taken out and the rest re-closed to 100%, adjusted p is judged anew: {anew}."


def heterogeneity_finding(name: str, i2: str, p: str) -> str:
    """Return whether sites agree."""
    return f"Heterogeneity of {cluster(name)} between sites: I² = {i2} ({p})."


def attenuation_finding(name: str, share: str, potency: str, rho: str, primary: str) -> str:
    """Return what measurement error costs."""
    return (
        f"Measurement error weakens what is seen: reliability is {share} for the share of {cluster(name)} and "
        f"{potency} for potency; without it {texts.RHO} would be about {rho}. The headline stays {primary}."
    )


def suppression_finding(name: str, low: str, high: str) -> str:
    """Return what suppressed counts may hide."""
    return f"Whatever stands behind the suppressed counts, {texts.RHO} of {cluster(name)} is between {low} and {high}."


def validation_finding(held: int, tested: int, not_tested: int) -> str:
    """Return how the validation went."""
    said = (
        f'Of {count_of(tested, "test")} on validation lots, {held} held. "Not shown" goes the same way as in discovery '
        'on too little evidence; "does not hold" goes the other way.'
        if tested
        else "Nothing could be tested on validation lots."
    )
    return said + (
        f" {count_of(not_tested, 'further row was', 'further rows were')} not eligible or not testable."
        if not_tested
        else ""
    )


def quality_lots(shown: int, missing: int) -> str:
    """Return what the quality table holds."""
    said = f"Mapping quality of {count_of(shown, 'lot')}."
    return said + (
        f" {count_of(missing, 'value is', 'values are')} missing: not reported by the site." if missing else ""
    )


def quality_suppressed(n: int, total: int) -> str:
    """Return how many counts are suppressed."""
    if not n:
        return "No count was suppressed."
    return (
        f"{n:,} of {total:,} counts were suppressed by their sites (small counts, and those that would give them "
        "away). They stand for an interval, never for zero."
    )


def methods(
    *, strata: Strata, alternative: Alternative, draws: str, multiplicity: str, confidence: str, seed: int
) -> tuple[str, ...]:
    """Return how the numbers were made."""
    permuted = f"p: {texts.ALTERNATIVES[alternative]}, permuting potency within strata; exact where it can be"
    return (
        "Share: cells of the lot in the cluster over all its cells after QC, unassigned ones included.",
        (
            "Potency: mean natural logarithm of the replicates, less that of the reference standard's replicates of "
            "the same run where the study declares one."
        ),
        (
            f"Statistic: mid-ranks over all units (donors; lots where a donor has one), centred within "
            f"stratum ({texts.STRATA[strata]}), correlated. Pooled {texts.RHO} ignores strata and is descriptive."
        ),
        f"{permuted}, otherwise {draws} draws with seed {seed}: (b + 1)/(B + 1). The t approximation is not used.",
        (
            f"Multiplicity: single-step {multiplicity} over all clusters tested (family-wise error rate); q by "
            "Benjamini and Hochberg, for screening only."
        ),
        f"Interval: Bonett and Wright, {confidence}, a t quantile for |{texts.RHO}| > 0.9 and fewer than 20 units.",
        (
            f"A suppressed count enters {texts.RHO} at the middle of the interval that its site declared; the "
            "bounds that this leaves are given beside."
        ),
    )


def withheld_remarks(n: int) -> str:
    """Return that remarks name what this edition may not."""
    return f"{count_of(n, 'remark is', 'remarks are')} withheld, which may name lots that this edition does not hold."


def parity_fact(counts: int, rho: str, *, same: bool) -> str:
    """Return how federated and pooled differ."""
    ranking = "the same ranking" if same else "ANOTHER ranking"
    differences = f"largest difference of a count {counts}, of {texts.RHO} {rho}; {ranking}"
    return f"{differences} (a run on one machine, where the pooled cells are at hand)"
