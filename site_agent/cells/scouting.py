"""What the scouting process does; ``site_agent.cells.scout`` states the rules. It loads little, to be ready soon.

A request is a line of JSON that names a file and tasks; each task is answered by a line, in order.
"""

import gc
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING

from shared.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from site_agent.cells.cell_source import CellSource

READY = b"ready\n"
MEMORY_BYTES = 2**30


class Task(StrEnum):
    """What the scout is asked to do to a file."""

    OPEN = "open"
    NAMES = "names"
    COLUMN = "column"
    OTHER_MATRICES = "other-matrices"


def main() -> None:
    """Answer requests from stdin until the asking process closes it or ends."""
    limit_memory()
    serve(sys.stdin.buffer, sys.stdout.buffer)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    gc.disable()  # what loading makes lives on, and every pass would visit it
    import site_agent.cells.sources_h5ad  # noqa: F401, PLC0415 - within the limit of memory

    gc.freeze()
    gc.enable()
    answers.write(READY)
    answers.flush()
    for line in requests:
        request = json.loads(line)
        for answer in _answers(Path(request["path"]), request["layer"], request["tasks"]):
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()


def _answers(path: Path, layer: str | None, tasks: list[tuple[str, str]]) -> "Iterator[dict[str, bool | str | None]]":
    """Yield what came of each task; a file that does not open gives its error for each."""
    from site_agent.cells.sources_h5ad import open_hdf5  # noqa: PLC0415 - as above

    try:
        with open_hdf5(path, layer) as source:
            for task, name in tasks[:-1]:
                yield _outcome(source, Task(task), name)
            last = _outcome(source, Task(tasks[-1][0]), tasks[-1][1])
    except InputError as error:
        for _task in tasks:
            yield _told(error)
    else:
        yield last  # once the file is closed: an open one could not be annotated or replaced


def _outcome(source: "CellSource", task: Task, name: str) -> dict[str, bool | str | None]:
    try:
        _do(source, task, name)
    except InputError as error:
        return _told(error)
    return {"well": True}


def _told(error: InputError) -> dict[str, bool | str | None]:
    return {"well": False, "message": str(error), "hint": error.hint}


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


def limit_memory() -> None:
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
