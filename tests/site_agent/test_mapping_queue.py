"""Mappings beside the agent: kept, waited for briefly, ended in time, and never in each other's way."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Sha256, StudyId
from shared.errors import InputError, NoRoomError
from shared.runtime.processes import wait_until
from site_agent.mapping_queue import FetchAtlas, MappingQueue
from site_agent.mapping_task import FAILURE_FILE, OFFERS_FILE, main, read_offers, write_offers
from site_agent.release.decisions import Provenance
from site_agent.release.offers import Offer
from tests.study_parts import make_plan, make_report, rules_of

RULES = rules_of(make_plan())
OTHER_RULES = rules_of(make_plan(seed=12))
OFFERS = (
    Offer(
        report=make_report(RULES, "BM-01", (100, 200, 300)),
        provenance=Provenance(lot_sha256=Sha256("0" * 64), cells_sha256=Sha256("1" * 64)),
    ),
    Offer(report=make_report(RULES, "BM-02", (300, 200, 100))),
)
COUNTS = "open(sys.argv[1] + '/runs', 'a').write('x')\n"
GOOD = COUNTS + f"shutil.copy(sys.argv[1] + '/prepared', sys.argv[3] + '/{OFFERS_FILE}')\n"
HANGS = "time.sleep(60)\n"
CRASHES = "sys.exit(139)\n"
TELLS = f'open(sys.argv[3] + \'/{FAILURE_FILE}\', \'w\').write(\'{{"code": "lots-unsuitable", "words": "w"}}\')\n'


def running(program: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", "import shutil, sys, time\n" + program)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_offers(OFFERS, tmp_path / "prepared")
    (tmp_path / "lots.csv").write_text("lot,file\nBM-01,cells/a.h5ad\n")
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "a.h5ad").write_bytes(b"cells")
    return tmp_path


class Queues:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.made: list[MappingQueue] = []
        self.log: list[str] = []

    def __call__(
        self, program: str, *, patience: float = 10.0, limit: float = 60.0, atlas: FetchAtlas | None = None
    ) -> MappingQueue:
        queue = MappingQueue(
            home=self.home,
            fetch_atlas=atlas or (lambda _digest: self.home / "atlas"),
            patience_seconds=patience,
            limit_seconds=limit,
            log=self.log.append,
            command=running(program),
        )
        self.made.append(queue)
        return queue


@pytest.fixture
def queues(home: Path) -> Iterator[Queues]:
    made = Queues(home)
    yield made
    for queue in made.made:
        queue.close()


def code_of(queue: MappingQueue) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        queue(RULES)
    return caught.value.code


def test_offers_come_back_as_they_were_written(home: Path) -> None:
    assert read_offers(home / "prepared") == OFFERS
    assert (home / "prepared").stat().st_mode & 0o077 == 0


def test_a_mapping_is_done_once_and_kept_over_restarts(queues: Queues) -> None:
    assert queues(GOOD)(RULES) == OFFERS
    assert queues(GOOD)(RULES) == OFFERS
    assert (queues.home / "runs").read_text() == "x"


@pytest.mark.parametrize("changed", ["lots.csv", "potency.csv", "policy.toml", "cells/a.h5ad"])
def test_what_changed_is_mapped_again(queues: Queues, changed: str) -> None:
    queues(GOOD)(RULES)
    with (queues.home / changed).open("a") as file:
        file.write("\n")
    queues(GOOD)(RULES)
    assert (queues.home / "runs").read_text() == "xx"


def test_a_mapping_outlives_the_task_that_asked_for_it(queues: Queues) -> None:
    # Each task of the executor is a thread of its own, and the kernel ends a bound child with the thread that made it.
    queue = queues("time.sleep(1)\n" + GOOD, patience=0.2)
    with ThreadPoolExecutor(1) as first_task:
        assert first_task.submit(code_of, queue).result() is ErrorCode.MAPPING_UNDER_WAY
    queue.patience_seconds = 10.0
    assert queue(RULES) == OFFERS
    assert (queues.home / "runs").read_text() == "x"


def test_another_plan_is_mapped_apart(queues: Queues) -> None:
    queue = queues(GOOD)
    queue(RULES)
    queue(OTHER_RULES)
    assert (queues.home / "runs").read_text() == "xx"


def test_a_long_mapping_is_told_as_under_way_and_then_had(queues: Queues) -> None:
    queue = queues("time.sleep(1)\n" + GOOD, patience=0.2)
    assert code_of(queue) is ErrorCode.MAPPING_UNDER_WAY
    assert wait_until(lambda: code_or_none(queue) is None, timeout_seconds=10)
    assert queue(RULES) == OFFERS
    assert (queues.home / "runs").read_text() == "x"


def code_or_none(queue: MappingQueue) -> ErrorCode | None:
    try:
        queue(RULES)
    except ProtocolError as error:
        return error.code
    return None


def test_a_hanging_mapping_ends_by_its_own_limit_and_blocks_no_other_study(queues: Queues) -> None:
    hanging = queues(HANGS, patience=0.3, limit=0.6)
    assert code_of(hanging) is ErrorCode.MAPPING_UNDER_WAY
    hanging.command = running(GOOD)
    hanging.patience_seconds = 10.0
    assert hanging(OTHER_RULES) == OFFERS
    time.sleep(0.6)
    assert code_of(hanging) is ErrorCode.TIMED_OUT
    assert hanging(RULES) == OFFERS  # asked again, it starts again


def test_a_crashed_mapping_is_answered_with_a_code_and_started_again(queues: Queues) -> None:
    queue = queues(CRASHES)
    assert code_of(queue) is ErrorCode.INTERNAL
    queue.command = running(GOOD)
    assert queue(RULES) == OFFERS


def test_a_mapping_that_failed_tells_its_code(queues: Queues) -> None:
    assert code_of(queues(TELLS)) is ErrorCode.LOTS_UNSUITABLE


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (NoRoomError("no room on this disk"), ErrorCode.DISK_FULL),
        (InputError("nobody answers"), ErrorCode.ATLAS_MISSING),
        (ProtocolError(ErrorCode.ATLAS_MISSING, "It broke off."), ErrorCode.ATLAS_MISSING),
        (ProtocolError(ErrorCode.ATLAS_MISMATCH, "It is another."), ErrorCode.ATLAS_MISMATCH),
    ],
)
def test_an_atlas_that_cannot_be_had_is_answered_so_and_tried_again(
    queues: Queues, failure: Exception, code: ErrorCode
) -> None:
    tries: list[Sha256] = []

    def fetch(digest: Sha256) -> Path:
        tries.append(digest)
        if len(tries) == 1:
            raise failure
        return queues.home / "atlas"

    queue = queues(GOOD, atlas=fetch)
    assert code_of(queue) is code
    assert queue(RULES) == OFFERS
    assert tries == [RULES.plan.atlas.sha256] * 2


def test_a_mapping_task_without_a_home_ends_with_a_code(tmp_path: Path) -> None:
    assert main(tmp_path, StudyId("vegf-2026"), tmp_path / "out") == 1
    assert '"code": "lots-unreadable"' in (tmp_path / "out" / FAILURE_FILE).read_text()
