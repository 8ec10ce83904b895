"""What a steward is shown about a waiting report: values only, the same for the terminal and the page.

Everything is worked out from the exact bytes that would leave, under the policy and the plan as they are now; nothing
is taken over from when the report was made. Names of the site's own stand beside pseudonyms and are in no bytes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from protocol.identifiers import Pseudonym, Sha256, StudyId
from protocol.policy import EffectiveRules, effective, policy_or_refuse
from protocol.report import LotReport
from shared.errors import CrosslotError, InputError
from site_agent.home import Home
from site_agent.release.decisions import Held, State
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.verdicts import Outcome, Verdict
from site_agent.release.withheld_clusters import withhold_clusters
from site_agent.review.report_table import Line, report_lines

_PREFIX = 6


@dataclass(frozen=True, kw_only=True)
class ReviewItem:
    """One report in the airlock, as a steward sees it.

    Attributes
    ----------
    held
        The report and what was decided.
    lot_name
        The lot's own name; "" where ``lots.csv`` does not tell it.
    rules
        The rules in force; None where they cannot be had, and ``problem`` says why.
    clusters
        Names in the atlas's order; empty without rules.
    verdicts
        What each rule says, worst first; empty without rules.
    lines
        The report as a table.
    previous
        The last release of the lot, if there was one.
    withheld
        Positions of the clusters that the steward withholds.
    """

    held: Held
    lot_name: str
    recipient: Sha256
    rules: EffectiveRules | None
    problem: str
    clusters: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    lines: tuple[Line, ...]
    previous: EarlierRelease | None
    withheld: frozenset[int]

    @property
    def waits(self) -> bool:
        """Whether a person has yet to decide."""
        return self.held.state is State.PENDING

    @property
    def needs_reason(self) -> bool:
        """Whether a rule warns, so that an approval must say why."""
        return any(verdict.outcome is Outcome.REVIEW for verdict in self.verdicts)

    @property
    def why_not_approvable(self) -> str:
        """Why it cannot be approved; "" where it can."""
        if not self.waits:
            return f"It is {self.held.state.value}: a decision is final."
        if self.rules is None:
            return self.problem
        if any(verdict.outcome is Outcome.FAIL for verdict in self.verdicts):
            return "A rule fails. No approval opens the gate against a failed rule; withhold clusters, or refuse."
        return ""


def review_items(home: Home) -> tuple[ReviewItem, ...]:
    """Return every report in the airlock, waiting ones first, then the newest first.

    Raises
    ------
    InputError
        If the airlock is damaged.
    """
    held = list(home.airlock().held().values())
    grounds = {study: _ground(home, study) for study in {each.study for each in held}}
    items = [_item(home, each, grounds[each.study]) for each in reversed(held)]
    return tuple(sorted(items, key=lambda item: not item.waits))


@dataclass(frozen=True, kw_only=True)
class HeldBackLine:
    """One lot that was not offered when the site was last asked about a study; ``by``: what held it back."""

    study: StudyId
    at: str
    lot_name: str
    by: str
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        """All reasons, in one line."""
        return " ".join(self.reasons)


def held_back_lines(home: Home) -> tuple[HeldBackLine, ...]:
    """Return the lots that never reached the airlock, by a rule or by the study's quality limits, with all reasons."""
    lines = []
    for record in home.records.held_back():
        names = home.own_names(record.study)
        lines += [
            HeldBackLine(
                study=record.study,
                at=record.at,
                lot_name=names.get(lot.lot, lot.lot),
                by=lot.by.value,
                reasons=lot.reasons,
            )
            for lot in record.lots
        ]
    return tuple(lines)


