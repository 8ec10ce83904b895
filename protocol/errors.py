"""The codes that may cross between parties, each with one fixed sentence.

What leaves a site about a failure is a code of this catalogue and its sentence (SPEC 2): never a value, path, count or
identifier from the site's data, and never a traceback. ``detail`` of an error is for the person at this machine; no
message has a field that could carry it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.errors import RefusedError


class ErrorCode(StrEnum):
    """Every reason that one party may give another; the same words in every language."""

    # The bytes
    OVERSIZE = "oversize"
    TOO_DEEP = "too-deep"
    NOT_UTF8 = "not-utf8"
    NOT_JSON = "not-json"
    TRAILING_BYTES = "trailing-bytes"
    DUPLICATE_KEY = "duplicate-key"
    NOT_FINITE = "not-finite"
    NOT_CANONICAL = "not-canonical"
    WRONG_SCHEMA = "wrong-schema"
    UNKNOWN_FIELD = "unknown-field"
    MISSING_FIELD = "missing-field"
    INVALID_FIELD = "invalid-field"
    # The signature
    WRONG_PAYLOAD_TYPE = "wrong-payload-type"
    UNKNOWN_SIGNER = "unknown-signer"
    BAD_SIGNATURE = "bad-signature"
    WRONG_SIGNER = "wrong-signer"
    # The exchange
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    VALID_TOO_LONG = "valid-too-long"
    REPLAYED = "replayed"
    WRONG_SITE = "wrong-site"
    WRONG_QUERY = "wrong-query"
    WRONG_STUDY = "wrong-study"
    PLAN_MISMATCH = "plan-mismatch"
    ATLAS_MISMATCH = "atlas-mismatch"
    REPORTS_MISMATCH = "reports-mismatch"
    # The site's own decision
    POLICY_MISSING = "policy-missing"
    POLICY_DAMAGED = "policy-damaged"
    STUDY_NOT_ALLOWED = "study-not-allowed"
    MODULE_NOT_ALLOWED = "module-not-allowed"
    STUDY_TOO_SMALL = "study-too-small"
    COORDINATOR_NOT_ALLOWED = "coordinator-not-allowed"
    DISCLOSURE_REFUSED = "disclosure-refused"
    NOISE_BUDGET_SPENT = "noise-budget-spent"
    NOT_APPROVED = "not-approved"
    STEWARD_REFUSED = "steward-refused"
    AWAITING_STEWARD = "awaiting-steward"
    TERMS_NOT_ACCEPTED = "terms-not-accepted"
    # The site's own work
    MAPPING_UNDER_WAY = "mapping-under-way"
    NO_LOTS = "no-lots"
    LOTS_UNREADABLE = "lots-unreadable"
    LOTS_UNSUITABLE = "lots-unsuitable"
    ATLAS_MISSING = "atlas-missing"
    DISK_FULL = "disk-full"
    TIMED_OUT = "timed-out"
    INTERNAL = "internal"

    @property
    def sentence(self) -> str:
        """The fixed sentence that goes with the code."""
        return SENTENCES[self]


SENTENCES: Final[Mapping[ErrorCode, str]] = {
    ErrorCode.OVERSIZE: "The message is larger than its kind allows.",
    ErrorCode.TOO_DEEP: "The message is nested deeper than any message of this protocol.",
    ErrorCode.NOT_UTF8: "The message is not UTF-8 text.",
    ErrorCode.NOT_JSON: "The message is not JSON.",
    ErrorCode.TRAILING_BYTES: "The message goes on after its end.",
    ErrorCode.DUPLICATE_KEY: "The message names one field twice.",
    ErrorCode.NOT_FINITE: "The message holds a number that is not finite.",
    ErrorCode.NOT_CANONICAL: "The message is not in its one canonical form.",
    ErrorCode.WRONG_SCHEMA: "The message is of another kind or version.",
    ErrorCode.UNKNOWN_FIELD: "The message holds a field that this version does not know.",
    ErrorCode.MISSING_FIELD: "The message lacks a field.",
    ErrorCode.INVALID_FIELD: "A field of the message has a wrong type or an impossible value.",
    ErrorCode.WRONG_PAYLOAD_TYPE: "The envelope holds another type of payload.",
    ErrorCode.UNKNOWN_SIGNER: "The envelope is signed with a key that is not on the roster.",
    ErrorCode.BAD_SIGNATURE: "The signature does not belong to this payload.",
    ErrorCode.WRONG_SIGNER: "The signer may not speak for the party that the message names.",
    ErrorCode.NOT_YET_VALID: "The query lies in the future: one of the two clocks is wrong.",
    ErrorCode.EXPIRED: "The query has expired.",
    ErrorCode.VALID_TOO_LONG: "The query would stay valid for longer than the protocol allows.",
    ErrorCode.REPLAYED: "The query was received before.",
    ErrorCode.WRONG_SITE: "The message names another site.",
    ErrorCode.WRONG_QUERY: "The answer belongs to another query.",
    ErrorCode.WRONG_STUDY: "The message names another study.",
    ErrorCode.PLAN_MISMATCH: "The message names another version of the study plan.",
    ErrorCode.ATLAS_MISMATCH: "The message names another atlas.",
    ErrorCode.REPORTS_MISMATCH: "The reports are not the ones that the answer names.",
    ErrorCode.POLICY_MISSING: "The site has no disclosure policy, so nothing leaves it.",
    ErrorCode.POLICY_DAMAGED: "The site's disclosure policy cannot be read, so nothing leaves it.",
    ErrorCode.STUDY_NOT_ALLOWED: "The site's policy does not allow this study.",
    ErrorCode.MODULE_NOT_ALLOWED: "The study asks for a module that the site's policy does not allow.",
    ErrorCode.STUDY_TOO_SMALL: "The study has fewer sites than this site's policy asks for.",
    ErrorCode.COORDINATOR_NOT_ALLOWED: "The site's policy does not allow this coordinator.",
    ErrorCode.DISCLOSURE_REFUSED: "The site's disclosure rules refuse this release.",
    ErrorCode.NOISE_BUDGET_SPENT: "The site's budget of noise for these lots is spent.",
    ErrorCode.NOT_APPROVED: "The site's steward has not approved this release.",
    ErrorCode.STEWARD_REFUSED: "The site's steward refused this release.",
    ErrorCode.AWAITING_STEWARD: "The site's steward has yet to decide.",
    ErrorCode.TERMS_NOT_ACCEPTED: "The site's steward has not accepted the study's terms.",
    ErrorCode.MAPPING_UNDER_WAY: "The site is still mapping its lots.",
    ErrorCode.NO_LOTS: "The site holds no lot for this study.",
    ErrorCode.LOTS_UNREADABLE: "The site could not read its lots.",
    ErrorCode.LOTS_UNSUITABLE: "The site's lots do not fit this study.",
    ErrorCode.ATLAS_MISSING: "The site does not have the study's atlas yet: its download failed or broke off.",
    ErrorCode.DISK_FULL: "A disk at the site is full; once the site has made room it is asked again.",
    ErrorCode.TIMED_OUT: "The site did not finish in time.",
    ErrorCode.INTERNAL: "Something failed at the site; its own log says what.",
}


class ProtocolError(RefusedError):
    """A rule of the protocol was broken by what was received; nothing was done with it.

    Attributes
    ----------
    code : ErrorCode
        What may be told to the other party.
    detail : str
        What a person at this machine may read besides. It never enters a message.
    """

    def __init__(self, code: ErrorCode, detail: str = "", *, hint: str | None = None) -> None:
        super().__init__(f"{code.sentence} {detail}".strip(), hint=hint)
        self.code = code
        self.detail = detail


class DecodeError(ProtocolError):
    """The bytes are not a message of the expected kind in its canonical form."""


class SignatureError(ProtocolError):
    """The bytes are not signed by a party that may sign them."""
