"""What a site's steward signs: decisions about releases, and the acceptance of a study's terms (SPEC 5.10, 5.11).

The steward's key is a person's, opened by a passphrase, and not the key by which the site's machine answers: a machine
that was broken into can delay a release, but approves none. A signed decision says who decided, when, about which exact
bytes, and what the signature means, as electronic signatures on records must (21 CFR 11.50; EU GMP Annex 11, 14).
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from protocol.codec import decode, encode
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, open_envelope, seal
from protocol.identifiers import Digest, Instant, Label, LotPseudonym, SiteSlug, StudySlug
from protocol.message import Message
from protocol.signing import SigningKey, VerifyingKey

STEWARD_SIGNS: Final = frozenset({PayloadType.RELEASE_DECISION, PayloadType.TERMS_ACCEPTANCE})


class Meaning(StrEnum):
    """What a decision means; all but the policy's own are signed by a person."""

    APPROVED_FOR_RELEASE = "approved-for-release"
    REFUSED_FOR_RELEASE = "refused-for-release"
    CLUSTERS_WITHHELD = "clusters-withheld"  # from this report on
    TO_BE_OFFERED_AGAIN = "to-be-offered-again"  # a lot whose report was refused
    RELEASED_BY_POLICY = "released-by-policy"


class ReleaseDecision(Message):
    """A person's decision about the exact bytes of one report; it stays at the site."""

    schema_id: Literal["crosslot.release-decision/1"] = Field(default="crosslot.release-decision/1", alias="schema")
    study: StudySlug
    site: SiteSlug
    lot: LotPseudonym
    payload_sha256: Digest
    meaning: Meaning
    by: Label
    at: Instant
    reason: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    warnings_sha256: Digest | None = None  # of all that the rules warned of when it was made
    clusters: Annotated[tuple[int, ...], Field(max_length=256)] = ()  # where some are withheld: all positions


class TermsAcceptance(Message):
    """A person's acceptance of a study's terms, and of the plan that names them."""

    schema_id: Literal["crosslot.terms-acceptance/1"] = Field(default="crosslot.terms-acceptance/1", alias="schema")
    study: StudySlug
    site: SiteSlug
    plan_sha256: Digest
    terms_sha256: Digest
    by: Label
    at: Instant


def seal_decision(decision: ReleaseDecision, key: SigningKey) -> bytes:
    """Return a decision signed by the steward."""
    return seal(encode(decision), PayloadType.RELEASE_DECISION, key)


def open_decision(data: bytes, steward: VerifyingKey) -> ReleaseDecision:
    """Return a decision that the steward signed.

    Raises
    ------
    SignatureError
        If the steward did not sign these bytes.
    DecodeError
        If they are no decision.
    """
    opened = open_envelope(data, PayloadType.RELEASE_DECISION, [steward])
    return decode(ReleaseDecision, opened.payload, limit=PAYLOAD_LIMITS[PayloadType.RELEASE_DECISION])


def seal_acceptance(acceptance: TermsAcceptance, key: SigningKey) -> bytes:
    """Return an acceptance signed by the steward."""
    return seal(encode(acceptance), PayloadType.TERMS_ACCEPTANCE, key)


def open_acceptance(data: bytes, steward: VerifyingKey) -> TermsAcceptance:
    """Return an acceptance that the steward signed.

    Raises
    ------
    SignatureError
        If the steward did not sign these bytes.
    DecodeError
        If they are no acceptance.
    """
    opened = open_envelope(data, PayloadType.TERMS_ACCEPTANCE, [steward])
    return decode(TermsAcceptance, opened.payload, limit=PAYLOAD_LIMITS[PayloadType.TERMS_ACCEPTANCE])
