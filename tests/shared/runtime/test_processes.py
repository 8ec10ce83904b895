"""A supervised tree: started, restarted, stopped, and never left behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.errors import RefusedError
from shared.runtime.processes import (
    ProcessSpec,
    Supervisor,
    accepts_connections,
    bound_argv,
    free_port,
    only_one,
    spawn,
    stop,
    wait_until,
)

SLEEPER = (sys.executable, "-S", "-c", "import time\nprint('up', flush=True)\ntime.sleep(60)")
STUBBORN = (
    sys.executable,
    "-S",
    "-c",
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)",
)


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_tree_restarts_what_dies_and_stops_all() -> None:
    lines: list[tuple[str, str]] = []
    seen: list[Mapping[str, int]] = []
    supervisor = Supervisor(
        [ProcessSpec(name="one", argv=SLEEPER), ProcessSpec(name="two", argv=SLEEPER)],
        lambda name, line: lines.append((name, line)),
    )

    def act() -> None:
        assert wait_until(lambda: len(seen) >= 1 and lines.count(("one", "up")) == 1, timeout_seconds=10)
        os.kill(supervisor.pids["one"], signal.SIGKILL)
        assert wait_until(lambda: lines.count(("one", "up")) == 2, timeout_seconds=10)

    problems: list[BaseException] = []

    def acting() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - carried over to the main thread
            problems.append(error)
        finally:
            supervisor.request_stop()

    thread = threading.Thread(target=acting)
    thread.start()
    supervisor.run(on_change=seen.append)
    thread.join()
    assert problems == []
    assert supervisor.pids == {}
    everyone = {pid for pids in seen for pid in pids.values()}
    assert len(everyone) == 3
    assert not any(alive(pid) for pid in everyone)
    assert ("serve", "stopped") in lines


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    child = spawn(ProcessSpec(name="stubborn", argv=STUBBORN))
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    stop(child, grace_seconds=0.2)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel binds children to parents on Linux only")
def test_children_of_a_killed_supervisor_die() -> None:
    program = (
        "import subprocess, sys, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from shared.runtime.processes import ProcessSpec, spawn\n"
        "child = spawn(ProcessSpec(name='c', argv=(sys.executable, '-S', '-c', 'import time; time.sleep(60)')))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(  # noqa: S603 - this interpreter, our own text
        [sys.executable, "-c", program, root], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not alive(pid), timeout_seconds=10)


def test_a_bound_program_does_not_start_once_its_parent_is_gone() -> None:
    argv = bound_argv((sys.executable, "-S", "-c", "print('ran')"))
    argv[4] = "1"  # some other process's number
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter
    assert done.stdout == ""


def test_a_second_service_of_one_folder_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "run" / "lock"
    with (
        only_one(lock, "the service"),
        pytest.raises(RefusedError, match="running already"),
        only_one(lock, "the service"),
    ):
        pass
    with only_one(lock, "the service"):
        assert lock.is_file()


def test_a_free_port_is_free() -> None:
    assert not accepts_connections(free_port())
