"""Writing files so that a failure leaves nothing half-written."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.errors import InputError, NoRoomError

PRIVATE = 0o600
READABLE = 0o644
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
MAKE_ROOM = "make room on this disk, then do the same again; nothing was lost"


def cannot_write(path: Path, error: OSError) -> InputError:
    """Return what a failed write means for a person; a full disk is told apart from a forbidden folder."""
    if error.errno in _NO_ROOM:
        return NoRoomError(f"{path}: disk-full: cannot write: {error.strerror}", hint=MAKE_ROOM)
    return InputError(f"{path}: cannot write here: {error.strerror}", hint="choose a folder you may write")


def write_atomically(path: Path, data: bytes, *, mode: int = READABLE) -> None:
    """Write ``data`` to ``path`` by way of a temporary file beside it: the old content or the new, never a part.

    Raises
    ------
    NoRoomError
        The disk is full; what was there before is there still.
    InputError
        The folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_bounded(path: Path, *, limit: int, what: str) -> bytes:
    """Return the bytes of ``path``, at most ``limit`` of them.

    Raises
    ------
    InputError
        The file is missing, unreadable or larger than ``limit`` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected {what}, found no file", hint="check the path") from error
    except OSError as error:
        raise InputError(f"{path}: expected {what}, cannot read it: {error.strerror}") from error
    if len(data) > limit:
        raise InputError(
            f"{path}: expected {what} of at most {limit} bytes, found more", hint="is this the right file?"
        )
    return data


@contextmanager
def appearing_whole(out: Path, *, replaces: str | None = None) -> Iterator[Path]:
    """Give a folder to write into; it becomes ``out`` at the end, or vanishes on failure.

    Parameters
    ----------
    out : Path
        Where the folder shall stand.
    replaces : str, optional
        A file by which an earlier output of the same command is known: such a folder is replaced, at the end.

    Raises
    ------
    InputError
        ``out`` exists and is neither an empty folder nor an earlier output, or cannot be written.
    """
    is_earlier_output = replaces is not None and (out / replaces).is_file()
    if out.exists() and not is_earlier_output and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: expected a new or empty folder, found one with content", hint="choose another --out")
    made = [folder for folder in out.parents if not folder.exists()]  # the deepest first
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        _remove_empty(made)
        raise cannot_write(out, error) from error
    try:
        yield work
        work.chmod(0o755)
        if is_earlier_output:
            shutil.rmtree(out)
        elif out.is_dir():
            out.rmdir()
        work.rename(out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        _remove_empty(made)
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # absent, or another process has put something there meanwhile
            folder.rmdir()
