from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.plan import Profile
from protocol.policy import EffectiveRules, OptionalField, Owner
from protocol.report import Count, LotQuality, LotReport
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.summaries import pad
from site_agent.release.verdicts import Outcome, RuleId, Verdict

pytestmark = pytest.mark.disclosure

MakeRules = Callable[..., EffectiveRules]
MakeReport = Callable[..., LotReport]
Change = Callable[..., Any]


def _verdict(
    rule: RuleId,
    report: LotReport,
    rules: EffectiveRules,
    *,
    lots_offered: int = 2,
    earlier: tuple[EarlierRelease, ...] = (),
) -> Verdict:
    verdicts = judge(report, rules, lots_offered=lots_offered, earlier=earlier)
    (found,) = [verdict for verdict in verdicts if verdict.rule is rule]
    return found


def _before(report: LotReport, *, same_cells: bool = True) -> tuple[EarlierRelease, ...]:
    return (EarlierRelease(report=report, same_cells=same_cells),)


@given(
    st.lists(st.integers(0, 12) | st.integers(0, 5_000), min_size=5, max_size=5),
    st.integers(0, 30),
    st.sampled_from(Profile),
    st.integers(0, 12),
)
@settings(max_examples=60)
def test_what_the_summary_makes_passes_every_rule_but_the_minima(
    make_rules: MakeRules, make_report: MakeReport, counts: list[int], unassigned: int, profile: Profile, threshold: int
) -> None:
    rules = make_rules(profile, threshold=threshold)
    report = make_report(rules, 10_000, *counts[1:], unassigned=unassigned)
    assert {verdict.outcome for verdict in judge(report, rules, lots_offered=2)} == {Outcome.PASS}


def test_every_rule_speaks_once_and_the_worst_stands_first(rules: EffectiveRules, make_report: MakeReport) -> None:
    verdicts = judge(make_report(rules, 3, 3, 3, 3, 3), rules, lots_offered=1)
    assert sorted(verdict.rule for verdict in verdicts) == sorted(set(RuleId) - {RuleId.NOISE_BUDGET})
    assert [verdict.outcome for verdict in verdicts[:2]] == [Outcome.FAIL, Outcome.FAIL]
    assert {verdict.outcome for verdict in verdicts[2:]} == {Outcome.PASS}


def test_a_lot_of_too_few_cells_fails_under_the_owners_name(make_rules: MakeRules, make_report: MakeReport) -> None:
    rules = make_rules()
    assert _verdict(RuleId.MINIMUM_CELLS, make_report(rules, 496, 0, 0, 0, 0), rules).outcome is Outcome.FAIL
    verdict = _verdict(RuleId.MINIMUM_CELLS, make_report(rules, 500, 0, 0, 0, 0), rules)
    assert verdict.outcome is Outcome.PASS
    assert verdict.threshold is not None
    assert (verdict.threshold.value, verdict.threshold.owner) == (500, Owner.SITE)
    opened = make_rules(Profile.OPEN)
    assert _verdict(RuleId.MINIMUM_CELLS, make_report(opened, 50, 0, 0, 0, 0), opened).outcome is Outcome.PASS
    assert _verdict(RuleId.MINIMUM_CELLS, make_report(opened, 49, 0, 0, 0, 0), opened).outcome is Outcome.FAIL


def test_the_minimum_is_not_judged_by_a_hidden_cell(rules: EffectiveRules, make_report: MakeReport) -> None:
    # Truly 500 cells, of which 2 hidden in [1, 4]: to pass would tell that they are at least 2.
    report = make_report(rules, 498, 2, 0, 0, 0)
    assert report.cells_after_qc == Count(low=499, high=502)
    assert _verdict(RuleId.MINIMUM_CELLS, report, rules).outcome is Outcome.FAIL


