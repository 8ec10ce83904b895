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
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import InputError, InternalError
from site_agent.cells.bounds import damaged

if TYPE_CHECKING:
    from site_agent.cells.cell_source import CellSource

PATIENCE_SECONDS = 60.0
BYTES_PER_SECOND = 20 * 2**20
"""A file may take as long as a slow disk needs to read all of it, and a minute more."""

START_SECONDS = 180.0
"""How long a scout may take to load, on a machine that is busy with other work."""

MEMORY_BYTES = 2**30
_READY = b"ready\n"


class Task(StrEnum):
    """What the scout is asked to do to a file."""

    OPEN = "open"
    NAMES = "names"
    COLUMN = "column"
    OTHER_MATRICES = "other-matrices"


_PARTS = {
    Task.OPEN: "the HDF5 file",
    Task.NAMES: "the names of its cells",
    Task.COLUMN: "an obs column",
    Task.OTHER_MATRICES: "a layer",
}


@dataclass(eq=False)
class Scout:
    """Talks to the scouting process: one line of JSON each way.

    Attributes
    ----------
    patience_seconds : float
        How long an answer may take, besides the time to read the file from a slow disk.
    """

    patience_seconds: float = PATIENCE_SECONDS
    _process: subprocess.Popen[bytes] | None = None
    _ready: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def require(self, path: Path, layer: str | None, task: Task, name: str = "") -> None:
        """Raise unless the scout did ``task`` to the file and came back.

        Raises
        ------
        InputError
            What the scout found, or that it did not come back.
        """
        absolute = str(path.absolute())
        request = {"path": absolute, "layer": layer, "task": task, "name": name}
        with self._lock:
            answer = self._ask(json.dumps(request).encode() + b"\n", path)
        if answer is None:
            raise damaged(path, _PARTS[task], "the HDF5 library hangs or ends on it, or asks for too much memory")
        found = json.loads(answer)
        if not found["well"]:
            raise InputError(found["message"].replace(absolute, str(path)), hint=found["hint"])

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

    def start(self) -> None:
        """Start the scouting process if there is none, so that it loads while the caller does other things."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "site_agent.cells.scout"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # The same packages as here, however this process found them; no thread pools of its own.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
            )

    def _ask(self, request: bytes, path: Path) -> bytes | None:
        """Return the answer's line; None where the scout died or was too slow, and was ended."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        self.start()
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:  # pragma: no cover - start() made them
            return None
        if not self._ready:
            self._await_start(process)
        seconds = self.patience_seconds + path.stat().st_size / BYTES_PER_SECOND
        try:
            process.stdin.write(request)
            process.stdin.flush()
            answer = _line_of(process, seconds)
        except BrokenPipeError:
            answer = None
        if answer is None:
            self.close()
        return answer

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        if _line_of(process, START_SECONDS) != _READY:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)  # its pipe closes a moment before it is gone
            code = process.poll()
            self.close()
            how = f"it ended with code {code}" if code is not None else f"nothing for {START_SECONDS:.0f} s"
            raise InternalError(
                f"expected the process that reads cell files first to start, found: {how}",
                hint="free memory, or set crosslot up again; `python -m site_agent.cells.scout` shows why",
            )
        self._ready = True


def _line_of(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """Return the next line that the process writes; None where it ends or ``seconds`` pass before."""
    if process.stdout is None:  # pragma: no cover - start() made it
        return None
    deadline, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            return None
        piece = os.read(process.stdout.fileno(), 65_536)
        if not piece:
            return None
        line += piece
    return line


SCOUT = Scout()
atexit.register(SCOUT.close)


def main() -> None:
    """Answer requests until the asking process closes the line or ends."""
    _limit_memory()
    from site_agent.cells.sources_h5ad import open_hdf5  # noqa: PLC0415 - within the limit

    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, bool | str | None] = {"well": True}
        try:
            # Closed after each task: an open file could not be annotated or replaced.
            with open_hdf5(Path(request["path"]), request["layer"]) as source:
                _do(source, Task(request["task"]), request["name"])
        except InputError as error:
            answer = {"well": False, "message": str(error), "hint": error.hint}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _do(source: "CellSource", task: Task, name: str) -> None:
    match task:
        case Task.OPEN:
            pass
        case Task.NAMES:
            source.require_distinct_cells()
        case Task.COLUMN:
            source.column(name)
        case Task.OTHER_MATRICES:
            for _each in source.other_matrices():
                pass


def _limit_memory() -> None:
    """Let this process ask for a gigabyte beyond what it is born with."""
    try:
        import resource  # noqa: PLC0415 - not on every system

        status = Path("/proc/self/statm").read_text(encoding="ascii").split()
        held = int(status[5]) * os.sysconf("SC_PAGE_SIZE")  # data and stack
        resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY_BYTES, resource.RLIM_INFINITY))
    except (ImportError, OSError, ValueError, IndexError):
        return  # a deadline remains


if __name__ == "__main__":
    main()
