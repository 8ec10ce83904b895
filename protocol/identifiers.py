"""Identifiers that cross between parties: validated once, distinct types afterwards."""

import re
from datetime import UTC, datetime
from typing import Annotated, NewType

from pydantic import AfterValidator, StringConstraints

_SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
_SHA256 = r"^[0-9a-f]{64}$"
_PSEUDONYM = r"^[0-9a-f]{16}$"
_INSTANT_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_INSTANT = re.compile(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_LABEL = re.compile(r"^[^\x00-\x1f\x7f]{1,64}$")


def _checked_label(value: str) -> str:
    if not _LABEL.fullmatch(value) or value != value.strip():
        raise ValueError("expected 1 to 64 printable characters without leading or trailing space")
    return value


def _checked_instant(value: str) -> str:
    if not _INSTANT.fullmatch(value):
        raise ValueError("expected a UTC time to the second, such as 2026-03-01T12:00:00Z")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("expected a day of the calendar and a time of the day") from None
    return value


def instant(time: datetime) -> "Instant":
    """Return ``time`` as UTC text to the second, such as ``2026-03-01T12:00:00Z``; fractions are cut.

    Raises
    ------
    ValueError
        If ``time`` has no time zone.
    """
    if time.tzinfo is None:
        raise ValueError("expected a time with its zone")
    return time.astimezone(UTC).strftime(_INSTANT_FORMAT)


def time_of(value: "Instant") -> datetime:
    """Return the time that an instant's text names, in UTC."""
    return datetime.fromisoformat(value)


StudyId = NewType("StudyId", str)
SiteId = NewType("SiteId", str)
EndpointId = NewType("EndpointId", str)
Pseudonym = NewType("Pseudonym", str)
Sha256 = NewType("Sha256", str)

Slug = Annotated[str, StringConstraints(pattern=_SLUG)]
"""Lower-case letters, digits and hyphens, 1 to 63 characters: names of studies, sites, endpoints, cohorts."""

StudySlug = Annotated[StudyId, StringConstraints(pattern=_SLUG)]
SiteSlug = Annotated[SiteId, StringConstraints(pattern=_SLUG)]
EndpointSlug = Annotated[EndpointId, StringConstraints(pattern=_SLUG)]
LotPseudonym = Annotated[Pseudonym, StringConstraints(pattern=_PSEUDONYM)]
"""16 hexadecimal digits: the truncated HMAC-SHA256 of a lot's or donor's own name under the site's key."""

Digest = Annotated[Sha256, StringConstraints(pattern=_SHA256)]
"""The lower-case hexadecimal SHA-256 of some exact bytes."""

Label = Annotated[str, AfterValidator(_checked_label)]
"""A printable name of at most 64 characters: clusters, units, assays, tissues."""

Period = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-Q[1-4]$")]
"""A quarter, such as ``2026-Q3``: the finest date that leaves a site."""

Instant = Annotated[str, AfterValidator(_checked_instant)]
"""A UTC time to the second, such as ``2026-03-01T12:00:00Z``; it sorts as text."""

Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""128 random bits in hexadecimal."""

PublicKeyHex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The 32 public bytes of an Ed25519 key, in hexadecimal."""
