"""The site's ledger as it is kept: everything that was asked and released, appended and never changed.

``protocol.ledger`` has the chain and its rules; here they meet a log.
"""

from collections.abc import Sequence

from protocol.codec import decode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, open_envelope
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
from protocol.signing import SigningKey
from shared.errors import RefusedError
from site_agent.release.append_log import AppendLog

_ATTEMPTS = 5  # the agent and the steward's review append to one ledger; a loser reads again


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
        self._latest: dict[LedgerEvent, Sha256 | None] = {}
        self._looked_at = 0

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
            If other processes were quicker, again and again.
        """
        for attempt in range(_ATTEMPTS):
            head = self.head()
            try:
                self._log.append(seal_entry(record, head, site=self._site, key=self._key), position=head.length)
            except RefusedError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                break
        return self.head()

    def last_subject(self, event: LedgerEvent) -> Sha256 | None:
        """Return what the latest entry of one kind is about, None where there is none; the chain is not verified.

        Raises
        ------
        ProtocolError
            If an entry cannot be read.
        """
        # Only what is new is read: entries are never changed.
        for envelope in self._log.read(self._looked_at):
            opened = open_envelope(envelope, PayloadType.LEDGER_ENTRY, [self._key.verifying_key])
            entry = decode(LedgerEntry, opened.payload, limit=PAYLOAD_LIMITS[PayloadType.LEDGER_ENTRY])
            self._latest[entry.record.event] = entry.record.subject_sha256
            self._looked_at += 1
        return self._latest.get(event)

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
