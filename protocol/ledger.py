"""The site's ledger: a hash-chained, signed record of everything that was asked of a site and released by it.

An entry is sealed by the site (payload type ledger-entry) and names its number, counted from 0, and the SHA-256 of the
envelope before it, which for the first is 64 zeros (SPEC 6.1). So a flipped bit, a removed, an added or a reordered
entry breaks the chain or a signature. A removed tail breaks neither: against it the coordinator countersigns now and
then the ledger's length and its last hash, a checkpoint, which the ledger must still contain (SPEC 6.3).

An entry names hashes, codes and pseudonyms, nothing of a lot. Whoever holds the site's public key can verify all of it
offline.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from protocol.codec import decode, encode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, open_envelope, seal
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Digest, Instant, LotPseudonym, Sha256, SiteId, SiteSlug, StudyId, StudySlug
from protocol.message import Message
from protocol.signing import SigningKey, VerifyingKey
from shared.errors import RefusedError

FIRST_PREVIOUS: Final = Sha256("0" * 64)
"""What the first entry names as its predecessor."""


class LedgerEvent(StrEnum):
    """What a ledger tells of."""

    ASKED = "asked"  # a query came
    ANSWERED = "answered"  # an answer left, with or without reports
    SUBMITTED = "submitted"  # a report entered the airlock
    APPROVED = "approved"
    REFUSED = "refused"
    WITHHELD = "withheld"  # a steward chose clusters of a lot to withhold
    OFFERED_AGAIN = "offered-again"  # a steward let a refused lot be offered again
    NOISE_COMMITTED = "noise-committed"  # the noise of a report was paid for from its lot's budget
    RELEASED = "released"  # a report was sealed
    POLICY_CHANGED = "policy-changed"
    TERMS_ACCEPTED = "terms-accepted"


class LedgerRecord(Message):
    """What one entry tells, without its place in the chain."""

    event: LedgerEvent
    at: Instant
    study: StudySlug | None = None
    lot: LotPseudonym | None = None
    subject_sha256: Digest | None = None  # of the query's, answer's, report's or policy's exact bytes
    envelope_sha256: Digest | None = None  # of what left
    cells_sha256: Digest | None = None  # which cells a report was made of, by the site's own reckoning
    automatic: bool | None = None  # whether the policy approved, and no person
    code: ErrorCode | None = None


class LedgerEntry(Message):
    """One entry of a site's ledger (SPEC 6.1)."""

    schema_id: Literal["crosslot.ledger-entry/1"] = Field(default="crosslot.ledger-entry/1", alias="schema")
    site: SiteSlug
    number: Annotated[int, Field(ge=0)]
    previous_sha256: Digest
    record: LedgerRecord


class Checkpoint(Message):
    """How long a site's ledger was and what its last entry's envelope hashed to; signed by the coordinator."""

    schema_id: Literal["crosslot.checkpoint/1"] = Field(default="crosslot.checkpoint/1", alias="schema")
    study: StudySlug
    site: SiteSlug
    length: Annotated[int, Field(ge=1)]
    last_sha256: Digest
    at: Instant


class LedgerError(RefusedError):
    """A ledger is not what was written.

    Attributes
    ----------
    number : int
        The first entry at which it does not hold.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(
            f"ledger entry {number}: {reason}",
            hint="keep this copy as evidence, and compare it with a backup and with the checkpoints",
        )
        self.number = number


class Head(Message):
    """Where a ledger ends: its length, and the hash of its last envelope."""

    length: Annotated[int, Field(ge=0)]
    last_sha256: Digest


def seal_entry(record: LedgerRecord, head: Head, *, site: SiteId, key: SigningKey) -> bytes:
    """Return the signed envelope of the entry that follows ``head``."""
    entry = LedgerEntry(site=site, number=head.length, previous_sha256=head.last_sha256, record=record)
    return seal(encode(entry), PayloadType.LEDGER_ENTRY, key)


def head_of(envelopes: Sequence[bytes]) -> Head:
    """Return where a ledger ends, without verifying it."""
    return Head(length=len(envelopes), last_sha256=sha256(envelopes[-1]) if envelopes else FIRST_PREVIOUS)


def verify_ledger(
    envelopes: Sequence[bytes], *, site: str, key: VerifyingKey, checkpoints: Sequence[Checkpoint] = ()
) -> tuple[LedgerEntry, ...]:
    """Return the entries of a ledger that holds from its first entry to its last.

    Parameters
    ----------
    envelopes
        The ledger, oldest first.
    site, key
        Whose ledger it is.
    checkpoints
        Checkpoints whose signatures held; those of other sites are passed over.

    Raises
    ------
    LedgerError
        At the first entry that was changed, removed, added or moved, or if an end is absent that a checkpoint saw.
    """
    entries: list[LedgerEntry] = []
    previous = FIRST_PREVIOUS
    hashes: list[Sha256] = []
    for number, envelope in enumerate(envelopes):
        try:
            opened = open_envelope(envelope, PayloadType.LEDGER_ENTRY, [key])
            entry = decode(LedgerEntry, opened.payload, limit=PAYLOAD_LIMITS[PayloadType.LEDGER_ENTRY])
        except ProtocolError as error:
            raise LedgerError(number, str(error)) from None
        if (entry.site, entry.number, entry.previous_sha256) != (site, number, previous):
            raise LedgerError(number, "expected the entry that follows the one before it, found another")
        previous = sha256(envelope)
        hashes.append(previous)
        entries.append(entry)
    for checkpoint in checkpoints:
        if checkpoint.site == site:
            _check_contains(hashes, checkpoint)
    return tuple(entries)


def checkpoint_of(head: Head, *, study: StudyId, site: SiteId, at: Instant) -> Checkpoint:
    """Return the checkpoint by which a coordinator countersigns a ledger's end.

    Raises
    ------
    LedgerError
        If the ledger is empty: there is nothing to countersign.
    """
    if head.length == 0:
        raise LedgerError(0, "expected at least one entry, found none")
    return Checkpoint(study=study, site=site, length=head.length, last_sha256=head.last_sha256, at=at)


def _check_contains(hashes: Sequence[Sha256], checkpoint: Checkpoint) -> None:
    if len(hashes) < checkpoint.length:
        raise LedgerError(len(hashes), f"expected at least the {checkpoint.length} entries of {checkpoint.at}")
    if hashes[checkpoint.length - 1] != checkpoint.last_sha256:
        raise LedgerError(checkpoint.length - 1, f"expected the entry that was countersigned on {checkpoint.at}")
