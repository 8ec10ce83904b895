"""A site's certificate before it ends: a further one for the same key, on the connection that the old one still opens.

A certificate that has ended opens nothing, and cannot be renewed: the coordinator revokes the site and invites it anew.
"""

from datetime import datetime, timedelta
from typing import Final

from protocol.certificates import Role, bearer_of, expiry_of, public_of, public_of_certificate
from protocol.errors import ErrorCode, SignatureError
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.runtime.files import write_atomically
from site_agent.network.gateway_client import GatewayClient
from site_agent.network.keys import NetworkHome

RENEWABLE: Final = timedelta(days=90)
"""How long before its end a certificate may be renewed (SPEC 7.6)."""

RENEW_BEFORE: Final = timedelta(days=60)
"""How long before its end ``serve`` renews it."""


def time_left(home: NetworkHome, now: datetime) -> timedelta:
    """Return how long the site's certificate is good yet; negative where it has ended."""
    return expiry_of(home.client.certificate) - now


def renew(client: GatewayClient, home: NetworkHome) -> datetime:
    """Have the certificate renewed, keep the new one, and return when it ends.

    Raises
    ------
    RefusedError
        The coordinator refuses: it is not due yet, or was done within the hour.
    UnreachableError
        The coordinator does not answer.
    SignatureError
        What came is no certificate of this site and its key; the old one stays.
    """
    old = home.client
    reply = client.call(calls.RENEW, wire.RenewRequest(certificate=old.certificate))
    new = bytes(reply.certificate)
    bearer = bearer_of(new)
    if bearer.role is not Role.SITE or bearer.name != home.settings.site:
        raise SignatureError(ErrorCode.WRONG_SITE, "The certificate that came is not this site's.")
    if public_of_certificate(new) != public_of(old.key):
        raise SignatureError(ErrorCode.UNKNOWN_SIGNER, "The certificate that came is of another key.")
    write_atomically(home.key_file("client.crt"), new)
    return expiry_of(new)
