"""Whether the coordinator's service runs and answers: the gateway's own health service, asked as anyone may ask it."""

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types

from coordinator.home import CoordinatorHome
from shared.errors import InputError

_SECONDS = 5.0


def health_of(home: CoordinatorHome) -> str:
    """Return ``serving``, ``not running``, or what the gateway says of itself; asked with the gateway's own keys."""
    try:
        _ = home.superlink_address
    except InputError:
        return "not running"
    pair, authority = home.gateway, home.authority
    port = home.settings.listen.rpartition(":")[2]
    credentials = grpc.ssl_channel_credentials(
        root_certificates=authority.certificate, private_key=pair.key, certificate_chain=pair.certificate
    )
    direct = [("grpc.enable_http_proxy", 0)]  # loopback, whatever proxy the environment names
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=direct) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError as error:
            return f"the gateway does not answer ({error.code().name})"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)).lower()