def test_a_site_with_one_lot_fails_where_two_are_asked(rules: EffectiveRules, make_report: MakeReport) -> None:
    report = make_report(rules, 600, 0, 0, 0, 0)
    assert _verdict(RuleId.MINIMUM_LOTS, report, rules, lots_offered=1).outcome is Outcome.FAIL
    assert _verdict(RuleId.MINIMUM_LOTS, report, rules, lots_offered=2).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "part",
    [
        Count.exactly(3),  # not hidden at all
        Count(low=2, high=4),  # hidden in less than the whole range
        Count(low=1, high=3),
        Count(low=0, high=4),  # another grid than the rules'
        Count(low=3, high=7),  # an interval of its own making
        Count(low=4, high=600),
    ],
)
def test_a_small_count_that_is_not_hidden_in_the_whole_range_fails(
    rules: EffectiveRules, make_report: MakeReport, changed: Change, part: Count
) -> None:
    report = make_report(rules, 600, 3, 0, 0, 0)
    tampered = changed(report, counts=(report.counts[0], part, *report.counts[2:]))
    verdict = _verdict(RuleId.SMALL_COUNTS, tampered, rules)
    assert (verdict.outcome, verdict.fields) == (Outcome.FAIL, ("counts.1",))


def test_unassigned_is_a_count_like_any_other(rules: EffectiveRules, make_report: MakeReport, changed: Change) -> None:
    # A derived column that is not masked is how others leaked.
    report = changed(make_report(rules, 600, 0, 0, 0, 0, unassigned=3), unassigned=Count.exactly(3))
    verdict = _verdict(RuleId.SMALL_COUNTS, report, rules)
    assert (verdict.outcome, verdict.fields) == (Outcome.FAIL, ("unassigned",))


def test_strict_shows_no_zero_and_no_interval_off_its_grid(
    make_rules: MakeRules, make_report: MakeReport, changed: Change
) -> None:
    rules = make_rules(Profile.STRICT)
    report = make_report(rules, 600, 0, 12, 0, 0)
    for part in (Count.exactly(0), Count.exactly(12), Count(low=12, high=16), Count(low=10, high=13)):
        tampered = changed(report, counts=(*report.counts[:2], part, *report.counts[3:]))
        assert _verdict(RuleId.SMALL_COUNTS, tampered, rules).fields == ("counts.2",)


@pytest.mark.parametrize("total", [Count.exactly(2000), Count(low=1998, high=2000), Count(low=1999, high=2001)])
def test_a_total_that_gives_a_hidden_count_back_fails(
    rules: EffectiveRules, make_report: MakeReport, changed: Change, total: Count
) -> None:
    # [1200, 500, 290, 7, 3] of 2000 with only the 3 hidden: threshold 5 was kept, and 2000 - 1997 = 3.
    report = make_report(rules, 1200, 500, 290, 7, 3)
    assert _verdict(RuleId.TOTALS, report, rules).outcome is Outcome.PASS
    verdict = _verdict(RuleId.TOTALS, changed(report, cells_after_qc=total), rules)
    assert (verdict.outcome, verdict.fields) == (Outcome.FAIL, ("counts.4",))


def test_bins_are_judged_and_not_only_the_total(
    rules: EffectiveRules, make_report: MakeReport, changed: Change
) -> None:
    # A large total over small bins: others checked the total alone.
    report = make_report(rules, 5000, 4, 4, 4, 4)
    bare = changed(report, counts=tuple(Count.exactly(cells) for cells in (5000, 4, 4, 4, 4)))
    verdict = _verdict(RuleId.SMALL_COUNTS, bare, rules)
    assert verdict.fields == ("counts.1", "counts.2", "counts.3", "counts.4")


def test_a_threshold_is_held_before_rounding(make_rules: MakeRules, make_report: MakeReport) -> None:
    # 8 and 9 cells in steps of 5 would round to 10 and pass a threshold of 10, were they rounded first.
    rules = make_rules(Profile.STRICT)
    report = make_report(rules, 600, 8, 9, 10, 14)
    assert [(part.low, part.high) for part in report.counts[1:]] == [(0, 9), (0, 9), (10, 14), (10, 14)]


