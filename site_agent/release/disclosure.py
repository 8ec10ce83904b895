"""The disclosure rules: each looks at a report as it would leave and says pass, review or fail.

The rules read the report itself, not what made it: a fault anywhere before is found here. They are pure functions, and
``judge`` runs them all, worst first. A fail is final; a review leaves only with a person's reason (SPEC 5.8).
"""

import re
from collections.abc import Sequence
from typing import Final

from protocol.admission import check_report_fits
from protocol.codec import encode
from protocol.errors import ProtocolError
from protocol.policy import EffectiveRules, OptionalField
from protocol.report import Count, LotReport
from site_agent.release.attribute_rules import judge_attributes
from site_agent.release.earlier_releases import EarlierRelease, judge_earlier_releases, judge_totals
from site_agent.release.marker_rules import judge_markers
from site_agent.release.module_rules import judge_modules
from site_agent.release.noise_book import NoiseStanding
from site_agent.release.noise_rule import judge_noise, judge_noise_budget
from site_agent.release.summaries import MEDIAN_DECIMALS, SHARE_DECIMALS, padded_size
from site_agent.release.suppression import hidden_below, lowest_hidden, named_parts, table_of
from site_agent.release.verdicts import Outcome, RuleId, Verdict, failed, passed
from site_agent.release.withheld_clusters import is_magnitude

_PSEUDONYM: Final = re.compile(r"[0-9a-f]{16}")
_ORDER: Final = {Outcome.FAIL: 0, Outcome.REVIEW: 1, Outcome.PASS: 2}


def judge(
    report: LotReport,
    rules: EffectiveRules,
    *,
    lots_offered: int,
    earlier: Sequence[EarlierRelease] = (),
    noise: NoiseStanding | None = None,
) -> tuple[Verdict, ...]:
    """Return what every rule says of a report, worst first.

    Parameters
    ----------
    report
        As it would leave.
    rules
        The stricter of the site's policy and the study's wishes.
    lots_offered
        How many lots the site offers to this study, this one included.
    earlier
        Everything that was released of the same lot before.
    noise
        Where the report's noise stands in the site's book; None where the book has none for it.
    """
    verdicts = (
        judge_scope(report, rules),
        judge_minimum_cells(report, rules),
        judge_minimum_lots(lots_offered, rules),
        judge_small_counts(report, rules),
        judge_totals(report),
        judge_earlier_releases(report, rules, earlier),
        judge_noise(report, rules, noise),
        *judge_noise_budget(rules, noise),
        judge_precision(report, rules),
        judge_withheld_fields(report, rules),
        judge_modules(report, rules),
        judge_markers(report, rules, earlier),
        judge_attributes(report, rules),
        judge_size(report),
    )
    return tuple(sorted(verdicts, key=lambda verdict: _ORDER[verdict.outcome]))


def judge_scope(report: LotReport, rules: EffectiveRules) -> Verdict:
    """Say whether the report is of this site, and one that the plan asks for."""
    try:
        check_report_fits(report, rules.plan, rules.plan_sha256)
    except ProtocolError as error:
        return failed(RuleId.SCOPE, (), f"The report does not fit the plan: {error.code.sentence}")
    if report.site != rules.site:
        return failed(RuleId.SCOPE, ("site",), "The report names another site.")
    said = report.disclosure
    in_force = (rules.requested, rules.applied, rules.small_count.value, rules.policy_sha256)
    if (said.requested, said.applied, said.small_count_threshold, said.policy_sha256) != in_force:
        return failed(RuleId.SCOPE, ("disclosure",), "The report was made under other rules than those in force now.")
    return passed(RuleId.SCOPE, "The report answers this study's plan, under the rules in force.")


def judge_minimum_cells(report: LotReport, rules: EffectiveRules) -> Verdict:
    """Say whether the lot has enough cells, by what is shown of its total.

    The lower end of the total is judged: to let a lot pass on a hidden cell would tell of that cell.
    """
    threshold = rules.minimum_cells
    if report.cells_after_qc.low < threshold.value:
        reason = f"Fewer than {threshold.value} cells are certain."
        return failed(RuleId.MINIMUM_CELLS, ("cells_after_qc",), reason, threshold)
    return passed(RuleId.MINIMUM_CELLS, f"At least {threshold.value} cells.", threshold)