def find_item(items: Sequence[ReviewItem], name: str) -> ReviewItem:
    """Return the report that a steward names: by the first digits of its hash, or by the lot's own name.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    by_hash = [item for item in items if len(name) >= _PREFIX and item.held.payload_sha256.startswith(name)]
    by_name = [item for item in items if name in {item.lot_name, item.held.lot}]
    matches = by_hash or [item for item in by_name if item.waits] or by_name
    if len(matches) != 1:
        waiting = ", ".join(f"{item.held.payload_sha256[:12]} ({item.lot_name})" for item in items if item.waits)
        raise InputError(
            f"{name}: expected one report in the airlock, found {len(matches)}", hint=f"waiting: {waiting or 'nothing'}"
        )
    return matches[0]


def rules_for(home: Home, held: Held) -> EffectiveRules:
    """Return the rules in force for a report, by the policy and the plan as they are now.

    Raises
    ------
    CrosslotError
        If policy or plan are absent or damaged, or the policy does not allow the study.
    """
    return _rules(home, held.study)


def verdicts_of(home: Home, held: Held, report: LotReport, rules: EffectiveRules) -> tuple[Verdict, ...]:
    """Return what every rule says of a report of the lot, worst first."""
    airlock, noise = home.airlock(), home.noise_book()
    alive = {State.PENDING, State.APPROVED, State.SENT}
    lots = {each.lot for each in airlock.held().values() if each.study == held.study and each.state in alive}
    earlier, standing = airlock.earlier(report, held.provenance), noise.standing(held.provenance)
    return judge(report, rules, lots_offered=len(lots | {held.lot}), earlier=earlier, noise=standing)


@dataclass(frozen=True, kw_only=True)
class AfterWithholding:
    """What a lot's report would become if more clusters were withheld."""

    report: LotReport
    lines: tuple[Line, ...]
    verdicts: tuple[Verdict, ...]


def after_withholding(home: Home, item: ReviewItem, clusters: Collection[str]) -> AfterWithholding:
    """Return what would wait instead of a report if clusters were withheld; nothing is done.

    Parameters
    ----------
    home, item
        Where, and what.
    clusters
        Their names; those that the atlas does not have are passed over.

    Raises
    ------
    CrosslotError
        If the rules in force cannot be had.
    """
    rules = rules_for(home, item.held)
    names = rules.plan.atlas.clusters
    chosen = {names.index(name) for name in clusters if name in names} | item.withheld
    old = item.held.report
    report = withhold_clusters(old, chosen, rules)
    own = home.own_names(item.held.study)
    return AfterWithholding(
        report=report,
        lines=report_lines(report, clusters=names, names=own, before=old, rules=rules),
        verdicts=verdicts_of(home, item.held, report, rules),
    )


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What all reports of a study are judged by: the rules, or why there are none, and the site's own names."""

    rules: EffectiveRules | None
    problem: str
    names: Mapping[Pseudonym, str]


def _ground(home: Home, study: StudyId) -> _Ground:
    names = home.own_names(study)
    try:
        return _Ground(rules=_rules(home, study), problem="", names=names)
    except CrosslotError as error:
        return _Ground(rules=None, problem=str(error), names=names)


def _rules(home: Home, study: StudyId) -> EffectiveRules:
    return effective(policy_or_refuse(home.policy()), home.plan(study).message)


def _item(home: Home, held: Held, ground: _Ground) -> ReviewItem:
    airlock, report, rules, names = home.airlock(), held.report, ground.rules, ground.names
    verdicts = () if rules is None else verdicts_of(home, held, report, rules)
    earlier = airlock.earlier(report, held.provenance)
    previous = earlier[-1] if earlier else None
    clusters = rules.plan.atlas.clusters if rules is not None else ()
    comparable = previous.report if previous and previous.report.atlas_sha256 == report.atlas_sha256 else None
    return ReviewItem(
        held=held,
        lot_name=names.get(held.lot, ""),
        recipient=home.coordinator.fingerprint,
        rules=rules,
        problem=ground.problem,
        clusters=clusters,
        verdicts=verdicts,
        lines=report_lines(report, clusters=clusters, names=names, before=comparable, rules=rules),
        previous=previous,
        withheld=airlock.withheld_clusters(held.study, held.lot),
    )
