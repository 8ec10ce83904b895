"""Judging the lots of a site together: a lot that a rule holds back no longer counts towards the number of lots.

The agent that sends and the check that shows what would be sent both judge by this, so that they cannot differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocol.identifiers import Instant, StudyId
from protocol.policy import EffectiveRules
from protocol.report import LotReport
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.noise_book import NoiseStanding
from site_agent.release.offers import NotOffered
from site_agent.release.site_records import HeldBack, HeldBackBy, HeldBackLot
from site_agent.release.verdicts import Outcome, RuleId, Verdict


@dataclass(frozen=True, kw_only=True)
class JudgedLot:
    """A report and what every rule says of it, worst first."""

    report: LotReport
    verdicts: tuple[Verdict, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the report may not leave; empty where it may."""
        return tuple(verdict.reason for verdict in self.verdicts if verdict.outcome is Outcome.FAIL)

    @property
    def lacks_budget_alone(self) -> bool:
        """Whether nothing but a spent budget of noise holds it back."""
        failing = {verdict.rule for verdict in self.verdicts if verdict.outcome is Outcome.FAIL}
        return failing == {RuleId.NOISE_BUDGET}

    @property
    def needs_review(self) -> bool:
        """Whether a rule asks for a person's review (SPEC 5.8)."""
        return any(verdict.outcome is Outcome.REVIEW for verdict in self.verdicts)


def judge_together(
    reports: Sequence[LotReport],
    rules: EffectiveRules,
    *,
    earlier: Callable[[LotReport], Sequence[EarlierRelease]] = lambda _report: (),
    noise: Callable[[LotReport], NoiseStanding | None] = lambda _report: None,
) -> tuple[JudgedLot, ...]:
    """Return every report with its verdicts, in the order given.

    Those that fail are taken out and the rest is judged again, until none fails for being one of too few.

    Parameters
    ----------
    reports
        All that the site offers to the study.
    rules
        The rules in force.
    earlier
        Gives what was released of a report's lot before.
    noise
        Gives where a report's noise stands.
    """
    judged: dict[int, JudgedLot] = {}
    standing = list(range(len(reports)))
    while True:
        for position in standing:
            report = reports[position]
            verdicts = judge(report, rules, lots_offered=len(standing), earlier=earlier(report), noise=noise(report))
            judged[position] = JudgedLot(report=report, verdicts=verdicts)
        passing = [position for position in standing if not judged[position].failures]
        if len(passing) == len(standing):
            return tuple(judged[position] for position in range(len(reports)))
        standing = passing


def held_back_of(
    judged: Sequence[JudgedLot], not_offered: Sequence[NotOffered], *, study: StudyId, at: Instant
) -> HeldBack:
    """Return which lots are held back, and why: by a rule, or by the study's quality limits. It stays at the site."""
    failing = (HeldBackLot(lot=lot.report.lot, reasons=lot.failures) for lot in judged if lot.failures)
    poor = (HeldBackLot(lot=lot.lot, by=HeldBackBy.QUALITY, reasons=lot.reasons) for lot in not_offered)
    return HeldBack(study=study, at=at, lots=(*failing, *poor))
