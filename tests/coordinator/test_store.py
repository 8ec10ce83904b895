"""One suite for every store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.store import MemoryStore, SqliteStore, Store, StoredReport
from protocol.identifiers import Pseudonym, Sha256, SiteId, StudyId
from shared.errors import InputError, RefusedError

STUDY = StudyId("study")
OpenStore = Callable[[], Store]


def report(site: str, lot: str, *, version: int = 1, digest: str = "a" * 64) -> StoredReport:
    return StoredReport(
        site=SiteId(site), lot=Pseudonym(lot), version=version, digest=Sha256(digest), envelope=digest.encode()
    )


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "store.sqlite")
    memory = MemoryStore()
    return lambda: memory


def test_reports_come_back_sorted_whatever_the_order_of_arrival(open_store: OpenStore) -> None:
    arrivals = [report("b", "1"), report("a", "2"), report("a", "1", version=2), report("a", "1")]
    for arrival in arrivals:
        assert open_store().add(STUDY, arrival)
    assert open_store().reports(STUDY) == tuple(sorted(arrivals))


def test_the_same_report_twice_is_kept_once(open_store: OpenStore) -> None:
    assert open_store().add(STUDY, report("a", "1"))
    assert not open_store().add(STUDY, report("a", "1"))
    assert open_store().reports(STUDY) == (report("a", "1"),)


def test_other_bytes_for_a_kept_lot_are_refused_and_the_first_stay(open_store: OpenStore) -> None:
    open_store().add(STUDY, report("a", "1"))
    with pytest.raises(RefusedError, match="other bytes"):
        open_store().add(STUDY, report("a", "1", digest="b" * 64))
    assert open_store().reports(STUDY) == (report("a", "1"),)


def test_studies_are_kept_apart(open_store: OpenStore) -> None:
    open_store().add(STUDY, report("a", "1"))
    open_store().append_event(STUDY, "asked")
    assert open_store().reports(StudyId("other")) == ()
    assert open_store().events(StudyId("other")) == ()


def test_events_keep_their_order(open_store: OpenStore) -> None:
    for event in ("asked", "received", "verified"):
        open_store().append_event(STUDY, event)
    assert open_store().events(STUDY) == ("asked", "received", "verified")


def test_a_sqlite_store_is_private_to_its_owner(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "store.sqlite")
    assert (tmp_path / "store.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(b"not a database, and long enough to be looked at" * 20)
    with pytest.raises(InputError, match="cannot open the store"):
        SqliteStore(tmp_path / "x.sqlite")