def test_counts_that_cannot_sum_to_their_total_fail(
    rules: EffectiveRules, make_report: MakeReport, changed: Change
) -> None:
    report = changed(make_report(rules, 600, 0, 0, 0, 0), cells_after_qc=Count.exactly(700))
    assert _verdict(RuleId.TOTALS, report, rules).outcome is Outcome.FAIL
    assert _verdict(RuleId.SCOPE, report, rules).outcome is Outcome.FAIL


def test_the_same_release_again_gives_nothing_back(rules: EffectiveRules, make_report: MakeReport) -> None:
    report = make_report(rules, 1200, 500, 290, 7, 3)
    assert _verdict(RuleId.EARLIER_RELEASES, report, rules, earlier=_before(report)).outcome is Outcome.PASS


def test_a_lower_threshold_later_does_not_show_what_was_hidden(make_rules: MakeRules, make_report: MakeReport) -> None:
    counts = (1200, 500, 290, 7, 3)
    later = make_rules(threshold=3)
    before = make_report(make_rules(), *counts)
    after = make_report(later, *counts)
    verdict = _verdict(RuleId.EARLIER_RELEASES, after, later, earlier=_before(before))
    assert (verdict.outcome, verdict.fields) == (Outcome.FAIL, ("counts.4",))


def test_another_atlas_does_not_give_the_total_back(make_rules: MakeRules, make_report: MakeReport) -> None:
    # Under the first atlas the 3 is hidden by the total; under the second nothing is small, so the total is exact, and
    # from 2000 cells the other 1997 leave the 3.
    first, second = make_rules(), make_rules(atlas="b")
    before, after = make_report(first, 1200, 500, 290, 7, 3), make_report(second, 1000, 900, 60, 30, 10)
    verdict = _verdict(RuleId.EARLIER_RELEASES, after, second, earlier=_before(before))
    assert verdict.outcome is Outcome.FAIL
    # Nor in the other order: the hidden count is now the new one's.
    verdict = _verdict(RuleId.EARLIER_RELEASES, before, first, earlier=_before(after))
    assert (verdict.outcome, verdict.fields) == (Outcome.FAIL, ("counts.4",))


def test_hiding_what_was_shown_before_is_said_to_protect_nothing(
    make_rules: MakeRules, make_report: MakeReport
) -> None:
    counts = (1200, 500, 290, 7, 3)
    opened, standard = make_rules(Profile.OPEN), make_rules()
    report = make_report(standard, *counts)
    verdict = _verdict(RuleId.EARLIER_RELEASES, report, standard, earlier=_before(make_report(opened, *counts)))
    assert (verdict.outcome, verdict.fields) == (Outcome.REVIEW, ("counts.4",))


def test_two_ranges_of_one_count_may_not_meet_in_a_single_value(make_rules: MakeRules, make_report: MakeReport) -> None:
    # Hidden as [0, 1] under a threshold of 2, then as [1, 4] under 5: together they say 1.
    counts = (1200, 500, 290, 7, 1)
    before, later = make_report(make_rules(threshold=2), *counts, unassigned=20), make_rules()
    after = make_report(later, *counts, unassigned=20)
    verdict = _verdict(RuleId.EARLIER_RELEASES, after, later, earlier=_before(before))
    assert (verdict.outcome, verdict.fields) == (Outcome.FAIL, ("counts.4",))


def test_the_difference_of_two_releases_is_a_count_of_its_own(rules: EffectiveRules, make_report: MakeReport) -> None:
    # Three cells were taken out of cluster 1 between two releases: the difference shows the three.
    before, after = make_report(rules, 1200, 503, 290, 7, 0), make_report(rules, 1200, 500, 290, 7, 0)
    verdict = _verdict(RuleId.EARLIER_RELEASES, after, rules, earlier=_before(before, same_cells=False))
    assert (verdict.outcome, verdict.fields) == (Outcome.FAIL, ("cells_after_qc", "counts.1"))
    far = make_report(rules, 1200, 400, 290, 7, 0)
    verdict = _verdict(RuleId.EARLIER_RELEASES, far, rules, earlier=_before(before, same_cells=False))
    assert verdict.outcome is Outcome.REVIEW


