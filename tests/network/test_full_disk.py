"""A disk that is full: a named state that says what to do, nothing half-written, and going on once there is room."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.network.deployed import live

_UNSHARE = shutil.which("unshare")


def _may_mount() -> bool:
    if _UNSHARE is None:
        return False
    tried = subprocess.run([_UNSHARE, "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)  # noqa: S603 - our own arguments
    return tried.returncode == 0


needs_mount = pytest.mark.skipif(not _may_mount(), reason="needs a mount namespace of its own (unshare -rm)")


def play(scene: str, folder: Path) -> dict[str, Any]:
    argv = [str(_UNSHARE), "-rm", sys.executable, "-m", "tests.network.full_disk", scene, str(folder)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=500, check=False, cwd=root, env=os.environ)  # noqa: S603 - our own arguments
    assert done.returncode == 0, done.stderr[-3_000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@needs_mount
def test_store_enrolments_and_airlock_say_so_lose_nothing_and_go_on(tmp_path: Path) -> None:
    told = play("files", tmp_path)
    for place in ("store", "invite"):
        assert "disk-full" in told[place], told
        assert "make room" in told[place]
    assert told["kept"] == ["a" * 26, "first"]
    assert (told["store_again"], told["both"]) == ("done", 2)
    assert told["agent"] == "disk-full"
    assert any("disk-full" in line for line in told["agent_log"])
    assert not any(name.startswith(".new-") for name in told["half_written"])
    assert told["reports"] == 3


@live
@needs_mount
def test_a_deployment_names_the_full_disk_at_either_end_and_completes_once_there_is_room(tmp_path: Path) -> None:
    told = play("deployment", tmp_path)
    code, said = told["no_room_at_the_site"]
    assert code == 1
    assert "disk" in said.lower(), told
    assert "disk-full" in told["logs"]["kyoto"]
    code, said = told["no_room_at_the_coordinator"]
    assert code == 1
    assert "disk-full" in said, told
    assert "make room" in said
    assert told["room"][0] == 0, told
    assert told["reports"] == 4
