"""A second process that reads a file's tables first, so that a damaged file cannot hang or kill this one.

The HDF5 library trusts a file's inner pointers: damaged bytes were seen to send it round in circles, holding the
interpreter's lock, and to make it ask for gigabytes. What it will be asked to do to a file is therefore done once in a
process with a memory limit and a deadline. Only what ended well there is repeated here.

Rules:

1. One scout serves all files, one after the other; it starts with the first and ends with this process.
2. A scout that dies, or does not answer in time, is a damaged file, and the next file gets a new scout.
3. A scout that does not even start says nothing of the file: that is a fault of this installation or a machine short of
   memory, and is told as one.
4. The scout answers with "well", or with the very error that reading here would raise. No data comes from it.
5. An answer holds for the file as it stood when it was asked for: by its number, size and time of change.
"""

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shared.errors import InputError, InternalError
from site_agent.cells.bounds import damaged
from site_agent.cells.scouting import READY, Task

PATIENCE_SECONDS = 60.0
BYTES_PER_SECOND = 20 * 2**20
"""A file may take as long as a slow disk needs to read all of it, and a minute more."""

START_SECONDS = 180.0
"""How long a scout may take to load, on a machine that is busy with other work."""

_PROGRAM: Final = "import sys; sys.path[:] = sys.argv[1:]; from site_agent.cells.scouting import main; main()"
_ROOT: Final = str(Path(__file__).parents[2])

_PARTS = {
    Task.OPEN: "the HDF5 file",
    Task.NAMES: "the names of its cells",
    Task.COLUMN: "an obs column",
    Task.OTHER_MATRICES: "a layer",
}


@dataclass(frozen=True)
class _Errand:
    """A task on a file as it stands: a file that changes meanwhile makes it another errand."""

    path: Path
    layer: str | None
    task: Task
    name: str
    number: int
    size: int
    changed_ns: int


@dataclass(eq=False)
class Scout:
    """Talks to the scouting process: a line of JSON for each request, and one for each answer.

    Attributes
    ----------
    patience_seconds : float
        How long an answer may take, besides the time to read the file from a slow disk.
    """

    patience_seconds: float = PATIENCE_SECONDS
    _process: subprocess.Popen[bytes] | None = None
    _ready: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sent: deque[_Errand] = field(default_factory=deque)
    _answers: dict[_Errand, bytes] = field(default_factory=dict)
    _read: bytes = b""

    def look_ahead(self, path: Path, layer: str | None, tasks: Sequence[Task]) -> None:
        """Set the scout to what ``require`` will soon ask of a file: it works while the caller does other things."""
        self.start()
        with self._lock:
            if not self._sent and path.is_file():
                self._answers.clear()
                self._send([_errand(path, layer, task) for task in tasks])

    def require(self, path: Path, layer: str | None, task: Task, name: str = "") -> None:
        """Raise unless the scout did ``task`` to the file and came back.

        Raises
        ------
        InputError
            What the scout found, or that it did not come back.
        """
        errand = _errand(path, layer, task, name)
        with self._lock:
            answer = self._answer(errand)
        if answer is None:
            raise damaged(path, _PARTS[task], "the HDF5 library hangs or ends on it, or asks for too much memory")
        found = json.loads(answer)
        if not found["well"]:
            raise InputError(found["message"].replace(str(errand.path), str(path)), hint=found["hint"])

    def let_go(self) -> None:
        """End the scout if it is at work on what nobody waits for: it would hold the file open."""
        with self._lock:
            if self._sent:
                self.close()

    def close(self) -> None:
        """End the scouting process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not yet written to a dead process
                        pipe.close()
            self._process = None
            self._ready = False
            self._read = b""
            self._sent.clear()
            self._answers.clear()

    def start(self) -> None:
        """Start the scouting process if there is none, so that it loads while the caller does other things."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - this Python and our own program
                # Neither Python's environment nor its start files are read: the packages' folders are handed over.
                [sys.executable, "-I", "-S", "-c", _PROGRAM, _ROOT, *filter(None, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # no thread pool of its own
            )

    def _answer(self, errand: _Errand) -> bytes | None:
        """Return the answer's line; None where the scout died or was too slow on it, and was ended."""
        while errand not in self._answers:
            if errand not in self._sent:  # or no longer: the scout ended on another errand
                self.start()
                self._send([errand])
            if self._receive() == errand:
                return None
        return self._answers.pop(errand)

    def _send(self, errands: Sequence[_Errand]) -> None:
        """Ask for ``errands`` of one file."""
        tasks = [(each.task, each.name) for each in errands]
        request = {"path": str(errands[0].path), "layer": errands[0].layer, "tasks": tasks}
        self._sent.extend(errands)
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it died: no answer will come
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()

    def _receive(self) -> _Errand | None:
        """Note the answer to the errand that was sent first; where none comes, end the scout and return the errand."""
        if not self._ready:
            self._await_start()
        errand = self._sent.popleft()
        line = self._line(self.patience_seconds + errand.size / BYTES_PER_SECOND)
        if line is None:
            self.close()
            return errand
        self._answers[errand] = line
        return None

    def _await_start(self) -> None:
        process = self._process
        if self._line(START_SECONDS) == READY:
            self._ready = True
            return
        code = None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)  # its pipe closes a moment before it is gone
            code = process.poll()
        self.close()
        how = f"it ended with code {code}" if code is not None else f"nothing for {START_SECONDS:.0f} s"
        raise InternalError(
            f"expected the process that reads cell files first to start, found: {how}",
            hint="free memory, or set crosslot up again; `python -m site_agent.cells.scouting` shows why",
        )

    def _line(self, seconds: float) -> bytes | None:
        """Return the next line that the process writes; None where it ends or ``seconds`` pass before."""
        pipe = None if self._process is None else self._process.stdout
        if pipe is None:  # pragma: no cover - start() made it
            return None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                return None
            piece = os.read(pipe.fileno(), 65_536)
            if not piece:
                return None
            self._read += piece
        line, self._read = self._read.split(b"\n", 1)
        return line + b"\n"


def _errand(path: Path, layer: str | None, task: Task, name: str = "") -> _Errand:
    found = path.stat()
    return _Errand(path.absolute(), layer, task, name, found.st_ino, found.st_size, found.st_mtime_ns)


SCOUT = Scout()
atexit.register(SCOUT.close)
