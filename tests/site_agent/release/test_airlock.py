"""One suite on every kind of log."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.codec import encode, sha256
from protocol.errors import ProtocolError
from protocol.identifiers import Sha256
from protocol.policy import EffectiveRules
from protocol.report import LotReport
from protocol.signing import SigningKey
from protocol.steward import Meaning
from shared.errors import CrosslotError, InputError, RefusedError
from site_agent.release.airlock import AUTOMATIC, Airlock
from site_agent.release.append_log import AppendLog, FolderLog, MemoryLog
from site_agent.release.decisions import Provenance, State

MakeRules = Callable[..., EffectiveRules]
MakeReport = Callable[..., LotReport]
NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
STEWARD = SigningKey.from_seed(b"steward".ljust(32, b"."))


@pytest.fixture(params=["memory", "folder"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> AppendLog:
    return MemoryLog() if request.param == "memory" else FolderLog(tmp_path / "airlock")


@pytest.fixture
def report(rules: EffectiveRules, make_report: MakeReport) -> LotReport:
    return make_report(rules, 1200, 500, 290, 7, 3)


def test_a_report_waits_is_approved_and_sent(log: AppendLog, report: LotReport) -> None:
    airlock = Airlock(log)
    held = airlock.submit(report, at=NOW)
    assert (held.state, held.approval, held.report) == (State.PENDING, None, report)
    approval = airlock.approve(held.payload_sha256, by=" A. Steward ", at=NOW, key=STEWARD, reason="seen")
    assert (approval.payload_sha256, approval.by, approval.at) == (
        sha256(encode(report)),
        "A. Steward",
        "2026-11-20T08:00:00Z",
    )
    assert (approval.meaning, approval.reason, approval.automatic) == (Meaning.APPROVED_FOR_RELEASE, "seen", False)
    assert airlock.find(held.payload_sha256).state is State.APPROVED
    airlock.mark_sent(held.payload_sha256, at=NOW)
    assert airlock.find(held.payload_sha256).state is State.SENT


def test_what_was_decided_is_there_after_a_restart(log: AppendLog, report: LotReport) -> None:
    first = Airlock(log)
    digest = first.submit(report, at=NOW).payload_sha256
    approval = first.approve(digest, by="A. Steward", at=NOW, key=STEWARD)
    assert Airlock(log).find(digest).approval == approval
    assert Airlock(log).find(digest).payload == encode(report)


def test_a_refusal_is_final_and_has_its_reason(log: AppendLog, report: LotReport) -> None:
    airlock = Airlock(log)
    digest = airlock.submit(report, at=NOW).payload_sha256
    with pytest.raises(InputError, match="why"):
        airlock.refuse(digest, by="A. Steward", at=NOW, key=STEWARD, reason=" ")
    airlock.refuse(digest, by="A. Steward", at=NOW, key=STEWARD, reason="wrong lot")
    assert airlock.find(digest).refusal_reason == "wrong lot"
    with pytest.raises(RefusedError, match="refused"):
        airlock.approve(digest, by="A. Steward", at=NOW, key=STEWARD)
    assert airlock.submit(report, at=NOW).state is State.REFUSED


def test_an_unapproved_report_cannot_be_marked_sent(log: AppendLog, report: LotReport) -> None:
    airlock = Airlock(log)
    digest = airlock.submit(report, at=NOW).payload_sha256
    with pytest.raises(RefusedError, match="pending"):
        airlock.mark_sent(digest, at=NOW)


def test_a_changed_report_voids_the_approval(
    log: AppendLog, rules: EffectiveRules, report: LotReport, make_report: MakeReport
) -> None:
    airlock = Airlock(log)
    digest = airlock.submit(report, at=NOW).payload_sha256
    airlock.approve(digest, by="A. Steward", at=NOW, key=STEWARD)
    updated = airlock.submit(make_report(rules, 1200, 500, 290, 8, 3), at=NOW)
    assert updated.state is State.PENDING
    voided = airlock.find(digest)
    assert (voided.state, voided.approval) == (State.VOIDED, None)
    with pytest.raises(RefusedError):
        airlock.mark_sent(digest, at=NOW)


def test_what_was_sent_stays_sent_when_a_new_version_comes(
    log: AppendLog, rules: EffectiveRules, report: LotReport, make_report: MakeReport
) -> None:
    airlock = Airlock(log)
    digest = airlock.submit(report, at=NOW).payload_sha256
    airlock.approve(digest, by="A. Steward", at=NOW, key=STEWARD)
    airlock.mark_sent(digest, at=NOW)
    airlock.submit(make_report(rules, 1200, 500, 290, 8, 3, version=2), at=NOW)
    assert airlock.find(digest).state is State.SENT


def test_another_lot_does_not_disturb(
    log: AppendLog, rules: EffectiveRules, report: LotReport, make_report: MakeReport, a_lot: type[Any]
) -> None:
    airlock = Airlock(log)
    digest = airlock.submit(report, at=NOW).payload_sha256
    airlock.submit(make_report(rules, 600, 0, 0, 0, 0, lot=a_lot(lot="BM-02")), at=NOW)
    assert airlock.find(digest).state is State.PENDING


def test_submitting_again_changes_nothing(log: AppendLog, report: LotReport) -> None:
    airlock = Airlock(log)
    first = airlock.submit(report, at=NOW)
    airlock.approve(first.payload_sha256, by="A. Steward", at=NOW, key=STEWARD)
    assert airlock.submit(report, at=NOW + timedelta(hours=1)).state is State.APPROVED
    assert len(log.read()) == 2


def test_the_policy_approves_only_its_studies_and_says_so(
    log: AppendLog, make_rules: MakeRules, report: LotReport
) -> None:
    airlock = Airlock(log)
    digest = airlock.submit(report, at=NOW).payload_sha256
    for rules in (make_rules(), make_rules(study="other", auto_approve=("other",))):
        with pytest.raises(ProtocolError, match="auto_approve"):
            airlock.approve_by_policy(digest, rules, at=NOW)
    approval = airlock.approve_by_policy(digest, make_rules(auto_approve=("vegf-2026",)), at=NOW)
    assert (approval.by, approval.automatic) == (AUTOMATIC, True)
    assert approval.reason == "auto_approve of policy version 1"


def test_no_person_is_called_policy_or_nothing(log: AppendLog, report: LotReport) -> None:
    airlock = Airlock(log)
    digest = airlock.submit(report, at=NOW).payload_sha256
    for name in ("", "  ", AUTOMATIC, "x" * 65):
        with pytest.raises(InputError):
            airlock.approve(digest, by=name, at=NOW, key=STEWARD)
    assert airlock.find(digest).state is State.PENDING


def test_an_unknown_report_is_an_input_error(log: AppendLog) -> None:
    with pytest.raises(InputError, match="no report"):
        Airlock(log).find(Sha256("a" * 64))


def test_the_folder_is_private(tmp_path: Path, report: LotReport) -> None:
    folder = tmp_path / "state" / "airlock"
    Airlock(FolderLog(folder)).submit(report, at=NOW)
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert [file.name for file in files] == ["000000000.json"]
    assert files[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["flip", "cut", "absent", "approval without submission"])
def test_a_damaged_airlock_lets_nothing_out(tmp_path: Path, report: LotReport, damage: str) -> None:
    airlock = Airlock(FolderLog(tmp_path))
    digest = airlock.submit(report, at=NOW).payload_sha256
    airlock.approve(digest, by="A. Steward", at=NOW, key=STEWARD)
    first = tmp_path / "000000000.json"
    data = first.read_bytes()
    match damage:
        case "flip":
            first.write_bytes(data.replace(b"1200", b"1300"))
        case "cut":
            first.write_bytes(data[:-10])
        case "absent":
            first.unlink()
        case _:
            first.write_bytes((tmp_path / "000000001.json").read_bytes())
    with pytest.raises(InputError, match=r"damaged|absent"):
        Airlock(FolderLog(tmp_path)).held()


def test_of_two_writers_one_is_refused(tmp_path: Path) -> None:
    outcomes: list[bool] = []
    start = threading.Barrier(4)

    def write(number: int) -> None:
        start.wait()
        try:
            FolderLog(tmp_path).append(b"%d" % number, position=0)
        except RefusedError:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]
    assert len(FolderLog(tmp_path).read()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["000000000.json"]


def test_a_log_takes_records_in_order_only(log: AppendLog) -> None:
    log.append(b"a", position=0)
    log.append(b"b", position=1)
    for position in (0, 1, 3):
        with pytest.raises(RefusedError):
            log.append(b"c", position=position)
    assert log.read() == (b"a", b"b")
    assert log.read(1) == (b"b",)
    assert log.read(2) == ()


def _sent(airlock: Airlock, report: LotReport, provenance: Provenance | None) -> None:
    digest = airlock.submit(report, at=NOW, provenance=provenance).payload_sha256
    airlock.approve(digest, by="A. Steward", at=NOW, key=STEWARD)
    airlock.mark_sent(digest, at=NOW)


@pytest.mark.disclosure
def test_everything_that_was_sent_of_a_lot_is_remembered_and_nothing_else(
    log: AppendLog, rules: EffectiveRules, make_rules: MakeRules, make_report: MakeReport, a_lot: type[Any]
) -> None:
    airlock = Airlock(log)
    lot, other_lot, cells, other_cells = (Sha256(digit * 64) for digit in "1234")
    first, second, new = (make_report(rules, 600, 0, 0, 0, 0, version=version) for version in (1, 2, 3))
    elsewhere = make_report(make_rules(study="q5e-2027"), 600, 0, 0, 0, 0)
    _sent(airlock, first, Provenance(lot_sha256=lot, cells_sha256=cells))
    _sent(airlock, second, Provenance(lot_sha256=lot, cells_sha256=other_cells))
    _sent(airlock, elsewhere, Provenance(lot_sha256=lot, cells_sha256=cells))
    # Another lot that happens to have the same numbers of cells.
    another = make_report(rules, 600, 0, 0, 0, 0, lot=a_lot(lot="BM-02"))
    _sent(airlock, another, Provenance(lot_sha256=other_lot, cells_sha256=cells))
    airlock.submit(new, at=NOW)
    known = Airlock(log).earlier(new, Provenance(lot_sha256=lot, cells_sha256=cells))
    assert [(each.report, each.same_cells) for each in known] == [(first, True), (second, False), (elsewhere, True)]
    unknown = airlock.earlier(new, None)
    assert [(each.report, each.same_cells) for each in unknown] == [(first, False), (second, False)]
    # To send the same bytes again tells nothing new, whatever has left since.
    assert airlock.earlier(first, Provenance(lot_sha256=lot, cells_sha256=cells)) == ()


@pytest.mark.disclosure
def test_no_order_of_acts_sends_what_no_one_approved(rules: EffectiveRules, make_report: MakeReport) -> None:
    reports = [make_report(rules, 1200, 500, 290, number, 3) for number in (7, 8, 9)]
    digests = [sha256(encode(report)) for report in reports]

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.airlock = Airlock(MemoryLog())
            self.may_be_sent: set[Sha256] = set()
            self.sent: set[Sha256] = set()

        @rule(which=st.integers(0, 2), act=st.sampled_from(["submit", "approve", "refuse", "send"]))
        def act(self, which: int, act: str) -> None:
            digest = digests[which]
            try:
                match act:
                    case "submit":
                        held = self.airlock.held()
                        new = digest not in held or held[digest].state is State.VOIDED
                        self.airlock.submit(reports[which], at=NOW)
                        if new:
                            self.may_be_sent.clear()
                    case "approve":
                        self.airlock.approve(digest, by="A. Steward", at=NOW, key=STEWARD)
                        self.may_be_sent.add(digest)
                    case "refuse":
                        self.airlock.refuse(digest, by="A. Steward", at=NOW, key=STEWARD, reason="no")
                    case _:
                        self.airlock.mark_sent(digest, at=NOW)
                        assert digest in self.may_be_sent
                        self.sent.add(digest)
            except (InputError, RefusedError):
                return

        @invariant()
        def what_is_sent_was_approved(self) -> None:
            held = self.airlock.held()
            assert {digest for digest in held if held[digest].state is State.SENT} == self.sent
            assert all(held[digest].approval is not None for digest in self.sent)

    Machine.TestCase.settings = settings(max_examples=25, stateful_step_count=15)
    Machine.TestCase("runTest").runTest()


def test_errors_of_the_airlock_are_crosslots_own(log: AppendLog, report: LotReport) -> None:
    airlock = Airlock(log)
    digest = airlock.submit(report, at=NOW).payload_sha256
    with pytest.raises(CrosslotError) as caught:
        airlock.refuse(digest, by="A. Steward", at=NOW, key=STEWARD, reason="x" * 1_001)
    assert caught.value.hint
