"""A supervised tree of processes: started in order, restarted when one dies, stopped in reverse order.

Rules
-----
1. A child dies with its supervisor, however that ends (``bound_child``); a supervisor leaves no process behind.
2. A child that dies is started again, after a pause that doubles up to half a minute and is forgotten after a minute
   of life.
3. SIGTERM and SIGINT stop the tree: each child gets SIGTERM and ten seconds, then SIGKILL.
4. What a child prints comes out line by line under its name.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from shared.errors import RefusedError

LOOPBACK: Final = "127.0.0.1"
_BOUND_CHILD: Final = Path(__file__).with_name("bound_child.py")
_GRACE_SECONDS: Final = 10.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0
_TICK_SECONDS: Final = 0.1
_LONGEST_LINE: Final = 2_000

Log = Callable[[str, str], None]
"""Takes the name of a process and one line."""


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """One process of a tree: its name, its argument vector, and what its environment has besides."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def bound_argv(argv: Sequence[str]) -> list[str]:
    """Return the argument vector that runs ``argv`` bound to the life of this process."""
    return [sys.executable, "-I", "-S", str(_BOUND_CHILD), str(os.getpid()), *argv]


def spawn(spec: ProcessSpec) -> subprocess.Popen[str]:
    """Start a process bound to this one, in a session of its own; its output is one stream of lines."""
    return subprocess.Popen(  # noqa: S603 - an argument vector of our own; no shell
        bound_argv(spec.argv),
        env={**os.environ, **spec.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str], *, grace_seconds: float = _GRACE_SECONDS) -> None:
    """End a process: SIGTERM, then SIGKILL once the grace is over."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def no_proxy_on_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the two variables by which a proxy is passed over on loopback, besides where it was passed over before."""
    passed = {each.strip() for name in ("no_proxy", "NO_PROXY") for each in environment.get(name, "").split(",")}
    value = ",".join(sorted((passed - {""}) | {LOOPBACK}))
    return {"no_proxy": value, "NO_PROXY": value}


def free_port() -> int:
    """Return a TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(ready: Callable[[], bool], *, timeout_seconds: float, interval_seconds: float = _TICK_SECONDS) -> bool:
    """Return whether ``ready`` came true in time."""
    end = time.monotonic() + timeout_seconds
    while not ready():
        if time.monotonic() >= end:
            return False
        time.sleep(interval_seconds)
    return True


def accepts_connections(port: int) -> bool:
    """Return whether something listens on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


@contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file while the block runs.

    Raises
    ------
    RefusedError
        Another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RefusedError(f"{what} is running already", hint="stop the other one first") from None
        yield


class Supervisor:
    """Keeps the processes of a tree alive until it is told to stop.

    Parameters
    ----------
    specs
        In the order of starting.
    log
        Takes what the processes print, and the supervisor's own lines under the name ``serve``.
    """

    def __init__(self, specs: Sequence[ProcessSpec], log: Log) -> None:
        self._specs = tuple(specs)
        self._log = log
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        self._pause = dict.fromkeys((spec.name for spec in specs), 0.5)
        self._started: dict[str, float] = {}
        self._again: dict[str, float] = {}
        self._stopping = threading.Event()

    def request_stop(self) -> None:
        """Make :meth:`run` return, from a signal handler or another thread."""
        self._stopping.set()

    @property
    def pids(self) -> Mapping[str, int]:
        """The processes that run now."""
        return {name: child.pid for name, child in self._children.items() if child.poll() is None}

    def run(self, *, on_change: Callable[[Mapping[str, int]], None] = lambda _pids: None) -> None:
        """Start the tree and keep it until a stop is requested; ``on_change`` hears of every start and death.

        It must run in the main thread: the kernel binds a child to the thread that started it.
        """
        try:
            for spec in self._specs:
                self._start(spec)
            on_change(self.pids)
            while not self._stopping.wait(_TICK_SECONDS):
                if self._look_after():
                    on_change(self.pids)
        finally:
            self._log("serve", "stopping")
            for spec in reversed(self._specs):
                if (child := self._children.get(spec.name)) is not None:
                    stop(child)
            for reader in self._readers:
                reader.join(1.0)
            self._log("serve", "stopped")

    def _start(self, spec: ProcessSpec) -> None:
        child = spawn(spec)
        self._children[spec.name] = child
        self._started[spec.name] = time.monotonic()
        reader = threading.Thread(target=self._read, args=(spec.name, child), daemon=True, name=f"log-{spec.name}")
        reader.start()
        self._readers = [each for each in self._readers if each.is_alive()] + [reader]
        self._log("serve", f"started {spec.name}, process {child.pid}")

    def _read(self, name: str, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None  # noqa: S101 - spawn gives every child a pipe
        with suppress(ValueError), child.stdout:  # closed by stop while it was read
            for line in child.stdout:
                if text := line.rstrip():
                    self._log(name, text[:_LONGEST_LINE])

    def _look_after(self) -> bool:
        now, changed = time.monotonic(), False
        for spec in self._specs:
            name = spec.name
            code = self._children[name].poll()
            if code is None:
                if now - self._started[name] > _STEADY_SECONDS:
                    self._pause[name] = 0.5
                continue
            if name not in self._again:
                self._log("serve", f"{name} ended with {code}; starting it again in {self._pause[name]:.1f} s")
                self._again[name] = now + self._pause[name]
                self._pause[name] = min(2 * self._pause[name], _LONGEST_PAUSE_SECONDS)
                changed = True
            elif now >= self._again[name]:
                del self._again[name]
                self._start(spec)
                changed = True
        return changed


@contextmanager
def stopped_by_signals(stop_now: Callable[[], None]) -> Iterator[None]:
    """Call ``stop_now`` on SIGTERM and SIGINT while the block runs."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop_now()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
