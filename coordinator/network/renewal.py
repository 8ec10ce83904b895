"""Certificates before they end: a site's on its own request, the gateway's when its process starts.

What is renewed keeps its key and its name; only the time is new. The authority itself is made for ten years, and ends
with the coordinator's folder.
"""

from datetime import datetime, timedelta
from typing import Final

from coordinator.home import CoordinatorHome
from coordinator.network.enrolment import EnrolledSite, Enrolments
from protocol.certificates import expiry_of, fingerprint, issue_gateway, renew_site
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import instant, time_of
from shared.errors import RefusedError
from shared.runtime.files import PRIVATE, write_atomically

RENEWABLE: Final = timedelta(days=90)
"""How long before its end a certificate may be renewed."""

_APART: Final = timedelta(hours=1)


def renewed(
    home: CoordinatorHome, enrolments: Enrolments, site: EnrolledSite, presented: bytes, *, now: datetime
) -> bytes:
    """Return a further certificate for the key of one that a site has.

    Parameters
    ----------
    presented : bytes
        The certificate to renew, PEM.

    Raises
    ------
    ProtocolError
        The certificate is not this site's.
    RefusedError
        It is good for long, or was renewed within the hour.
    """
    own = enrolments.by_certificate(fingerprint(presented))
    if own is None or own.certificate_sha256 != site.certificate_sha256:
        raise ProtocolError(ErrorCode.WRONG_SITE, f"{site.site} asked to renew another's certificate.")
    # Of the one that is shown, not the latest: a site that never got the latest must be able to ask again.
    ends, last = expiry_of(presented), enrolments.last_renewal(site)
    if ends - now > RENEWABLE:
        raise RefusedError(f"{site.site}: its certificate is good until {instant(ends)}")
    if last is not None and now - time_of(last) < _APART:
        raise RefusedError(f"{site.site}: its certificate was renewed {last}", hint="again after an hour")
    certificate = renew_site(home.authority, presented, now)
    enrolments.renew(site, certificate, now=now)
    return certificate


def renew_gateway(home: CoordinatorHome, now: datetime) -> datetime | None:
    """Renew the gateway's own certificate where it ends soon; return when the new one ends, None where none was due."""
    if expiry_of(home.gateway.certificate) - now > RENEWABLE:
        return None
    host = home.settings.address.rpartition(":")[0].strip("[]")
    pair = issue_gateway(home.authority, (host, "localhost", "127.0.0.1"), now)
    # The key first: a pair of two halves that do not fit does not start, and the next start makes both anew.
    write_atomically(home.path / "keys" / "gateway.key", pair.key, mode=PRIVATE)
    write_atomically(home.path / "keys" / "gateway.crt", pair.certificate)
    return expiry_of(pair.certificate)
