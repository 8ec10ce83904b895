from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.codec import encode, sha256
from protocol.identifiers import Instant, Sha256, SiteId, StudyId
from protocol.ledger import LedgerError, LedgerEvent, LedgerRecord, checkpoint_of
from protocol.policy import EffectiveRules
from protocol.report import LotReport
from protocol.signing import SigningKey
from shared.errors import InputError
from site_agent.release.append_log import FolderLog, MemoryLog
from site_agent.release.ledger import Ledger, earlier_releases

MakeReport = Callable[..., LotReport]
KYOTO = SiteId("kyoto")
AT = Instant("2026-11-20T08:00:00Z")
CELLS, OTHER_CELLS = Sha256("1" * 64), Sha256("2" * 64)


def test_a_ledger_in_a_folder_goes_on_after_a_restart(tmp_path: Path, key: SigningKey) -> None:
    for number in range(4):
        ledger = Ledger(FolderLog(tmp_path), site=KYOTO, key=key)
        assert ledger.append(LedgerRecord(event=LedgerEvent.ASKED, at=AT)).length == number + 1
    assert [entry.number for entry in ledger.verify()] == [0, 1, 2, 3]


def test_a_cut_folder_is_found_by_its_checkpoint(tmp_path: Path, key: SigningKey) -> None:
    ledger = Ledger(FolderLog(tmp_path), site=KYOTO, key=key)
    for _ in range(3):
        ledger.append(LedgerRecord(event=LedgerEvent.ASKED, at=AT))
    checkpoint = checkpoint_of(ledger.head(), study=StudyId("vegf-2026"), site=KYOTO, at=AT)
    (tmp_path / "000000002.json").unlink()
    assert len(ledger.verify()) == 2
    with pytest.raises(LedgerError):
        ledger.verify([checkpoint])


def test_two_ledgers_on_one_log_make_one_chain(key: SigningKey) -> None:
    log = MemoryLog()
    one, other = (Ledger(log, site=KYOTO, key=key) for _ in range(2))
    one.append(LedgerRecord(event=LedgerEvent.ASKED, at=AT))
    other.append(LedgerRecord(event=LedgerEvent.ANSWERED, at=AT))
    one.append(LedgerRecord(event=LedgerEvent.ASKED, at=AT))
    assert [entry.record.event for entry in one.verify()] == ["asked", "answered", "asked"]


@pytest.mark.disclosure
def test_everything_released_of_a_lot_is_remembered(
    rules: EffectiveRules, make_report: MakeReport, key: SigningKey
) -> None:
    ledger = Ledger(MemoryLog(), site=KYOTO, key=key)
    first, second = make_report(rules, 600, 3, 0, 0, 0), make_report(rules, 700, 3, 0, 0, 0, version=2)
    for report, cells in ((first, CELLS), (second, OTHER_CELLS)):
        ledger.append(
            LedgerRecord(
                event=LedgerEvent.RELEASED,
                at=AT,
                study=report.study,
                lot=report.lot,
                subject_sha256=sha256(encode(report)),
                cells_sha256=cells,
            )
        )
    ledger.append(LedgerRecord(event=LedgerEvent.SUBMITTED, at=AT, lot=first.lot, subject_sha256=CELLS))
    reports = {sha256(encode(report)): report for report in (first, second)}
    known = earlier_releases(ledger.verify(), reports, lots=frozenset({first.lot}), cells_sha256=CELLS)
    assert [(release.report, release.same_cells) for release in known] == [(first, True), (second, False)]
    assert earlier_releases(ledger.verify(), reports, lots=frozenset({"0" * 16}), cells_sha256=CELLS) == ()
    with pytest.raises(InputError, match="airlock does not hold"):
        earlier_releases(ledger.verify(), {}, lots=frozenset({first.lot}), cells_sha256=CELLS)
