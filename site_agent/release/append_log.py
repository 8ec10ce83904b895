"""An append-only log of byte records: what the airlock and the ledger stand on.

A record, once appended, is neither changed nor removed through this interface; and it is appended whole or not at all.
Two writers that append at the same time never take the same place: the second is refused and reads again.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Final, Protocol

from shared.errors import InputError, RefusedError
from shared.runtime.files import cannot_write

_NAME: Final = re.compile(r"(\d{9})\.json")
_RECORD_LIMIT: Final = 1024 * 1024


class AppendLog(Protocol):
    """Records in their order."""

    def read(self, start: int = 0) -> tuple[bytes, ...]:
        """Return the records from number ``start`` on, oldest first."""

    def append(self, record: bytes, *, position: int) -> None:
        """Append a record as number ``position``, counted from 0.

        Raises
        ------
        RefusedError
            If the log does not end just before ``position``: another writer was quicker.
        """


class MemoryLog:
    """A log that lives as long as the process: for simulations and tests."""

    def __init__(self) -> None:
        self._records: list[bytes] = []

    def read(self, start: int = 0) -> tuple[bytes, ...]:
        """Return the records from number ``start`` on, oldest first."""
        return tuple(self._records[start:])

    def append(self, record: bytes, *, position: int) -> None:
        """Append a record as number ``position``.

        Raises
        ------
        RefusedError
            If the log does not end just before ``position``.
        """
        if position != len(self._records):
            raise _outrun()
        self._records.append(record)


class FolderLog:
    """A log in a folder of its own, one file a record, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, start: int = 0) -> tuple[bytes, ...]:
        """Return the records from number ``start`` on, oldest first.

        Raises
        ------
        InputError
            If a record is absent between two others, or a file cannot be read.
        """
        if start == 0:
            self._check_none_is_absent()
        records: list[bytes] = []
        try:
            while self._path(start + len(records)).exists():
                records.append(self._path(start + len(records)).read_bytes())
        except OSError as error:
            raise InputError(f"{self._folder}: cannot read the log: {error.strerror}") from None
        return tuple(records)

    def append(self, record: bytes, *, position: int) -> None:
        """Append a record as number ``position``.

        Raises
        ------
        RefusedError
            If the log does not end just before ``position``.
        NoRoomError
            If the disk is full; the log is as it was.
        InputError
            If the folder cannot be written.
        """
        if len(record) > _RECORD_LIMIT:
            raise InputError(f"{self._folder}: expected a record of at most {_RECORD_LIMIT} bytes")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if position > 0 and not self._path(position - 1).exists():
                raise _outrun()
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")  # mode 0600
            temporary = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(record)
                    file.flush()
                    os.fsync(file.fileno())
                # A link, unlike a rename, does not replace what is there: of two writers one fails.
                self._path(position).hardlink_to(temporary)
            finally:
                temporary.unlink(missing_ok=True)
            self._sync_folder()
        except FileExistsError:
            raise _outrun() from None
        except OSError as error:
            raise cannot_write(self._folder, error) from None

    def _path(self, position: int) -> Path:
        return self._folder / f"{position:09d}.json"

    def _check_none_is_absent(self) -> None:
        try:
            names = [entry.name for entry in self._folder.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self._folder}: cannot read the log: {error.strerror}") from None
        positions = {int(match.group(1)) for name in names if (match := _NAME.fullmatch(name))}
        missing = set(range(len(positions))) - positions
        if missing:
            raise InputError(
                f"{self._folder}: record {min(missing)} is absent and later ones are there",
                hint="restore the folder from a backup; nothing is released meanwhile",
            )

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _outrun() -> RefusedError:
    return RefusedError("the log has grown since it was read: another process writes to it", hint="try again")
