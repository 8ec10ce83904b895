"""The ledger at the terminal: any damage is found, with the checkpoints that the coordinator signed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from protocol.envelopes import PayloadType
from protocol.ledger import checkpoint_of
from protocol.signing import SigningKey
from shared.runtime.files import write_atomically
from site_agent.home import Home
from tests.site_agent.review.conftest import AHome
from tests.study_parts import COORDINATOR, STRANGER, STUDY, signed


def _keep_checkpoint(home: Home, key: SigningKey) -> None:
    checkpoint = checkpoint_of(home.ledger().head(), study=STUDY, site=home.site, at="2026-11-20T09:00:00Z")
    write_atomically(home.folder / "checkpoints" / "1.json", signed(checkpoint, PayloadType.CHECKPOINT, key))


def _flip(folder: Path) -> None:
    path = folder / "000000001.json"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(bytes(data))


def _swap(folder: Path) -> None:
    one, two = folder / "000000001.json", folder / "000000002.json"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def _remove(folder: Path) -> None:
    (folder / "000000001.json").unlink()


def _cut(folder: Path) -> None:
    max(folder.glob("*.json")).unlink()


@pytest.mark.parametrize("damage", [_flip, _swap, _remove, _cut])
def test_any_damage_to_the_ledger_is_found(
    waiting: AHome, run: Callable[..., Result], damage: Callable[[Path], None]
) -> None:
    _keep_checkpoint(waiting.home, COORDINATOR)
    sound = run("log", "verify", "--json")
    assert json.loads(sound.stdout) == {"success": True, "entries": 6, "checkpoints": 1, "covered": 6, "decisions": 0}
    assert "asked" in run("log", "show").stdout
    damage(waiting.home.folder / "ledger")
    assert run("log", "verify").exit_code == 1


def test_a_checkpoint_may_come_from_elsewhere(waiting: AHome, run: Callable[..., Result], tmp_path: Path) -> None:
    _keep_checkpoint(waiting.home, COORDINATOR)
    kept = (waiting.home.folder / "checkpoints" / "1.json").rename(tmp_path / "from-a-bundle.json")
    assert json.loads(run("log", "verify", "--json").stdout)["covered"] == 0
    assert json.loads(run("log", "verify", "--json", "--checkpoint", str(kept)).stdout)["covered"] == 6
    _cut(waiting.home.folder / "ledger")
    assert run("log", "verify").exit_code == 0  # a cut end is not seen without a checkpoint
    assert run("log", "verify", "--checkpoint", str(kept)).exit_code == 1


def test_a_checkpoint_that_the_coordinator_did_not_sign_is_refused(waiting: AHome, run: Callable[..., Result]) -> None:
    _keep_checkpoint(waiting.home, STRANGER)
    assert run("log", "verify").exit_code == 1
