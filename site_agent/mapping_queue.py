"""The agent's source of reports over a network: mappings run beside it, one process a study, and are waited for.

The waiting is brief, so that an answer always comes in time.

Rules
-----
1. What was mapped is kept, and used again while plan, policy, tables and cell files are the same.
2. A mapping that takes longer than the agent waits answers ``mapping-under-way``; the coordinator asks again.
3. A mapping ends with its time limit, and then, or where it crashed, its study is answered with a code; asked again, it
   starts again. No other study waits for it.
4. The atlas is fetched first, by whoever the queue is given for that; an atlas that cannot be had is answered so.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from protocol.codec import canonical_json, sha256
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Sha256
from protocol.policy import EffectiveRules
from shared.errors import CrosslotError, NoRoomError
from shared.runtime.processes import bound_argv
from site_agent.mapping_task import FAILURE_FILE, OFFERS_FILE, read_offers
from site_agent.release.offers import NotOffered, Offer

_TABLES: Final = ("lots.csv", "potency.csv", "policy.toml")
_TICK_SECONDS: Final = 0.1
_KEPT: Final = 20
FetchAtlas = Callable[[Sha256], Path]
"""Returns where the atlas of a hash lies; raises where it cannot be had."""


@dataclass(kw_only=True)
class _Mapping:
    """A mapping under way: first its atlas, then its process."""

    folder: Path
    started: float
    atlas: Future[Path]
    process: subprocess.Popen[bytes] | None = None


@dataclass(kw_only=True, eq=False)
class MappingQueue:
    """A source of reports for :class:`site_agent.agent.Agent`.

    Attributes
    ----------
    home : Path
        The site's home.
    fetch_atlas : callable
        Brings an atlas; it may take long.
    patience_seconds : float
        How long one answer waits for a mapping.
    limit_seconds : float
        The time limit of a mapping.
    log : callable
        Takes lines for the site's log.
    clock : callable
        Monotonic seconds.
    command : tuple of str
        What runs a mapping; home, study and folder are appended.
    """

    home: Path
    fetch_atlas: FetchAtlas
    patience_seconds: float
    limit_seconds: float
    log: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    command: tuple[str, ...] = (sys.executable, "-m", "site_agent.mapping_task")
    _under_way: dict[str, _Mapping] = field(default_factory=dict)
    # The kernel ends a bound child with the thread that started it: so it is one that lives as long as the queue, and
    # not that of the task which asked.
    _starting: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="mapping"))
    _fetching: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="atlas"))

    def __call__(self, rules: EffectiveRules) -> tuple[Offer | NotOffered, ...]:
        """Return the offers of a study's lots.

        Raises
        ------
        ProtocolError
            ``mapping-under-way``: ask again. Any other code: the mapping failed, was too long, or lacks its atlas.
        """
        key = self._key(rules)
        done = self._folder(key) / OFFERS_FILE
        end = self.clock() + self.patience_seconds
        while not done.is_file():
            self._step(key, rules)
            if done.is_file():
                break
            if self.clock() >= end:
                raise ProtocolError(ErrorCode.MAPPING_UNDER_WAY)
            time.sleep(_TICK_SECONDS)
        finished = self._under_way.pop(key, None)
        if finished is not None and finished.process is not None:
            finished.process.wait()  # its last act was the file
        return read_offers(done)

    def close(self) -> None:
        """End every mapping that is under way."""
        for mapping in self._under_way.values():
            _kill(mapping)
        for pool in (self._fetching, self._starting):
            pool.shutdown(wait=False, cancel_futures=True)

    def _step(self, key: str, rules: EffectiveRules) -> None:
        mapping = self._under_way.get(key)
        if mapping is None:
            self._begin(key, rules)
            return
        if self.clock() - mapping.started > self.limit_seconds:
            _kill(mapping)
            del self._under_way[key]
            raise ProtocolError(ErrorCode.TIMED_OUT, f"The mapping took longer than {self.limit_seconds:.0f} s.")
        if mapping.process is None:
            self._start_once_the_atlas_is_here(key, mapping, rules)
        elif (code := mapping.process.poll()) is not None and not (mapping.folder / OFFERS_FILE).is_file():
            del self._under_way[key]
            raise _failure_of(mapping, code)

    def _begin(self, key: str, rules: EffectiveRules) -> None:
        self._forget_old()
        folder = self._folder(key)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        atlas = self._fetching.submit(self.fetch_atlas, rules.plan.atlas.sha256)
        self._under_way[key] = _Mapping(folder=folder, started=self.clock(), atlas=atlas)
        self.log(f"study {rules.plan.study}: mapping its lots")

    def _start_once_the_atlas_is_here(self, key: str, mapping: _Mapping, rules: EffectiveRules) -> None:
        if not mapping.atlas.done():
            return
        try:
            mapping.atlas.result()
        except CrosslotError as error:
            del self._under_way[key]
            raise ProtocolError(_code_of(error), str(error), hint=error.hint) from error
        argv = [*self.command, str(self.home), rules.plan.study, str(mapping.folder)]
        mapping.process = self._starting.submit(_started, argv, mapping.folder / "mapping.log").result()

    def _folder(self, key: str) -> Path:
        return self.home / "mapped" / key

    def _key(self, rules: EffectiveRules) -> str:
        return sha256(canonical_json([rules.plan_sha256, rules.policy_sha256, list(_inputs(self.home))]))[:32]

    def _forget_old(self) -> None:
        folders = sorted((self.home / "mapped").glob("*"), key=lambda path: path.stat().st_mtime)
        for folder in folders[:-_KEPT]:
            if folder.name not in self._under_way:
                shutil.rmtree(folder, ignore_errors=True)


def _inputs(home: Path) -> Iterator[list[str | int]]:
    """Yield what tells one state of a site's tables and cell files from another."""
    for name in _TABLES:
        path = home / name
        yield [name, sha256(path.read_bytes()) if path.is_file() else ""]
    lots = home / "lots.csv"
    if not lots.is_file():
        return
    text = lots.read_bytes().decode("utf-8-sig", errors="replace")
    named = sorted({row.get("file") or "" for row in csv.DictReader(io.StringIO(text))})
    for name in named:
        path = home / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for each in files:
            with suppress(OSError):
                status = each.stat()
                yield [str(each), status.st_size, status.st_mtime_ns]


def _started(argv: Sequence[str], log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - an argument vector of our own; no shell
            bound_argv(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _failure_of(mapping: _Mapping, code: int) -> ProtocolError:
    try:
        said = json.loads((mapping.folder / FAILURE_FILE).read_bytes())
        return ProtocolError(ErrorCode(said["code"]), said["words"])
    except (OSError, ValueError, KeyError):
        return ProtocolError(ErrorCode.INTERNAL, f"The mapping ended with {code}; see {mapping.folder}/mapping.log.")


def _code_of(error: CrosslotError) -> ErrorCode:
    """Return the code of an atlas that could not be had."""
    if isinstance(error, NoRoomError):
        return ErrorCode.DISK_FULL
    mismatch = isinstance(error, ProtocolError) and error.code is ErrorCode.ATLAS_MISMATCH
    return ErrorCode.ATLAS_MISMATCH if mismatch else ErrorCode.ATLAS_MISSING


def _kill(mapping: _Mapping) -> None:
    mapping.atlas.cancel()
    if mapping.process is not None and mapping.process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(mapping.process.pid, 9)
        mapping.process.wait()
