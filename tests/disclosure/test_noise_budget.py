"""Noise and its budget: none leaves unpaid, none is paid for twice, and a process killed anywhere spends once."""

import os
import signal
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode, ProtocolError
from protocol.exchange import Ask, Reply
from protocol.identifiers import Sha256, SiteId
from protocol.ledger import LedgerEvent
from protocol.plan import StudyPlan
from protocol.policy import NoisePolicy, write_policy
from protocol.report import Count, CountNoise
from shared.errors import InputError
from site_agent.agent import Agent, SiteIdentity
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import AppendLog, FolderLog, MemoryLog
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.ledger import Ledger
from site_agent.release.noise_book import NoiseBook, NoiseStanding
from site_agent.release.site_records import MemoryRecords
from site_agent.release.summaries import provenance_of
from site_agent.release.verdicts import Outcome, RuleId
from tests.noisy_site import LOTS, PLAN, SECRET, ASite, Counts, NoisyLots, make_book, make_policy, mapped, rules_of
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    NOW,
    ALot,
    key_of,
    make_plan,
    make_query,
    signed,
)

pytestmark = pytest.mark.disclosure


# The budget


@dataclass(frozen=True)
class Step:
    lot: str
    counts: Counts
    epsilon: float
    budget: float
    atlas: str
    commit: bool


STEPS = st.builds(
    Step,
    lot=st.sampled_from(["BM-01", "BM-02"]),
    counts=st.sampled_from([(600, 300, 3, 20), (600, 300, 4, 20), (0, 0, 9, 0)]),
    epsilon=st.sampled_from([0.1, 0.2, 0.7, 1.0]),
    budget=st.sampled_from([1.0, 1.2, 2.0]),
    atlas=st.sampled_from("ab"),
    commit=st.booleans(),
)


class BrokenLog:
    """A log that fails at one append: before it is durable, or after."""

    def __init__(self, inner: AppendLog, *, at: int, after: bool) -> None:
        self._inner, self._left, self._after = inner, at, after

    def read(self, start: int = 0) -> tuple[bytes, ...]:
        return self._inner.read(start)

    def append(self, record: bytes, *, position: int) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise KeyboardInterrupt
        self._inner.append(record, position=position)
        if self._left == 0:
            raise KeyboardInterrupt


@given(steps=st.lists(STEPS, min_size=1, max_size=25), stop=st.integers(1, 40), after=st.booleans())
@settings(max_examples=150)
def test_no_budget_is_exceeded_nothing_is_drawn_or_paid_for_twice_and_a_stop_anywhere_changes_neither(
    steps: list[Step],
    stop: int,
    after: bool,  # noqa: FBT001 - hypothesis hands it over
) -> None:
    log = MemoryLog()
    book = make_book(BrokenLog(log, at=stop, after=after))
    drawn: dict[tuple[object, ...], tuple[int, ...]] = {}
    paid: dict[str, dict[tuple[object, ...], Decimal]] = {"BM-01": {}, "BM-02": {}}
    for step in steps:
        try:
            drawn_now, paid_now = _took(step, book)
        except KeyboardInterrupt:  # the process is killed; the next one finds what was durable, and does the same
            book = make_book(log)
            drawn_now, paid_now = _took(step, book)
        table = (step.lot, step.counts, step.epsilon, step.atlas)
        assert drawn.setdefault(table, drawn_now) == drawn_now
        before = sum((cost for key, cost in paid[step.lot].items() if key != table), Decimal(0))
        affordable = before + Decimal(repr(step.epsilon)) <= Decimal(repr(step.budget)) or table in paid[step.lot]
        assert paid_now == (step.commit and affordable)
        if paid_now:
            paid[step.lot][table] = Decimal(repr(step.epsilon))
    for lot, costs in paid.items():
        exact = provenance_of(mapped((0, 0, 0, 0)), ALot(lot=lot), SECRET)
        assert make_book(log).spent(exact.lot_sha256) == sum(costs.values(), Decimal(0))


def _took(step: Step, book: NoiseBook) -> tuple[tuple[int, ...], bool]:
    plan = PLAN.model_copy(update={"atlas": PLAN.atlas.model_copy(update={"sha256": Sha256(step.atlas * 64)})})
    rules = rules_of(make_policy(step.epsilon, step.budget), plan)
    exact = mapped(step.counts)
    _, made_of = book.noised(exact, provenance_of(exact, ALot(lot=step.lot), SECRET), rules, SECRET)
    assert rules.noise is not None
    paid = False
    if step.commit:
        try:
            book.commit(made_of, rules.noise)
            paid = True
        except ProtocolError as refused:
            if refused.code is not ErrorCode.NOISE_BUDGET_SPENT:
                raise
    standing = book.standing(made_of)
    assert standing is not None
    return standing.noised, paid


