"""Keeping in touch: who may answer, what is told of a full disk, and what is done on that occasion."""

import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from coordinator.network.shown import site_rows
from shared.errors import CrosslotError, InputError
from shared.runtime.processes import free_port, wait_until
from site_agent.network import greeting
from site_agent.network.gateway_client import GatewayClient
from site_agent.network.greeting import Touch
from tests.network.conftest import LiveGateway


def touch(gateway: LiveGateway, log: list[str]) -> Touch:
    return Touch(home=gateway.join("kyoto"), log=log.append)


def other_version(monkeypatch: pytest.MonkeyPatch, ours: str) -> None:
    monkeypatch.setattr(greeting, "version", lambda name: ours if name == "crosslot" else "1.41.0")


def test_queries_may_be_answered_from_the_first_greeting_on(gateway: LiveGateway) -> None:
    site = touch(gateway, [])
    assert not site.may_answer.is_set()
    assert site.once() == ()
    assert site.may_answer.is_set()


def test_another_version_stops_answers_and_both_ends_say_what_to_do(
    gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = touch(gateway, [])
    site.once()
    other_version(monkeypatch, "9.9.9")
    (said,) = site.once()
    assert not site.may_answer.is_set()
    assert said.startswith("version-mismatch: here crosslot 9.9.9, the coordinator has 0.1.0; no query is answered")
    assert "install" in said
    (row,) = site_rows(gateway.enrolments, datetime.now(UTC))
    assert "version-mismatch" in row[1]
    other_version(monkeypatch, "0.1.7")
    assert site.once() == ()
    assert site.may_answer.is_set()


def test_a_coordinator_that_is_away_changes_nothing(gateway: LiveGateway) -> None:
    site = touch(gateway, [])
    site.once()
    path = site.home.folder / "network.toml"
    path.write_text(path.read_text().replace(site.home.settings.address, f"127.0.0.1:{free_port()}"))
    for each, answers in ((site, True), (Touch(home=site.home, log=site.log), False)):
        with pytest.raises(CrosslotError, match="does not answer"):
            each.once()
        assert each.may_answer.is_set() is answers


def test_a_full_disk_is_told_at_both_ends(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    site = touch(gateway, [])
    site.once()
    usage = shutil.disk_usage(site.home.folder)
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage._replace(free=2**20))
    (said,) = site.once()
    assert said.startswith("disk-full: 1 MiB free")
    assert "make room" in said
    (row,) = site_rows(gateway.enrolments, datetime.now(UTC))
    assert "disk-full" in row[1]
    monkeypatch.undo()
    assert site.once() == ()
    (row,) = site_rows(gateway.enrolments, datetime.now(UTC))
    assert row[1] == "enrolled"


def test_a_chore_that_fails_is_told_and_stops_no_other(gateway: LiveGateway) -> None:
    def fails(_client: GatewayClient) -> str:
        raise InputError("it went wrong", hint="mend it")

    log: list[str] = []
    site = replace(touch(gateway, log), chores=(fails, lambda _client: "", lambda _client: "done"))
    assert site.once() == ()
    assert log == ["it went wrong (mend it)", "done"]


def test_the_first_greeting_is_tried_again_soon(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "_FIRST_SECONDS", 0.1)
    log: list[str] = []
    site = touch(gateway, log)
    path = site.home.folder / "network.toml"
    right = path.read_text()
    path.write_text(right.replace(site.home.settings.address, f"127.0.0.1:{free_port()}"))
    stopped = threading.Event()
    keeping = threading.Thread(target=site.keep, args=(stopped,))
    keeping.start()
    assert wait_until(lambda: bool(log), timeout_seconds=30)
    path.write_text(right)
    assert site.may_answer.wait(30)
    stopped.set()
    keeping.join(10)
    assert "does not answer" in log[0]
    assert log[-1] == "the coordinator answers"


def test_what_changes_is_said_once(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    site = touch(gateway, log)
    monkeypatch.setattr(greeting, "INTERVAL_SECONDS", 0.05)
    stopped = threading.Event()
    keeping = threading.Thread(target=site.keep, args=(stopped,))
    keeping.start()
    assert site.may_answer.wait(10)
    stopped.wait(0.3)
    stopped.set()
    keeping.join(10)
    assert log == ["the coordinator answers"]
