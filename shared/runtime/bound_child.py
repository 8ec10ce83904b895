"""Run a program that dies with its parent: ``python -I -S bound_child.py PARENT_PID PROGRAM ARGUMENT...``.

A supervisor that is killed cannot stop its children; on Linux the kernel does it then (prctl(2), PR_SET_PDEATHSIG,
which exec(2) keeps). Elsewhere the program just runs. This file is run as a script and imports nothing of crosslot, so
that it costs a few milliseconds.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent_pid: int, argv: list[str]) -> None:
    """Bind this process's life to its parent's and become the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the kernel was told
            sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606 - the argument vector of our own supervisor; no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