def test_a_release_that_contradicts_an_earlier_one_of_the_same_cells_fails(
    rules: EffectiveRules, make_report: MakeReport
) -> None:
    before, after = make_report(rules, 1200, 500, 290, 7, 0), make_report(rules, 1200, 500, 200, 97, 0)
    assert _verdict(RuleId.EARLIER_RELEASES, after, rules, earlier=_before(before)).outcome is Outcome.FAIL


def test_values_finer_than_declared_fail(rules: EffectiveRules, make_report: MakeReport, changed: Change) -> None:
    report = make_report(rules, 600, 0, 0, 0, 0)
    fine = changed(
        report,
        potency=(changed(report.potency[0], reference_replicates=(1000.04,)),),
        quality=LotQuality(
            median_counts=5120.25, median_genes=1.0, median_mitochondrial_share=None, gene_coverage=0.98765
        ),
    )
    verdict = _verdict(RuleId.PRECISION, fine, rules)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.fields == ("potency.0", "quality.median_counts", "quality.gene_coverage")


def test_a_field_that_the_site_withholds_fails(make_rules: MakeRules, make_report: MakeReport, changed: Change) -> None:
    rules = make_rules(withheld_fields=tuple(OptionalField))
    report = make_report(rules, 600, 0, 0, 0, 0)
    assert _verdict(RuleId.WITHHELD_FIELDS, report, rules).outcome is Outcome.PASS
    verdict = _verdict(RuleId.WITHHELD_FIELDS, changed(report, passage=5, period="2026-Q3"), rules)
    assert (verdict.outcome, verdict.fields) == (Outcome.FAIL, ("passage", "period"))


def test_a_run_under_its_own_name_fails(rules: EffectiveRules, make_report: MakeReport, changed: Change) -> None:
    report = make_report(rules, 600, 0, 0, 0, 0)
    named = changed(report, potency=(changed(report.potency[0], run="2026-03-14 a"),))
    assert _verdict(RuleId.WITHHELD_FIELDS, named, rules).fields == ("potency.0.run",)


def test_a_size_that_follows_the_cells_fails(rules: EffectiveRules, make_report: MakeReport, changed: Change) -> None:
    report = make_report(rules, 600, 0, 0, 0, 0)
    for padding in ("", report.padding + " ", report.padding[:-1]):
        assert _verdict(RuleId.SIZE, changed(report, padding=padding), rules).outcome is Outcome.FAIL
    assert _verdict(RuleId.SIZE, pad(changed(report, padding="")), rules).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "change",
    [
        {"study": "other"},
        {"site": "leiden"},
        {"plan_sha256": "f" * 64},
        {"atlas_sha256": "f" * 64},
        {"cohort": "other"},
        {"tissue": "adipose"},
    ],
)
def test_a_report_for_something_else_fails(
    rules: EffectiveRules, make_report: MakeReport, changed: Change, change: dict[str, str]
) -> None:
    report = changed(make_report(rules, 600, 0, 0, 0, 0), **change)
    assert _verdict(RuleId.SCOPE, report, rules).outcome is Outcome.FAIL


def test_a_report_made_under_other_rules_fails(make_rules: MakeRules, make_report: MakeReport) -> None:
    # The policy became stricter while the report waited.
    report = make_report(make_rules(), 600, 0, 0, 0, 0)
    assert _verdict(RuleId.SCOPE, report, make_rules(threshold=7)).outcome is Outcome.FAIL


def test_no_reason_names_a_value_of_the_lot(rules: EffectiveRules, make_report: MakeReport, changed: Change) -> None:
    report = changed(make_report(rules, 613, 3, 0, 0, 0), counts=(*map(Count.exactly, (613, 3, 0, 0, 0)),))
    shown = " ".join(verdict.reason for verdict in judge(report, rules, lots_offered=1))
    assert "613" not in shown
    assert report.lot not in shown
