"""The site's one connection: gRPC with mutual TLS to the coordinator's gateway; outbound only.

A proxy that the environment names (``https_proxy``, ``no_proxy``) is used by gRPC itself, by CONNECT.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from google.protobuf.message import Message  # type: ignore[import-untyped]  # protobuf ships no types

from protocol.certificates import Pair
from protocol.errors import ErrorCode
from protocol.wire import calls
from shared.errors import CrosslotError, RefusedError
from site_agent.network.keys import NetworkHome

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)

CALL_SECONDS: Final = 30.0
_WORDS: Final = {
    ErrorCode.UNKNOWN_SIGNER.value: "the coordinator does not know this site (any more), or the invite",
    ErrorCode.REPLAYED.value: "the invite was used before",
    ErrorCode.EXPIRED.value: "the invite has expired",
    ErrorCode.WRONG_SITE.value: "the name, or one of the keys, belongs to another enrolment",
    ErrorCode.WRONG_SIGNER.value: "this certificate may not make this call",
}


class UnreachableError(CrosslotError):
    """The gateway did not answer: the network, the address, or the certificate."""


class GatewayClient:
    """Calls to one gateway.

    Parameters
    ----------
    address
        Host and port.
    authority
        The certificate to believe about the gateway, PEM.
    pair
        Whose certificate opens the connection.
    """

    def __init__(self, address: str, *, authority: bytes, pair: Pair) -> None:
        self._address = address
        credentials = grpc.ssl_channel_credentials(
            root_certificates=authority, private_key=pair.key, certificate_chain=pair.certificate
        )
        self._channel = grpc.secure_channel(
            address,
            credentials,
            options=[
                ("grpc.max_receive_message_length", calls.MAXIMUM_MESSAGE_BYTES),
                ("grpc.max_send_message_length", calls.MAXIMUM_MESSAGE_BYTES),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.initial_reconnect_backoff_ms", 500),
                ("grpc.max_reconnect_backoff_ms", 10_000),
            ],
        )

    def call(self, method: calls.Call[Request, Reply], request: Request, *, seconds: float = CALL_SECONDS) -> Reply:
        """Return the reply of one call.

        Raises
        ------
        UnreachableError
            The gateway did not answer.
        RefusedError
            It answered that it refuses.
        """
        with self._explained():
            reply: Reply = self._unary(method)(request, timeout=seconds)
            return reply

    def stream(self, method: calls.Call[Request, Reply], request: Request, *, seconds: float) -> Iterator[Reply]:
        """Yield the replies of one call that streams (see :meth:`call`)."""
        multi: Callable[..., Any] = self._channel.unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.reply.FromString,
        )
        with self._explained():
            yield from multi(request, timeout=seconds)

    def raw(self, method: calls.Call[Request, Reply], request: Request, *, seconds: float) -> Reply:
        """Return the reply of one call; gRPC's own errors are raised as they are."""
        reply: Reply = self._unary(method)(request, timeout=seconds)
        return reply

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def _unary(self, method: calls.Call[Request, Reply]) -> Callable[..., Any]:
        call: Callable[..., Any] = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.reply.FromString,
        )
        return call

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise explained(error, self._address) from None


def explained(error: Any, address: str) -> CrosslotError:  # noqa: ANN401 - grpcio ships no types
    """Return what a failed call means, for a person at the site."""
    status, word = error.code(), error.details() or ""
    if status in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN}:
        return UnreachableError(
            f"the coordinator at {address} does not answer: {word[:300]}",
            hint="check the address, the firewall (one outbound connection), a proxy (https_proxy), and the clock",
        )
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return UnreachableError(f"the coordinator at {address} asks to slow down: {word[:100]}", hint="try again soon")
    return RefusedError(
        f"the coordinator at {address} refuses: {_WORDS.get(word, word[:100])}",
        hint="ask the coordinator; its log says more",
    )


class RenewingClient:
    """A connection of a joined site that lasts: where its certificate was renewed, the next call takes the new one."""

    def __init__(self, home: NetworkHome) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._opened = (self._stamp(), self._open())

    def raw(self, method: calls.Call[Request, Reply], request: Request, *, seconds: float) -> Reply:
        """Return the reply of one call (see :meth:`GatewayClient.raw`)."""
        return self._current().raw(method, request, seconds=seconds)

    def close(self) -> None:
        """End the connection."""
        self._opened[1].close()

    def _current(self) -> GatewayClient:
        stamp = self._stamp()
        with self._lock:
            if stamp != self._opened[0]:
                # The older connection is left to the calls that are under way on it, and ends with the last of them.
                self._opened = (stamp, self._open())
            return self._opened[1]

    def _stamp(self) -> int:
        return self._home.key_file("client.crt").stat().st_mtime_ns

    def _open(self) -> GatewayClient:
        return GatewayClient(self._home.settings.address, authority=self._home.authority, pair=self._home.client)


@contextmanager
def connected(home: NetworkHome) -> Iterator[GatewayClient]:
    """Give a connection of the site that joined in ``home``."""
    client = GatewayClient(home.settings.address, authority=home.authority, pair=home.client)
    try:
        yield client
    finally:
        client.close()
