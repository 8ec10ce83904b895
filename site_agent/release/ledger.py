"""The site's ledger as it is kept: everything that was asked and released, appended and never changed.

``protocol.ledger`` has the chain and its rules; here they meet a log. What was released of a lot before is read from
here too: the disclosure rules are closed over it.
"""

from collections.abc import Mapping, Sequence

from protocol.codec import sha256
from protocol.identifiers import Sha256, SiteId
from protocol.ledger import (
    FIRST_PREVIOUS,
    Checkpoint,
    Head,
    LedgerEntry,
    LedgerEvent,
    LedgerRecord,
    seal_entry,
    verify_ledger,
)
from protocol.report import LotReport
from protocol.signing import SigningKey
from shared.errors import InputError
from site_agent.release.append_log import AppendLog
from site_agent.release.earlier_releases import EarlierRelease


class Ledger:
    """One site's ledger.

    Parameters
    ----------
    log
        Where the entries are kept.
    site, key
        Whose ledger it is.
    """

    def __init__(self, log: AppendLog, *, site: SiteId, key: SigningKey) -> None:
        self._log = log
        self._site = site
        self._key = key
        self._head = Head(length=0, last_sha256=FIRST_PREVIOUS)

    def head(self) -> Head:
        """Return where the ledger ends; a checkpoint countersigns it."""
        for envelope in self._log.read(self._head.length):
            self._head = Head(length=self._head.length + 1, last_sha256=sha256(envelope))
        return self._head

    def append(self, record: LedgerRecord) -> Head:
        """Append what happened, signed and chained, and return where the ledger ends now.

        Raises
        ------
        RefusedError
            If another process appended meanwhile.
        """
        head = self.head()
        self._log.append(seal_entry(record, head, site=self._site, key=self._key), position=head.length)
        return self.head()

    def envelopes(self) -> tuple[bytes, ...]:
        """Return the whole ledger as evidence, oldest first."""
        return self._log.read()

    def verify(self, checkpoints: Sequence[Checkpoint] = ()) -> tuple[LedgerEntry, ...]:
        """Return all entries, if the ledger holds from end to end.

        Raises
        ------
        LedgerError
            If it does not.
        """
        return verify_ledger(self.envelopes(), site=self._site, key=self._key.verifying_key, checkpoints=checkpoints)


def earlier_releases(
    entries: Sequence[LedgerEntry],
    reports: Mapping[Sha256, LotReport],
    *,
    lots: frozenset[str],
    cells_sha256: Sha256,
) -> tuple[EarlierRelease, ...]:
    """Return everything that was released of one lot before.

    Parameters
    ----------
    entries
        The verified ledger.
    reports
        Released reports by the hash of their payload, as the airlock keeps them.
    lots
        The lot's pseudonyms in all studies of this site.
    cells_sha256
        Which cells the new report is made of, by the same reckoning as the ledger's.

    Raises
    ------
    InputError
        If the ledger tells of a release that ``reports`` lacks: then nothing more may leave of the lot.
    """
    found: list[EarlierRelease] = []
    for entry in entries:
        record = entry.record
        if record.event is not LedgerEvent.RELEASED or record.lot not in lots or record.subject_sha256 is None:
            continue
        report = reports.get(record.subject_sha256)
        if report is None:
            raise InputError(
                f"the ledger tells of a release that the airlock does not hold: {record.subject_sha256[:16]}...",
                hint="restore the airlock from a backup; nothing is released meanwhile",
            )
        found.append(EarlierRelease(report=report, same_cells=record.cells_sha256 == cells_sha256))
    return tuple(found)
