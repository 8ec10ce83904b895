"""Writing files so that a failure leaves nothing half-written."""

import os
import tempfile
from pathlib import Path

from shared.errors import InputError

PRIVATE = 0o600
READABLE = 0o644


def write_atomically(path: Path, data: bytes, *, mode: int = READABLE) -> None:
    """Write ``data`` to ``path`` by way of a temporary file beside it: the old content or the new, never a part.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(
            f"{path}: cannot write here: {error.strerror}", hint="choose a folder you may write"
        ) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
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
