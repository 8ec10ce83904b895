"""Where verified envelopes are kept: one interface, SQLite and memory behind it.

Rules
-----
1. The exact signed bytes are kept; nothing is derived at this level.
2. Adding the same envelope twice is the same as adding it once.
3. A lot's report is never overwritten: another envelope for the same lot and version is refused (the site must raise
   the version).
4. Reports come back sorted by (site, lot, version), whatever the order of arrival.
"""

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from coordinator.databases import opened
from protocol.identifiers import Pseudonym, Sha256, SiteId, StudyId
from shared.errors import InputError, RefusedError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
    study TEXT NOT NULL,
    site TEXT NOT NULL,
    lot TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (study, site, lot, version)
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    study TEXT NOT NULL,
    position INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (study, position)
) STRICT;
"""


@dataclass(frozen=True, kw_only=True, order=True)
class StoredReport:
    """A verified report envelope, byte for byte, with what it was filed under."""

    site: SiteId
    lot: Pseudonym
    version: int
    digest: Sha256
    envelope: bytes


class Store(Protocol):
    """Keeps reports and the collection's log of events, a study apart from the next."""

    def add(self, study: StudyId, report: StoredReport) -> bool:
        """Keep ``report``; return False where the very same one was there already.

        Raises
        ------
        RefusedError
            Another envelope is kept for that lot and version.
        """

    def reports(self, study: StudyId) -> tuple[StoredReport, ...]:
        """Return the study's reports, sorted by (site, lot, version)."""

    def append_event(self, study: StudyId, event: str) -> None:
        """Append one line to the study's log."""

    def events(self, study: StudyId) -> tuple[str, ...]:
        """Return the study's log in order."""


def _conflict(report: StoredReport) -> RefusedError:
    return RefusedError(
        f"{report.site}: lot {report.lot} version {report.version} is kept with other bytes",
        hint="a changed report must carry a higher version",
    )


class MemoryStore:
    """A store that lives as long as the process: for simulations and tests."""

    def __init__(self) -> None:
        self._reports: dict[tuple[StudyId, SiteId, Pseudonym, int], StoredReport] = {}
        self._events: dict[StudyId, list[str]] = {}

    def add(self, study: StudyId, report: StoredReport) -> bool:
        """Keep ``report`` (see :class:`Store`)."""
        key = (study, report.site, report.lot, report.version)
        kept = self._reports.setdefault(key, report)
        if kept is report:
            return True
        if kept.digest != report.digest:
            raise _conflict(report)
        return False

    def reports(self, study: StudyId) -> tuple[StoredReport, ...]:
        """Return the study's reports (see :class:`Store`)."""
        return tuple(sorted(report for key, report in self._reports.items() if key[0] == study))

    def append_event(self, study: StudyId, event: str) -> None:
        """Append one line to the study's log."""
        self._events.setdefault(study, []).append(event)

    def events(self, study: StudyId) -> tuple[str, ...]:
        """Return the study's log in order."""
        return tuple(self._events.get(study, ()))


class SqliteStore:
    """A store in one SQLite file (mode 0600); every change is durable when the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            with self._connection() as connection:
                connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{path}: cannot open the store: {error}", hint="choose a writable SQLite file") from error

    def _connection(self) -> AbstractContextManager[sqlite3.Connection]:
        return opened(self._path)

    def add(self, study: StudyId, report: StoredReport) -> bool:
        """Keep ``report`` (see :class:`Store`)."""
        row = (study, report.site, report.lot, report.version)
        with self._connection() as connection:
            inserted = connection.execute(
                "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*row, report.digest, report.envelope),
            ).rowcount
            if inserted:
                return True
            (digest,) = connection.execute(
                "SELECT digest FROM reports WHERE study = ? AND site = ? AND lot = ? AND version = ?", row
            ).fetchone()
        if digest != report.digest:
            raise _conflict(report)
        return False

    def reports(self, study: StudyId) -> tuple[StoredReport, ...]:
        """Return the study's reports (see :class:`Store`)."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT site, lot, version, digest, envelope FROM reports WHERE study = ? ORDER BY site, lot, version",
                (study,),
            ).fetchall()
        return tuple(
            StoredReport(site=SiteId(site), lot=Pseudonym(lot), version=version, digest=Sha256(digest), envelope=data)
            for site, lot, version, digest, data in rows
        )

    def append_event(self, study: StudyId, event: str) -> None:
        """Append one line to the study's log."""
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO events SELECT ?, COALESCE(MAX(position) + 1, 0), ? FROM events WHERE study = ?",
                (study, event, study),
            )

    def events(self, study: StudyId) -> tuple[str, ...]:
        """Return the study's log in order."""
        with self._connection() as connection:
            rows = connection.execute("SELECT event FROM events WHERE study = ? ORDER BY position", (study,)).fetchall()
        return tuple(event for (event,) in rows)
