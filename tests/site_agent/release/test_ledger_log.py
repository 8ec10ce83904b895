from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.identifiers import Instant, Sha256, SiteId, StudyId
from protocol.ledger import LedgerError, LedgerEvent, LedgerRecord, checkpoint_of
from protocol.report import LotReport
from protocol.signing import SigningKey
from site_agent.release.append_log import FolderLog, MemoryLog
from site_agent.release.ledger import Ledger

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
