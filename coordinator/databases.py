"""One SQLite file, opened for the length of a block: all of it is kept when the block ends well, and none of it else.

A full disk is a named state: SQLite undoes what was begun, and the same may be done again once there is room.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.errors import NoRoomError
from shared.runtime.files import MAKE_ROOM

_BUSY_SECONDS: Final = 30.0
_FULL: Final = sqlite3.SQLITE_FULL
_PRIMARY_CODE: Final = 0xFF
_NO_ROOM_BYTES: Final = 256 * 1024


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection; commit at the end of the block, or undo it.

    Raises
    ------
    NoRoomError
        The disk is full; nothing of the block was kept.
    sqlite3.Error
        Whatever else SQLite says.
    """
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if not is_full(path, error):
            raise
        raise NoRoomError(f"{path}: disk-full: {error}", hint=MAKE_ROOM) from error


def is_full(path: Path, error: sqlite3.OperationalError) -> bool:
    """Return whether it is for want of room that SQLite failed; it says so in several ways, as its journal is kept."""
    if getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE == _FULL:
        return True
    return no_room_at(path)


def no_room_at(path: Path) -> bool:
    """Return whether the disk of a file has no room left."""
    return shutil.disk_usage(path.parent).free < _NO_ROOM_BYTES