def test_tenths_add_up_as_people_add_them() -> None:
    book = make_book()
    for cells in range(10):
        assert _took(Step("BM-01", (600 + cells, 0, 0, 0), 0.1, 1.0, "a", commit=True), book)[1]
    assert not _took(Step("BM-01", (700, 0, 0, 0), 0.1, 1.0, "a", commit=True), book)[1]


def test_a_book_that_was_cut_lets_nothing_leave_under_noise() -> None:
    site = ASite()
    assert len(site.ask().reports) == 2
    site.book = make_book()  # as if an older backup had taken its place
    reply = site.ask()
    assert reply.reports == ()
    assert site.answer_of(reply).code is ErrorCode.INTERNAL


def test_a_book_that_was_cut_does_not_stop_what_leaves_without_noise() -> None:
    site = ASite()
    site.ask()
    site.book, site.policy = make_book(), make_policy(noise=False)
    site.lots = {"BM-03": (600, 300, 50, 20), "BM-04": (500, 300, 60, 30)}
    assert len(site.ask().reports) == 2


def test_a_damaged_record_lets_nothing_leave_under_noise() -> None:
    log = MemoryLog()
    log.append(b"{}", position=0)
    with pytest.raises(InputError, match="damaged"):
        make_book(log).standing(None)


def test_asked_again_a_lot_leaves_with_the_same_noise_and_pays_once() -> None:
    site = ASite()
    first, again = site.ask(), site.ask()
    assert first.reports == again.reports
    assert all(report.disclosure.noise == CountNoise(epsilon=1.0) for report in site.reports_of(first))
    assert site.events(LedgerEvent.NOISE_COMMITTED) == 2  # once for each lot


def test_a_lot_whose_budget_is_spent_is_refused_by_its_code() -> None:
    site = ASite()
    site.ask()
    site.lots = {name: (counts[0] + 50, *counts[1:]) for name, counts in LOTS.items()}
    answer = site.answer_of(site.ask())
    assert answer.code is ErrorCode.NOISE_BUDGET_SPENT
    site.policy = make_policy(1.0, 2.0)  # the site lets more be learnt of each cell
    assert {report.version for report in site.reports_of(site.ask())} == {2}


def test_a_policy_with_noise_and_no_book_lets_nothing_leave() -> None:
    source = NoisyLots(make_book())
    agent = Agent(
        SiteIdentity(site=KYOTO, key=key_of(KYOTO), coordinator=COORDINATOR.verifying_key),
        policy=write_policy(make_policy()),
        reports=source,
        airlock=Airlock(MemoryLog()),
        ledger=Ledger(MemoryLog(), site=KYOTO, key=key_of(KYOTO)),
        records=MemoryRecords(),
        log=lambda _line: None,
    )
    query = signed(make_query(PLAN, KYOTO), PayloadType.QUERY)
    reply = agent.answer(Ask(query=query, plan=signed(PLAN, PayloadType.STUDY_PLAN)), NOW)
    assert isinstance(reply, Reply)
    assert reply.reports == ()


def test_the_true_counts_and_their_total_are_in_no_byte_that_leaves() -> None:
    # The noise moves every count here by hundreds, so that no true one can stand there by chance.
    site = ASite()
    site.book = NoiseBook(MemoryLog(), mechanism=lambda counts, _epsilon: tuple(cells + 3_333 for cells in counts))
    for report in site.reports_of(site.ask()):
        shown = {count.low for count in (*report.counts, report.unassigned, report.cells_after_qc)}
        assert not shown & {600, 300, 700, 200, 20, 40, 923, 940}
        parts = (*report.counts, report.unassigned)
        assert report.cells_after_qc == Count(
            low=sum(part.low for part in parts), high=sum(part.high for part in parts)
        )


