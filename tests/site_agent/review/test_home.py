"""A site's home: made once, private, and found again after a restart."""

import stat
from pathlib import Path

import pytest

from protocol.errors import ErrorCode
from protocol.exchange import BareCode
from protocol.ledger import LedgerEvent
from protocol.policy import write_policy
from shared.errors import InputError, RefusedError
from shared.runtime.files import write_atomically
from site_agent.home import create_home, open_home
from tests.site_agent.review.conftest import PASSPHRASE, AHome
from tests.study_parts import COORDINATOR, KYOTO, NOW, STUDY, make_ask, make_plan, make_policy

PLAN = make_plan()


def test_a_home_is_made_once_and_opened_again(tmp_path: Path) -> None:
    made = create_home(tmp_path, site=KYOTO, coordinator=COORDINATOR.verifying_key, passphrase=PASSPHRASE)
    assert open_home(tmp_path) == made
    assert made.coordinator == COORDINATOR.verifying_key
    assert made.steward_key(PASSPHRASE).verifying_key == made.steward() != made.site_key().verifying_key
    with pytest.raises(RefusedError, match="home is here already"):
        create_home(tmp_path, site=KYOTO, coordinator=COORDINATOR.verifying_key, passphrase=PASSPHRASE)


def test_no_one_but_the_owner_can_read_what_a_home_keeps(a_home: AHome) -> None:
    a_home.agent.answer(make_ask(PLAN), NOW)
    kept = [path for path in a_home.home.folder.rglob("*") if path.name not in {"lots.csv", "policy.toml"}]
    files = [path for path in kept if path.is_file()]
    assert len(files) > 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_stewards_key_needs_its_passphrase(a_home: AHome) -> None:
    with pytest.raises(InputError):
        a_home.home.steward_key("another passphrase")
    new, too_short = a_home.home.folder / "new", PASSPHRASE[:7]
    with pytest.raises(InputError, match="at least 8"):
        create_home(new, site=KYOTO, coordinator=COORDINATOR.verifying_key, passphrase=too_short)
    assert not new.exists()


def test_a_folder_that_is_no_home_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"site\.toml"):
        open_home(tmp_path)


def test_a_query_that_was_taken_is_refused_after_a_restart(a_home: AHome) -> None:
    ask = make_ask(PLAN)
    assert not isinstance(a_home.agent.answer(ask, NOW), BareCode)
    assert a_home.agent.answer(ask, NOW) == BareCode(code=ErrorCode.REPLAYED)


@pytest.mark.disclosure
def test_where_the_queries_taken_cannot_be_read_nothing_is_answered(a_home: AHome) -> None:
    (a_home.home.folder / "taken.json").write_bytes(b"{}")
    assert a_home.agent.answer(make_ask(PLAN), NOW) == BareCode(code=ErrorCode.MISSING_FIELD)
    assert a_home.held() == []


@pytest.mark.disclosure
def test_where_the_ledger_cannot_be_written_nothing_leaves(a_home: AHome) -> None:
    (a_home.home.folder / "ledger").write_bytes(b"a file where the folder should be")
    assert a_home.agent.answer(make_ask(PLAN), NOW) == BareCode(code=ErrorCode.INTERNAL)
    assert a_home.held() == []


def test_all_that_was_asked_and_answered_stands_in_the_ledger(a_home: AHome) -> None:
    a_home.agent.answer(make_ask(PLAN), NOW)
    events = [entry.record.event for entry in a_home.home.ledger().verify()]
    asked = [LedgerEvent.ASKED, LedgerEvent.POLICY_CHANGED, *[LedgerEvent.SUBMITTED] * 3, LedgerEvent.ANSWERED]
    assert events == asked
    assert {entry.record.study for entry in a_home.home.ledger().verify()} == {STUDY}


def test_a_changed_policy_stands_in_the_ledger_once(a_home: AHome) -> None:
    for version in (2, 2, 3):
        policy = make_policy(auto=False).model_copy(update={"version": version})
        write_atomically(a_home.home.folder / "policy.toml", write_policy(policy))
        a_home.agent.answer(make_ask(PLAN), NOW)
    entries = [entry.record for entry in a_home.home.ledger().verify()]
    changes = [entry.subject_sha256 for entry in entries if entry.event is LedgerEvent.POLICY_CHANGED]
    assert len(changes) == len(set(changes)) == 2
    assert changes[-1] == policy.sha256


def test_own_names_stand_behind_the_pseudonyms(a_home: AHome) -> None:
    a_home.agent.answer(make_ask(PLAN), NOW)
    names = a_home.home.own_names(STUDY)
    assert {names[held.lot] for held in a_home.held()} == {"BM-01", "BM-02", "BM-03"}
