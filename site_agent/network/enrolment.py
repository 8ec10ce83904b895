"""Joining: one call by which an invite becomes a site's own certificate.

The coordinator is pinned by the invite: its authority for connections, its signing key for all that it says. A reply
of another signing key is refused.
"""

from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Final

from protocol.certificates import bearer_of, new_request, public_of
from protocol.codec import encode
from protocol.enrolment import EnrolmentRequest, Invite, prove
from protocol.errors import ErrorCode, SignatureError
from protocol.identifiers import time_of
from protocol.signing import SigningKey
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.errors import InputError, RefusedError
from site_agent.network.gateway_client import GatewayClient
from site_agent.network.keys import NetworkHome, NetworkSettings, make_keys, write_joined

_CLOCK: Final = timedelta(minutes=5)


def join(home: NetworkHome, invite: Invite, key: SigningKey, *, now: datetime) -> NetworkSettings:
    """Enrol the site of a home by an invite, and write down what the network needs.

    Parameters
    ----------
    home
        Keys that are absent are made; those of a join that was broken off are used again.
    invite
        As the coordinator gave it.
    key
        The site's signing key.
    now
        For the certificates.

    Raises
    ------
    RefusedError
        The home has joined already, or the coordinator refuses.
    InputError
        The invite has expired.
    UnreachableError
        The coordinator does not answer.
    """
    if home.joined:
        raise RefusedError(
            f"{home.folder}: this site has joined {home.settings.address} already",
            hint="see: crosslot-site doctor",
        )
    if time_of(invite.expires) + _CLOCK < now:
        raise InputError(f"the invite ended {invite.expires}", hint="ask the coordinator for a new one")
    make_keys(home, now)
    client_key = home.key_file("client.key").read_bytes()
    request = EnrolmentRequest(
        site=invite.site,
        token=invite.token,
        key=key.verifying_key.to_hex(),
        node_key=public_of(home.node_key).decode("ascii"),
        certificate_request=new_request(client_key, invite.site).decode("ascii"),
        version=version("crosslot"),
    )
    client = GatewayClient(invite.address, authority=invite.authority_pem, pair=invite.pair)
    try:
        reply = client.call(calls.ENROL, wire.EnrolRequest(request=encode(request), proof=prove(request, key)))
    finally:
        client.close()
    if bytes(reply.coordinator).hex() != invite.coordinator:
        raise SignatureError(ErrorCode.WRONG_SIGNER, "The gateway speaks for another coordinator than the invite.")
    certificate = bytes(reply.certificate)
    if bearer_of(certificate).name != invite.site:
        raise SignatureError(ErrorCode.WRONG_SITE, "The certificate that came is another site's.")
    settings = NetworkSettings(site=invite.site, address=invite.address, coordinator=invite.coordinator)
    write_joined(home, settings, authority=invite.authority_pem, certificate=certificate)
    return settings
