"""A real deployment that begins badly: another version at the site, then an atlas cut short; named, then mended."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from coordinator.home import CoordinatorHome
from coordinator.network.registry import published
from coordinator.store import SqliteStore
from protocol.errors import ErrorCode
from shared.runtime.processes import wait_until
from simulations.network_demo import COORDINATOR, Deployment, command, site_running
from tests.network.deployed import KYOTO, STUDY, deployed, live, n_online, said

METADATA = "Metadata-Version: 2.1\nName: crosslot\nVersion: 9.9.9\n"


def collected(deployment: Deployment, minutes: str, *, expected: int) -> dict[str, Any]:
    argv = (*COORDINATOR, "collect", STUDY, "--home", str(deployment.coordinator), "--json")
    printed = command((*argv, "--deadline-minutes", minutes, "--pause-seconds", "1"), expected=(expected,))
    (site,) = json.loads(printed)["sites"]
    return dict(site)


@live
def test_another_version_and_a_truncated_atlas_are_named_at_both_ends_and_the_study_completes_once_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other-version"
    (other / "crosslot-9.9.9.dist-info").mkdir(parents=True)
    (other / "crosslot-9.9.9.dist-info" / "METADATA").write_text(METADATA)
    with deployed(tmp_path, (KYOTO,), ()) as deployment:
        with monkeypatch.context() as patched, ExitStack() as running:
            patched.chdir(other)  # `python -m` looks there first for what is installed
            running.enter_context(site_running(deployment, KYOTO))
            patched.undo()
            assert wait_until(lambda: n_online(deployment) == 1, timeout_seconds=90)
            assert wait_until(
                lambda: said(deployment, "version-mismatch: here crosslot 9.9.9", name=KYOTO), timeout_seconds=30
            )
            site = collected(deployment, "0.1", expected=1)
            assert site["state"] == "not-asked"
            assert "version-mismatch: the site has 9.9.9" in site["why"]
            (row,) = json.loads(deployment.ask_coordinator("sites", "--json"))
            assert row["state"] == "enrolled, version-mismatch"
        home = CoordinatorHome(deployment.coordinator)
        atlas = home.atlas(published(home, STUDY).manifest.message.sha256)
        whole = atlas.read_bytes()
        atlas.write_bytes(whole[:100])
        with site_running(deployment, KYOTO):
            assert wait_until(lambda: n_online(deployment) == 1, timeout_seconds=120)
            assert wait_until(lambda: said(deployment, "the coordinator answers", name=KYOTO), timeout_seconds=30)
            site = collected(deployment, "0.2", expected=1)
            assert (site["state"], site["code"]) == ("failed", ErrorCode.ATLAS_MISSING)
            assert said(deployment, "broke off at 100 of", "goes on there", name=KYOTO)
            atlas.write_bytes(whole)
            assert collected(deployment, "3", expected=0)["state"] == "delivered"
            assert said(deployment, "going on at 100 of", name=KYOTO)
        assert len(SqliteStore(home.store_path).reports(STUDY)) == 8
