"""Scenes on a small disk: ``unshare -rm python -m tests.network.full_disk SCENE FOLDER`` prints what happened as JSON.

The disk is a tmpfs in a mount namespace of its own, so that it is really full and nobody else's.
"""

import base64
import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coordinator.network.enrolment import Enrolments
from coordinator.store import SqliteStore, StoredReport
from protocol.exchange import BareCode, Reply
from protocol.identifiers import Pseudonym, Sha256, SiteId, StudyId
from shared.errors import NoRoomError
from shared.runtime.processes import wait_until
from simulations.network_demo import COORDINATOR, coordinator_running, join_all, prepare, site_running
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import FolderLog
from tests.network.deployed import KYOTO, STUDY, n_online
from tests.study_parts import NOW, Site, make_ask, make_plan
from tests.study_with_cells import write_study


class SmallDisk:
    """A disk of a few megabytes at a folder, which keeps what lies there."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._filler = folder / "filler"
        aside = folder.with_name(f"{folder.name}.aside")
        folder.mkdir(exist_ok=True, parents=True)
        shutil.move(folder, aside)
        folder.mkdir(mode=0o700)
        size = f"size={megabytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)  # noqa: S603, S607 - our own arguments
        shutil.copytree(aside, folder, dirs_exist_ok=True)

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def make_room(self) -> None:
        self._filler.unlink()


def refused(act: Callable[[], object]) -> str:
    """Return what a full disk said, or that it said nothing."""
    try:
        act()
    except NoRoomError as error:
        return f"{error} ({error.hint})"
    return "done"


def code_of(reply: Reply | BareCode) -> str | None:
    """Return the code that an answer gives, bare or signed."""
    if isinstance(reply, BareCode):
        return reply.code
    payload = base64.b64decode(json.loads(reply.answer)["payload"])
    code: str | None = json.loads(payload)["code"]
    return code


def files(folder: Path) -> None:
    """Store, enrolments, airlock: each on a full disk, and again once there is room."""
    disk = SmallDisk(folder / "disk", 2)
    place, told = folder / "disk", dict[str, Any]()
    store, study = SqliteStore(place / "store.sqlite"), StudyId("vegf-2026")
    first, second = (
        StoredReport(
            site=KYOTO, lot=Pseudonym(letter * 26), version=1, digest=Sha256(letter * 64), envelope=b"x" * size
        )
        for letter, size in (("a", 100), ("b", 300_000))
    )
    store.add(study, first)
    store.append_event(study, "first")
    enrolments = Enrolments(place / "enrolments.sqlite")
    now = datetime.now(UTC)

    def invite() -> None:
        for number in range(40):  # a journal may have a page or two of room left
            enrolments.add_invite(SiteId("osaka"), f"{number:064x}", now=now, expires=now + timedelta(hours=1))

    site = Site(airlock=Airlock(FolderLog(place / "airlock")))
    plan = make_plan()
    disk.fill()
    told["store"] = refused(lambda: store.add(study, second))
    told["invite"] = refused(invite)
    told["agent"] = code_of(site.agent.answer(make_ask(plan), NOW))
    told["agent_log"] = site.log
    told["half_written"] = sorted(path.name for path in (place / "airlock").glob("*"))
    disk.make_room()
    told["kept"] = [each.lot for each in store.reports(study)] + list(store.events(study))
    told["store_again"] = refused(lambda: store.add(study, second))
    told["both"] = len(store.reports(study))
    told["invites_before"] = len(enrolments.invites())
    reply = site.agent.answer(make_ask(plan), NOW)
    told["reports"] = len(reply.reports) if isinstance(reply, Reply) else code_of(reply)
    sys.stdout.write(json.dumps(told))


def deployment(folder: Path) -> None:
    """Real process trees: first the site's disk is full, then the coordinator's, then there is room."""
    study = write_study(folder / "study", sites=(KYOTO,), lots_per_site=4)
    made, told = prepare(study, folder / "network"), dict[str, Any]()
    coordinators, sites = SmallDisk(made.coordinator, 24), SmallDisk(made.sites[KYOTO], 48)

    def collected() -> tuple[int, str]:
        argv = [*COORDINATOR, "collect", STUDY, "--home", str(made.coordinator), "--deadline-minutes"]
        limits = ["0.3" if told.keys() < {"no_room_at_the_coordinator"} else "2", "--pause-seconds", "1"]
        done = subprocess.run([*argv, *limits], capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own arguments
        return done.returncode, done.stdout + done.stderr

    with ExitStack() as running:
        running.enter_context(coordinator_running(made))
        join_all(made)
        made.ask_coordinator("publish", str(study / "study.toml"), "--atlas", str(study / "reference.atlas"))
        running.enter_context(site_running(made, KYOTO))
        assert wait_until(lambda: n_online(made) == 1, timeout_seconds=90)
        sites.fill()
        told["no_room_at_the_site"] = collected()
        sites.make_room()
        coordinators.fill()
        told["no_room_at_the_coordinator"] = collected()
        coordinators.make_room()
        told["room"] = collected()
        told["reports"] = len(SqliteStore(made.coordinator / "store.sqlite").reports(STUDY))
    told["logs"] = {path.stem: path.read_text()[-6_000:] for path in made.logs.glob("*.log")}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    {"files": files, "deployment": deployment}[sys.argv[1]](Path(sys.argv[2]))