def test_noise_left_off_later_or_put_on_too_late_needs_a_persons_reason() -> None:
    book = make_book()
    source = NoisyLots(book)
    noisy, exact = rules_of(make_policy()), rules_of(make_policy(noise=False))
    under, plain = source.offer("BM-01", noisy), source.offer("BM-01", exact)
    # As the airlock knows them again: the same cells, and not the same draw.
    warned = judge(
        plain.report,
        exact,
        lots_offered=2,
        earlier=[EarlierRelease(report=under.report, same_cells=True, same_draw=False)],
    )
    assert [verdict.rule for verdict in warned if verdict.outcome is Outcome.REVIEW] == [RuleId.EARLIER_RELEASES]
    late = judge(
        under.report,
        noisy,
        lots_offered=2,
        noise=book.standing(under.provenance),
        earlier=[EarlierRelease(report=plain.report, same_cells=True, same_draw=False)],
    )
    assert [verdict.rule for verdict in late if verdict.outcome is Outcome.REVIEW] == [RuleId.EARLIER_RELEASES]


# Killed at every step


class DeadlyLog:
    """A log in a folder; the process dies, as by kill -9, at one append to any log: before it is durable, or after."""

    left = 0
    after = False

    def __init__(self, folder: Path) -> None:
        self._inner = FolderLog(folder)

    def read(self, start: int = 0) -> tuple[bytes, ...]:
        return self._inner.read(start)

    def append(self, record: bytes, *, position: int) -> None:
        DeadlyLog.left -= 1
        if DeadlyLog.left == 0 and not DeadlyLog.after:
            os.kill(os.getpid(), signal.SIGKILL)
        self._inner.append(record, position=position)
        if DeadlyLog.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _killed_at(step: int, *, after: bool, home: Path) -> bool:
    """Answer in a process of its own that dies at its append number ``step``; return whether it lived to the end."""
    process = os.fork()
    if process == 0:  # the child does nothing but answer, and leaves without pytest's own end
        DeadlyLog.left, DeadlyLog.after = step, after
        ASite(make_log=lambda name: DeadlyLog(home / name)).ask()
        os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_a_site_loses_no_budget_and_never_pays_twice(tmp_path: Path, after: bool) -> None:  # noqa: FBT001 - a parameter of the test
    # The budget has exactly one draw of each lot: one that were lost or paid for twice would leave the lots unsent.
    step, lived = 0, False
    while not lived:
        step += 1
        home = tmp_path / f"{step}"
        lived = _killed_at(step, after=after, home=home)
        site = ASite(make_log=partial(_folder_log, home))
        reply = site.ask()
        assert len(reply.reports) == 2, (step, site.log)
        assert site.ask().reports == reply.reports
        draws = [standing_of(site, name) for name in LOTS]
        assert all(standing.committed and standing.spent_otherwise == 0 for standing in draws)
        told = {entry.record.envelope_sha256 for entry in site.ledger.verify()}
        assert None in told
    assert step > 12  # each lot is asked for, drawn, submitted, approved, paid for, released, sent; twice two logs


def _folder_log(home: Path, name: str) -> FolderLog:
    return FolderLog(home / name)


def standing_of(site: ASite, name: str) -> NoiseStanding:
    standing = site.book.standing(NoisyLots(site.book).offer(name, rules_of(site.policy)).provenance)
    assert standing is not None
    return standing


def test_two_processes_that_draw_at_once_get_one_draw(tmp_path: Path) -> None:
    rules = rules_of(make_policy())
    one, other = make_book(FolderLog(tmp_path)), make_book(FolderLog(tmp_path))
    first = NoisyLots(one).offer("BM-01", rules)
    assert NoisyLots(other).offer("BM-01", rules) == first
    assert rules.noise is not None
    other.commit(first.provenance, rules.noise)
    one.commit(first.provenance, rules.noise)
    assert len(FolderLog(tmp_path).read()) == 2


def test_a_study_cannot_ask_for_noise_nor_a_policy_for_more_a_release_than_its_budget() -> None:
    assert not any("noise" in name for name in StudyPlan.model_fields)
    with pytest.raises(ValueError, match="epsilon_budget"):
        NoisePolicy(epsilon_per_release=2.0, epsilon_budget=1.0)


def test_the_draw_of_one_study_serves_another_without_a_further_cost() -> None:
    book, other_study = make_book(), make_plan(seed=12, sites=(KYOTO, SiteId("leiden"), SiteId("osaka")))
    source, policy = NoisyLots(book), make_policy()
    one, two = source.offer("BM-01", rules_of(policy)), source.offer("BM-01", rules_of(policy, other_study))
    assert one.provenance == two.provenance
    assert encode(one.report) != encode(two.report)
    assert one.report.counts == two.report.counts
