"""Who may sign what (SPEC 2.5).

The coordinator signs study plans, atlas manifests, rosters, queries, results, the checkpoints of sites' ledgers and
bundles; a site signs its own answers, lot reports and ledger entries; what a site's steward signs stays at the site
(``protocol.steward``). A roster pins one key to each party; whoever holds it can
check everything that crossed, at any later time and without a network. The functions here are the only way from
received bytes to a believed message: they verify, decode, and check that the signer is the party that the message
names.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Generic, Literal, Self, TypeVar

from pydantic import Field, model_validator

from protocol.codec import decode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, Opened, PayloadType, open_envelope
from protocol.errors import ErrorCode, SignatureError
from protocol.identifiers import PublicKeyHex, Sha256, SiteSlug, StudySlug
from protocol.message import Message
from protocol.plan import StudyPlan
from protocol.queries import Answer, Query
from protocol.report import LotReport
from protocol.results import ResultSet
from protocol.signing import VerifyingKey

M = TypeVar("M", bound=Message)

COORDINATOR_SIGNS: Final = frozenset(
    {
        PayloadType.STUDY_PLAN,
        PayloadType.ATLAS_MANIFEST,
        PayloadType.ROSTER,
        PayloadType.QUERY,
        PayloadType.RESULTS,
        PayloadType.CHECKPOINT,
        PayloadType.BUNDLE,
        PayloadType.SPECIFICATION,
    }
)
SITE_SIGNS: Final = frozenset({PayloadType.ANSWER, PayloadType.LOT_REPORT, PayloadType.LEDGER_ENTRY})


class SiteKey(Message):
    """One site and its key."""

    site: SiteSlug
    key: PublicKeyHex


class Roster(Message):
    """The parties of a study and their keys, sites in ascending order of name."""

    schema_id: Literal["crosslot.roster/1"] = Field(default="crosslot.roster/1", alias="schema")
    study: StudySlug
    coordinator: PublicKeyHex
    sites: Annotated[tuple[SiteKey, ...], Field(min_length=1, max_length=1_000)]

    @model_validator(mode="after")
    def _every_party_has_its_own_key(self) -> Self:
        names = [entry.site for entry in self.sites]
        if names != sorted(set(names)):
            raise ValueError("sites: expected distinct names in ascending order")
        keys = [self.coordinator, *(entry.key for entry in self.sites)]
        if len(set(keys)) != len(keys):
            raise ValueError("expected a key of its own for every party, found one twice")
        return self

    def coordinator_key(self) -> VerifyingKey:
        """Return the coordinator's key."""
        return VerifyingKey.from_hex(self.coordinator)

    def site_key(self, site: str) -> VerifyingKey:
        """Return a site's key.

        Raises
        ------
        SignatureError
            If the site is not on the roster.
        """
        for entry in self.sites:
            if entry.site == site:
                return VerifyingKey.from_hex(entry.key)
        raise SignatureError(ErrorCode.UNKNOWN_SIGNER, f"The roster has no site {site}.")


@dataclass(frozen=True, kw_only=True)
class Believed(Generic[M]):
    """A message whose signature held and whose signer may say it, with the exact bytes that were signed.

    Attributes
    ----------
    message
        What was said.
    payload
        The exact bytes that were signed.
    envelope
        The exact bytes that came.
    key_id
        The fingerprint of the signer's key.
    """

    message: M
    payload: bytes
    envelope: bytes
    key_id: Sha256

    @property
    def payload_sha256(self) -> Sha256:
        """The hash by which other messages name this one."""
        return sha256(self.payload)


def open_query(data: bytes, coordinator: VerifyingKey) -> Believed[Query]:
    """Return a coordinator's query; its site and age are checked by ``protocol.queries``."""
    return open_from_coordinator(data, Query, PayloadType.QUERY, coordinator)


def open_plan(data: bytes, coordinator: VerifyingKey) -> Believed[StudyPlan]:
    """Return a coordinator's study plan."""
    return open_from_coordinator(data, StudyPlan, PayloadType.STUDY_PLAN, coordinator)


def open_results(data: bytes, coordinator: VerifyingKey) -> Believed[ResultSet]:
    """Return a coordinator's results."""
    return open_from_coordinator(data, ResultSet, PayloadType.RESULTS, coordinator)


def open_from_coordinator(
    data: bytes, kind: type[M], payload_type: PayloadType, coordinator: VerifyingKey
) -> Believed[M]:
    """Return a message of ``kind`` that the coordinator signed.

    Raises
    ------
    SignatureError
        If a coordinator may not sign this kind, or did not sign these bytes.
    DecodeError
        If the bytes are not such a message.
    """
    if payload_type not in COORDINATOR_SIGNS:
        raise SignatureError(ErrorCode.WRONG_SIGNER, f"A coordinator signs no {payload_type}.")
    return _believed(open_envelope(data, payload_type, [coordinator]), kind, payload_type)


def open_answer(data: bytes, roster: Roster, site: str) -> Believed[Answer]:
    """Return the answer of one site.

    Raises
    ------
    SignatureError
        If that site did not sign it, or it speaks for another site.
    DecodeError
        If the bytes are no answer.
    """
    opened = open_envelope(data, PayloadType.ANSWER, [roster.site_key(site)])
    believed = _believed(opened, Answer, PayloadType.ANSWER)
    _check_speaks_for(believed.message.site, site)
    return believed


def open_report(data: bytes, roster: Roster, site: str) -> Believed[LotReport]:
    """Return a lot report of one site.

    Raises
    ------
    SignatureError
        If that site did not sign it, or it speaks for another site.
    DecodeError
        If the bytes are no lot report.
    """
    opened = open_envelope(data, PayloadType.LOT_REPORT, [roster.site_key(site)])
    believed = _believed(opened, LotReport, PayloadType.LOT_REPORT)
    _check_speaks_for(believed.message.site, site)
    return believed


def _believed(opened: Opened, kind: type[M], payload_type: PayloadType) -> Believed[M]:
    # SPEC 2.4: only bytes whose signature held are decoded.
    message = decode(kind, opened.payload, limit=PAYLOAD_LIMITS[payload_type])
    return Believed(message=message, payload=opened.payload, envelope=opened.envelope, key_id=opened.key_id)


def _check_speaks_for(named: str, site: str) -> None:
    if named != site:
        raise SignatureError(ErrorCode.WRONG_SIGNER, f"The key is that of {site}; the message names {named}.")
