"""What a report gives back of the counts that it, or a release before it, hides (SPEC 5.6, 5.7)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocol.policy import EffectiveRules
from protocol.report import Count, LotReport
from shared.errors import InternalError
from site_agent.release.suppression import CountTable, hidden_below, implied_bounds, named_parts, table_of
from site_agent.release.verdicts import Outcome, RuleId, Verdict, failed, passed


@dataclass(frozen=True, kw_only=True)
class EarlierRelease:
    """A report of the same lot that has left before, in this study or another.

    Attributes
    ----------
    report
        As it left.
    same_cells
        Whether it was made of exactly the same cells after QC, as the site knows from its own records.
    same_draw
        Whether its counts bear the same draw of noise as those that would leave; so also where both bear none.
    """

    report: LotReport
    same_cells: bool
    same_draw: bool = True

    @property
    def has_noise(self) -> bool:
        """Whether its counts bear noise."""
        return self.report.disclosure.noise is not None


def judge_totals(report: LotReport) -> Verdict:
    """Say whether the total gives a hidden count back (SPEC 5.6)."""
    table = table_of(report)
    bounds = implied_bounds(table, (), report.atlas_sha256)
    if bounds is None:
        return failed(RuleId.TOTALS, ("cells_after_qc",), "No table of cells agrees with these counts and their total.")
    narrowed = _narrowed(table, bounds)
    if narrowed:
        return failed(RuleId.TOTALS, narrowed, "The total narrows what is hidden in these counts.")
    return passed(RuleId.TOTALS, "The total gives no hidden count back.")


def judge_earlier_releases(report: LotReport, rules: EffectiveRules, earlier: Sequence[EarlierRelease]) -> Verdict:
    """Say whether the report, with all that left of the same lot before, gives back what one of them hides (SPEC 5.7).

    Two ways are closed. Where the cells were the same, the tables are solved together. Where they were not, the
    difference of two exact counts is a count of its own and must not be small: two releases around a change of three
    cells show those three.

    Counts that bear different noise are not compared: no value is excluded by them, and what they tell together is
    bounded by the lot's budget (SPEC 5.14). Counts of one draw are one table.
    """
    if not earlier:
        return passed(RuleId.EARLIER_RELEASES, "Nothing of this lot has left before.")
    alike = [release for release in earlier if release.same_draw]
    same = [release.report for release in alike if release.same_cells or release.has_noise]
    verdict = _judge_same_cells(report, same)
    if verdict.outcome is Outcome.FAIL:
        return verdict
    others = [release.report for release in alike if not (release.same_cells or release.has_noise)]
    differing = {name for other in others for name in _small_differences(report, other, rules)}
    if differing:
        reason = "These counts differ from an earlier release by fewer cells than may be shown."
        return failed(RuleId.EARLIER_RELEASES, tuple(sorted(differing)), reason, rules.small_count)
    if others:
        reason = "The lot was reported before from other cells: whoever holds both sees what changed."
        return Verdict(rule=RuleId.EARLIER_RELEASES, outcome=Outcome.REVIEW, reason=reason)
    if verdict.outcome is Outcome.PASS:
        return _judge_without_noise(report, earlier) or verdict
    return verdict


def _judge_without_noise(report: LotReport, earlier: Sequence[EarlierRelease]) -> Verdict | None:
    """Return a warning where the lot leaves once with noise and once without; None where it does not."""
    if report.disclosure.noise is None:
        if not any(release.has_noise for release in earlier):
            return None
        reason = "The lot left under noise before: these counts, without it, tell what it hid."
    else:
        if not any(release.same_cells and not release.has_noise for release in earlier):
            return None
        reason = "The same cells left without noise before: the noise hides nothing of them now."
    return Verdict(rule=RuleId.EARLIER_RELEASES, outcome=Outcome.REVIEW, reason=reason)


def _judge_same_cells(report: LotReport, same: Sequence[LotReport]) -> Verdict:
    rule = RuleId.EARLIER_RELEASES
    new = (report.atlas_sha256, table_of(report))
    old = [(other.atlas_sha256, table_of(other)) for other in same]
    if any(atlas == new[0] and len(table.counts) != len(new[1].counts) for atlas, table in old):
        return failed(rule, ("counts",), "Two releases under one atlas count different clusters.")
    bounds = implied_bounds(new[1], old, new[0])
    if bounds is None:
        return failed(rule, ("cells_after_qc",), "The report contradicts an earlier release of the same cells.")
    narrowed = set(_narrowed(new[1], bounds))
    known: set[str] = set()
    for position, (atlas, table) in enumerate(old):
        # A new release may give back what an old one hides, so each old one is looked at before and after.
        rest = old[:position] + old[position + 1 :]
        before, after = implied_bounds(table, rest, atlas), implied_bounds(table, [*rest, new], atlas)
        if before is None or after is None:
            raise InternalError("expected releases that agree all together to agree in part")
        lost = _narrowed(before, after)
        if atlas == new[0]:
            known |= narrowed - set(_narrowed(before, bounds))
            narrowed |= set(lost)
        elif lost:
            reason = "With this report, what an earlier release hides could be worked out."
            return failed(rule, ("cells_after_qc",), reason)
    if narrowed - known:
        reason = "An earlier release narrows what is hidden in these counts, or they narrow what it hides."
        return failed(rule, tuple(sorted(narrowed - known)), reason)
    if known:
        reason = "What is hidden in these counts left less hidden before: hiding it now protects nothing."
        return Verdict(rule=rule, outcome=Outcome.REVIEW, fields=tuple(sorted(known)), reason=reason)
    return passed(rule, "With all that left before, no hidden count is given back.")


def _narrowed(declared: CountTable, implied: CountTable) -> tuple[str, ...]:
    """Return the parts that solving narrows. The total is no secret of its own: only parts are hidden."""
    pairs = zip(named_parts(declared), named_parts(implied), strict=True)
    return tuple(name for (name, said), (_, solved) in pairs if solved != said)


def _small_differences(report: LotReport, other: LotReport, rules: EffectiveRules) -> Iterator[str]:
    mine: list[tuple[str, Count]] = [("cells_after_qc", report.cells_after_qc)]
    theirs = [other.cells_after_qc]
    if report.atlas_sha256 == other.atlas_sha256 and len(report.counts) == len(other.counts):
        mine += named_parts(table_of(report))
        theirs += [part for _, part in named_parts(table_of(other))]
    for (name, one), two in zip(mine, theirs, strict=True):
        if one.is_exact and two.is_exact and 0 < abs(one.low - two.low) < hidden_below(rules):
            yield name
