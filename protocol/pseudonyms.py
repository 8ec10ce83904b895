"""Pseudonyms: names that only the site that gave them can turn back.

A pseudonym is the first 16 hexadecimal digits of the HMAC-SHA256 of a name under the site's own secret (SPEC 4.3). The
study and the kind of name are under the HMAC too: the same lot bears another pseudonym in another study, and a lot and
a donor of one name do not share theirs.
"""

import hashlib
import hmac
from enum import StrEnum
from typing import Final

from protocol.codec import canonical_json
from protocol.identifiers import Pseudonym, Sha256, StudyId
from shared.errors import InputError

_DIGITS: Final = 16
_MINIMUM_SECRET_BYTES: Final = 16


class NameKind(StrEnum):
    """What a name is the name of."""

    LOT = "lot"
    DONOR = "donor"
    RUN = "run"


def pseudonym(secret: bytes, *, study: StudyId, kind: NameKind, name: str) -> Pseudonym:
    """Return the pseudonym of a site's own name within one study, 16 hexadecimal digits.

    Parameters
    ----------
    secret
        The site's pseudonym secret, at least 16 bytes; it never leaves the site.
    study, kind, name
        What is named.

    Raises
    ------
    InputError
        If the secret is too short to keep the names secret.

    Examples
    --------
    >>> pseudonym(bytes(32), study=StudyId("vegf"), kind=NameKind.LOT, name="BM-01")
    '1c2e46d8e8a8ba3c'
    """
    return Pseudonym(keyed_fingerprint(secret, canonical_json([study, kind.value, name]))[:_DIGITS])


def keyed_fingerprint(secret: bytes, data: bytes) -> Sha256:
    """Return the HMAC-SHA256 of ``data`` under a site's secret: no one else can try guesses on it.

    Raises
    ------
    InputError
        If the secret is too short.
    """
    if len(secret) < _MINIMUM_SECRET_BYTES:
        raise InputError(f"the pseudonym secret: expected at least {_MINIMUM_SECRET_BYTES} bytes, found {len(secret)}")
    return Sha256(hmac.new(secret, data, hashlib.sha256).hexdigest())
