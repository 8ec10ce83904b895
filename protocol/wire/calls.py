"""The gateway's methods, as both ends of a connection need them: name, request, reply, and who may call.

No stubs are generated: a method is its name and two message types, and this table is the only list of them. The
messages are those of ``gateway.proto``; ``PROTO_SHA256`` is the hash of the file that the checked-in code was made of.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message  # type: ignore[import-untyped]  # protobuf ships no types

from protocol.certificates import Role
from protocol.wire import gateway_pb2 as wire

PROTO_SHA256: Final = "717a80b9d011b9d85f6b4a672180e3ae5e339579c768873b6b61df0e48282f20"
_PACKAGE: Final = "crosslot.gateway.v1"

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)

MAXIMUM_RELAY_BYTES: Final = 16 * 2**20
"""The largest body of one relayed call: a site's sealed reports of one study, with room."""

MAXIMUM_MESSAGE_BYTES: Final = MAXIMUM_RELAY_BYTES + 64 * 1024
CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Request, Reply]):
    """One method: a request, and one reply or a stream of them."""

    service: str
    method: str
    request: type[Request]
    reply: type[Reply]
    bearer: Role
    streams: bool = False

    @property
    def service_name(self) -> str:
        """The full name of the service, such as ``crosslot.gateway.v1.Fleet``."""
        return f"{_PACKAGE}.{self.service}"

    @property
    def path(self) -> str:
        """The method as gRPC names it."""
        return f"/{self.service_name}/{self.method}"


ENROL: Final = Call(
    service="Enrolment", method="Enrol", request=wire.EnrolRequest, reply=wire.EnrolReply, bearer=Role.INVITE
)
GREET: Final = Call(
    service="Registry", method="Greet", request=wire.GreetRequest, reply=wire.GreetReply, bearer=Role.SITE
)
LIST_STUDIES: Final = Call(
    service="Registry",
    method="ListStudies",
    request=wire.ListStudiesRequest,
    reply=wire.ListStudiesReply,
    bearer=Role.SITE,
)
FETCH_ATLAS: Final = Call(
    service="Registry",
    method="FetchAtlas",
    request=wire.FetchAtlasRequest,
    reply=wire.Chunk,
    bearer=Role.SITE,
    streams=True,
)
FETCH_RESULTS: Final = Call(
    service="Registry",
    method="FetchResults",
    request=wire.FetchResultsRequest,
    reply=wire.Chunk,
    bearer=Role.SITE,
    streams=True,
)
FETCH_CHECKPOINTS: Final = Call(
    service="Registry",
    method="FetchCheckpoints",
    request=wire.FetchCheckpointsRequest,
    reply=wire.SignedCheckpoint,
    bearer=Role.SITE,
    streams=True,
)
RENEW: Final = Call(
    service="Registry", method="Renew", request=wire.RenewRequest, reply=wire.RenewReply, bearer=Role.SITE
)
RELAY: Final = Call(service="Fleet", method="Relay", request=wire.RelayRequest, reply=wire.RelayReply, bearer=Role.SITE)