def judge_minimum_lots(lots_offered: int, rules: EffectiveRules) -> Verdict:
    """Say whether the site offers enough lots, so that a result about the site is not one about a lot."""
    threshold = rules.minimum_lots
    if lots_offered < threshold.value:
        return failed(RuleId.MINIMUM_LOTS, ("lot",), f"The site offers fewer than {threshold.value} lots.", threshold)
    return passed(RuleId.MINIMUM_LOTS, f"The site offers at least {threshold.value} lots.", threshold)


def judge_small_counts(report: LotReport, rules: EffectiveRules) -> Verdict:
    """Say whether every part that could be small is hidden in the whole range of small counts (SPEC 5.4, 5.5)."""
    threshold = rules.small_count
    offending = tuple(name for name, part in named_parts(table_of(report)) if not _may_leave(part, rules))
    if offending:
        reason = "These counts are shown more finely than the rules allow."
        return failed(RuleId.SMALL_COUNTS, offending, reason, threshold)
    if hidden_below(rules) == 0:
        return passed(RuleId.SMALL_COUNTS, "Nothing is hidden: counts leave exactly.", threshold)
    hidden = sum(not part.is_exact for _, part in named_parts(table_of(report)))
    return passed(RuleId.SMALL_COUNTS, f"{hidden} of {len(report.counts) + 1} counts leave as intervals.", threshold)


def _may_leave(part: Count, rules: EffectiveRules) -> bool:
    threshold, step = hidden_below(rules), rules.count_step
    if is_magnitude(part, rules):  # the steward withholds it (SPEC 5.12)
        return True
    if part.low >= threshold:
        # In steps only the intervals of the fixed grid may leave: one that moves with its part would give it back.
        return part.high - part.low == step - 1 and (part.low - threshold) % step == 0
    floor = lowest_hidden(rules)
    if part.is_exact:
        return part.low < floor
    return (part.low, part.high) == (floor, threshold - 1)


def judge_precision(report: LotReport, rules: EffectiveRules) -> Verdict:
    """Say whether potency and quality leave at their declared precision and no finer."""
    decimals = {endpoint.endpoint: endpoint.decimals for endpoint in rules.plan.endpoints}
    offending = [
        f"potency.{position}"
        for position, series in enumerate(report.potency)
        for value in (*series.replicates, *series.reference_replicates)
        if value != round(value, decimals.get(series.endpoint, 0))
    ]
    quality = report.quality
    for name, value, places in (
        ("median_counts", quality.median_counts, MEDIAN_DECIMALS),
        ("median_genes", quality.median_genes, MEDIAN_DECIMALS),
        ("median_mitochondrial_share", quality.median_mitochondrial_share, SHARE_DECIMALS),
        ("gene_coverage", quality.gene_coverage, SHARE_DECIMALS),
    ):
        if value is not None and value != round(value, places):
            offending.append(f"quality.{name}")
    if offending:
        reason = "These values are finer than the precision that was declared."
        return failed(RuleId.PRECISION, tuple(dict.fromkeys(offending)), reason)
    return passed(RuleId.PRECISION, "Potency and quality leave at their declared precision.")


def judge_withheld_fields(report: LotReport, rules: EffectiveRules) -> Verdict:
    """Say whether the fields that the site withholds are empty, and runs bear pseudonyms (SPEC 4.3)."""
    values = {
        OptionalField.PASSAGE: report.passage,
        OptionalField.PERIOD: report.period,
        OptionalField.MEDIAN_MITOCHONDRIAL_SHARE: report.quality.median_mitochondrial_share,
    }
    offending = tuple(field.value for field, value in values.items() if field in rules.withheld and value is not None)
    if offending:
        return failed(RuleId.WITHHELD_FIELDS, offending, "The site's policy withholds these fields.")
    named = tuple(
        f"potency.{position}.run"
        for position, series in enumerate(report.potency)
        if not _PSEUDONYM.fullmatch(series.run)
    )
    if named:
        return failed(RuleId.WITHHELD_FIELDS, named, "A run leaves under a pseudonym, never under the site's own name.")
    return passed(RuleId.WITHHELD_FIELDS, "No withheld field, and no name of the site's own.")


def judge_size(report: LotReport) -> Verdict:
    """Say whether the report has the one size that does not depend on its cells (SPEC 4.6)."""
    if len(encode(report)) != padded_size(report):
        return failed(RuleId.SIZE, ("padding",), "The report's size could tell of its counts.")
    return passed(RuleId.SIZE, "The size does not depend on the number of cells.")
