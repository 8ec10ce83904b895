"""The one public port: gRPC with mutual TLS; enrolment, the registry, and the relay of Flower's fleet calls.

Rules
-----
1. No connection without a certificate of the coordinator's own authority: a peer without one, or with another's, does
   not get past the handshake.
2. An invite's certificate opens enrolment and nothing else; a site's opens the rest, while the site is enrolled.
3. What is refused is refused with one word and logged with its peer; what fails here is logged, and no text of it
   leaves.
4. Messages pass as they came: the gateway decides who may speak, never what is true. The one call answered here is a
   poll of a site for which nothing waits (``waiting``).
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import httpx
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types

from coordinator.home import CoordinatorHome
from coordinator.network.admission import SIGNATURE_HEADER, OnceOnly, Refusal, Share, admitted_headers
from coordinator.network.enrolment import EnrolledSite, Enrolments, accept
from coordinator.network.registry import atlas_for, checkpoints_for, studies_of
from coordinator.network.renewal import renewed
from coordinator.network.superlink import SuperLink
from coordinator.network.waiting import NOTHING, POLL_PATH, Waiting
from protocol.certificates import Bearer, Role, bearer_of
from protocol.codec import decode
from protocol.enrolment import EnrolmentRequest
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Sha256, SiteId, StudyId, instant
from protocol.versions import compatible
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.errors import CrosslotError, NoRoomError

_REQUEST_LIMIT: Final = 32 * 1024
_CACHE_SECONDS: Final = 1.0
_SEEN_SECONDS: Final = 10.0
_ATLASES_TOLD: Final = 64
_STUDIES_TOLD: Final = 1_000
_TEXT_TOLD: Final = 64
_PROTOBUF: Final = "application/x-protobuf"

Context = Any  # grpc.ServicerContext; grpcio ships no types
Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class GatewayParts:
    """What a gateway works with, given from outside."""

    home: CoordinatorHome
    enrolments: Enrolments
    superlink: SuperLink
    upstream: httpx.Client
    clock: Callable[[], datetime]
    log: Log
    waiting: Waiting | None = None


class Gateway:
    """The handlers of all calls, each behind the check of who calls."""

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts
        settings = parts.home.settings
        self._shares: dict[Sha256, Share] = {}
        self._known: dict[Sha256, tuple[float, EnrolledSite | None]] = {}
        self._seen: dict[Sha256, float] = {}
        self._once = OnceOnly()
        self._upstream_away = False
        self._lock = threading.Lock()
        self._rate = settings.maximum_calls_per_second
        self._concurrent = settings.maximum_concurrent_calls

    def enrol(self, request: wire.EnrolRequest, bearer: Bearer, context: Context) -> wire.EnrolReply:
        """Enrol the bearer of an invite."""
        parts = self._parts
        asked = decode(EnrolmentRequest, bytes(request.request), limit=_REQUEST_LIMIT)
        certificate = accept(
            parts.home, parts.enrolments, asked, bytes(request.proof), presented=bearer.name, now=parts.clock()
        )
        try:
            parts.superlink.register({asked.site: asked.node_key.encode()})
        except CrosslotError as error:  # registered when the service starts next; the enrolment stands
            parts.log(f"{asked.site}: its node is not registered yet: {error}")
        parts.log(f"{asked.site}: enrolled, signing key {asked.key[:16]}, from {context.peer()}")
        return wire.EnrolReply(
            certificate=certificate, coordinator=bytes.fromhex(parts.home.key.verifying_key.to_hex())
        )

    def greet(self, request: wire.GreetRequest, site: EnrolledSite) -> wire.GreetReply:
        """Exchange versions and clocks, and keep what the site says of itself."""
        parts, own = self._parts, version("crosslot")
        parts.enrolments.greeted(
            site.certificate_sha256,
            version=_told(request.version),
            flower=_told(request.flower),
            atlases=tuple(_told(each) for each in list(request.atlases)[:_ATLASES_TOLD]),
            state=_told(request.state),
        )
        return wire.GreetReply(
            version=own,
            flower=version("flwr"),
            now=instant(parts.clock()),
            compatible=compatible(own, request.version),
        )

    def list_studies(self, _request: wire.ListStudiesRequest, site: EnrolledSite) -> wire.ListStudiesReply:
        """List the studies that name the site."""
        home, listed = self._parts.home, []
        for each in studies_of(home, site.site):
            study = each.plan.message.study
            results = home.results(study, site.site)
            listed.append(
                wire.Study(
                    study=study,
                    plan=each.plan.envelope,
                    manifest=each.manifest.envelope,
                    results_bytes=results.stat().st_size if results.is_file() else 0,
                )
            )
        return wire.ListStudiesReply(studies=listed)

    def fetch_atlas(self, request: wire.FetchAtlasRequest, site: EnrolledSite) -> Iterator[wire.Chunk]:
        """Stream an atlas of one of the site's studies, from an offset on."""
        path = atlas_for(self._parts.home, site.site, request.sha256)
        if path is None:
            raise ProtocolError(ErrorCode.ATLAS_MISMATCH, "No study of this site names such an atlas.")
        return _chunks(path, request.offset)

    def fetch_results(self, request: wire.FetchResultsRequest, site: EnrolledSite) -> Iterator[wire.Chunk]:
        """Stream the results that were released to the site, from an offset on."""
        known = {each.plan.message.study for each in studies_of(self._parts.home, site.site)}
        path = self._parts.home.results(StudyId(request.study), site.site)
        if request.study not in known or not path.is_file():
            raise ProtocolError(ErrorCode.WRONG_STUDY, "No results of such a study were released to this site.")
        return _chunks(path, request.offset)

    def fetch_checkpoints(
        self, request: wire.FetchCheckpointsRequest, site: EnrolledSite
    ) -> Iterator[wire.SignedCheckpoint]:
        """Stream where the site's ledger was seen to end, signed, later than what the site holds."""
        held = {each.study: each.round for each in list(request.held)[:_STUDIES_TOLD]}
        for study, number, envelope in checkpoints_for(self._parts.home, site.site, held):
            yield wire.SignedCheckpoint(study=study, round=number, checkpoint=envelope)

    def renew(self, request: wire.RenewRequest, site: EnrolledSite) -> wire.RenewReply:
        """Give the site a further certificate for the key of the one it shows."""
        parts = self._parts
        certificate = renewed(parts.home, parts.enrolments, site, bytes(request.certificate), now=parts.clock())
        parts.log(f"{site.site}: certificate renewed")
        return wire.RenewReply(certificate=certificate)

    def relay(self, request: wire.RelayRequest, site: EnrolledSite) -> wire.RelayReply:
        """Pass one call of the site's SuperNode on to the SuperLink."""
        headers = admitted_headers(request.path, len(request.body), dict(request.headers), site.node_key)
        self._once.take(headers[SIGNATURE_HEADER], time.monotonic())
        waiting = self._parts.waiting
        if request.path == POLL_PATH and waiting is not None and not waiting.may_wait(site.node_key):
            return wire.RelayReply(status=200, body=NOTHING, content_type=_PROTOBUF)
        headers["content-type"] = _PROTOBUF
        headers["accept"] = _PROTOBUF
        if request.content_type.isprintable() and request.content_type:
            headers["content-type"] = request.content_type[:128]
        if request.accept.isprintable() and request.accept:
            headers["accept"] = request.accept[:128]
        try:
            reply = self._parts.upstream.post(request.path, content=bytes(request.body), headers=headers)
        except httpx.TransportError as error:
            if not self._upstream_away:
                self._parts.log(f"the SuperLink does not answer: {type(error).__name__}")
            self._upstream_away = True
            return wire.RelayReply(status=503)
        self._upstream_away = False
        return wire.RelayReply(
            status=reply.status_code, body=reply.content, content_type=reply.headers.get("content-type", "")
        )

    def bearer(self, context: Context) -> Bearer:
        """Return who opened the connection; TLS has verified the certificate."""
        presented = context.auth_context().get("x509_pem_cert", [])
        if len(presented) != 1:
            raise ProtocolError(ErrorCode.UNKNOWN_SIGNER, "The connection has no client certificate.")
        return bearer_of(presented[0])

    def site(self, bearer: Bearer) -> EnrolledSite:
        """Return the enrolled site of a certificate.

        Raises
        ------
        ProtocolError
            The certificate is no site's, or the site is revoked.
        """
        now = time.monotonic()
        with self._lock:
            at, site = self._known.get(bearer.fingerprint, (-_CACHE_SECONDS, None))
        if now - at >= _CACHE_SECONDS:
            site = self._parts.enrolments.by_certificate(bearer.fingerprint)
            with self._lock:
                self._known[bearer.fingerprint] = (now, site)
        if bearer.role is not Role.SITE or site is None:
            raise ProtocolError(ErrorCode.UNKNOWN_SIGNER, "The certificate is that of no enrolled site.")
        if site.revoked is not None:
            raise ProtocolError(ErrorCode.UNKNOWN_SIGNER, f"{site.site} was revoked {site.revoked}.")
        if now - self._seen.get(bearer.fingerprint, -_SEEN_SECONDS) >= _SEEN_SECONDS:
            self._seen[bearer.fingerprint] = now
            with suppress(NoRoomError):  # a full disk is told where something is lost by it
                self._parts.enrolments.saw(site.certificate_sha256, now=self._parts.clock())
        return site

    def share(self, bearer: Bearer) -> Share:
        """Return the share of calls of one certificate."""
        with self._lock:
            return self._shares.setdefault(
                bearer.fingerprint, Share(calls_per_second=self._rate, concurrent=self._concurrent)
            )

    def handle(self, call: calls.Call[Any, Any], work: Callable[..., Any]) -> Callable[[Any, Context], Any]:
        """Return a gRPC behaviour: who calls is checked, then ``work`` is done, and failures become one word."""

        def behaviour(request: Any, context: Context) -> Any:  # noqa: ANN401 - protobuf messages of any call
            try:
                bearer = self.bearer(context)
                with self.share(bearer).one_call(time.monotonic()):
                    if call.bearer is Role.INVITE:
                        if bearer.role is not Role.INVITE:
                            raise ProtocolError(ErrorCode.WRONG_SIGNER, "Enrolment is open to invites only.")  # noqa: TRY301 - one exit for all refusals
                        return work(request, bearer, context)
                    return work(request, self.site(bearer))
            except Refusal as refusal:
                self._refuse(call, context, refusal.reason, _status_of(refusal))
            except ProtocolError as error:
                self._refuse(call, context, error.code.value, grpc.StatusCode.PERMISSION_DENIED, str(error))
            except NoRoomError as error:
                self._refuse(call, context, "disk-full", grpc.StatusCode.UNAVAILABLE, f"{error}; {error.hint}")
            except CrosslotError as error:
                self._refuse(call, context, "invalid", grpc.StatusCode.INVALID_ARGUMENT, str(error))
            except Exception as error:  # noqa: BLE001 - the last line of defence: a word leaves, the text stays here
                self._refuse(call, context, "internal", grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")

        return behaviour

    def _refuse(self, call: calls.Call[Any, Any], context: Context, word: str, status: Any, detail: str = "") -> None:  # noqa: ANN401 - grpcio ships no types
        names = context.auth_context().get("x509_common_name", [b"?"])
        who = names[0].decode("utf-8", "replace")
        self._parts.log(
            f"refused {call.method} of {who} from {context.peer()}: {word}" + (f" ({detail})" if detail else "")
        )
        context.abort(status, word)


def serve(parts: GatewayParts, listen: str) -> tuple[Any, int]:
    """Return a started gRPC server and the port that it bound."""
    settings, gateway = parts.home.settings, Gateway(parts)
    server = grpc.server(
        futures.ThreadPoolExecutor(settings.gateway_threads, thread_name_prefix="gateway"),
        options=[
            ("grpc.max_receive_message_length", calls.MAXIMUM_MESSAGE_BYTES),
            ("grpc.max_send_message_length", calls.MAXIMUM_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),  # sites ask after a silent line each minute
            ("grpc.max_concurrent_streams", settings.maximum_concurrent_calls),
        ],
        maximum_concurrent_rpcs=8 * settings.gateway_threads,
    )
    work: tuple[tuple[calls.Call[Any, Any], Callable[..., Any]], ...] = (
        (calls.ENROL, gateway.enrol),
        (calls.GREET, gateway.greet),
        (calls.LIST_STUDIES, gateway.list_studies),
        (calls.FETCH_ATLAS, gateway.fetch_atlas),
        (calls.FETCH_RESULTS, gateway.fetch_results),
        (calls.FETCH_CHECKPOINTS, gateway.fetch_checkpoints),
        (calls.RENEW, gateway.renew),
        (calls.RELAY, gateway.relay),
    )
    for service in sorted({call.service_name for call, _ in work}):
        handlers = {
            call.method: _handler(call, gateway.handle(call, each))
            for call, each in work
            if call.service_name == service
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    healthy = health.HealthServicer()
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    pair, authority = parts.home.gateway, parts.home.authority
    credentials = grpc.ssl_server_credentials(
        [(pair.key, pair.certificate)], root_certificates=authority.certificate, require_client_auth=True
    )
    port: int = server.add_secure_port(listen, credentials)
    server.start()
    return server, port


def _handler(call: calls.Call[Any, Any], behaviour: Callable[[Any, Context], Any]) -> Any:  # noqa: ANN401 - grpcio ships no types
    if call.streams:
        make = grpc.unary_stream_rpc_method_handler
        behaviour = _streamed(behaviour)
    else:
        make = grpc.unary_unary_rpc_method_handler
    return make(
        behaviour,
        request_deserializer=call.request.FromString,
        response_serializer=call.reply.SerializeToString,
    )


def _streamed(behaviour: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Iterator[Any]]:
    def stream(request: Any, context: Context) -> Iterator[Any]:  # noqa: ANN401 - protobuf messages of any call
        yield from behaviour(request, context)

    return stream


def _chunks(path: Path, offset: int) -> Iterator[wire.Chunk]:
    with path.open("rb") as file:
        file.seek(offset)
        while data := file.read(calls.CHUNK_BYTES):
            yield wire.Chunk(data=data)


def _told(text: str) -> str:
    """Return what a site says of itself, as far as it may stand in a table."""
    return "".join(letter for letter in text[:_TEXT_TOLD] if letter.isalnum() or letter in ".-+")


def _status_of(refusal: Refusal) -> Any:  # noqa: ANN401 - grpcio ships no types
    if refusal.reason.startswith("too many"):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    return grpc.StatusCode.PERMISSION_DENIED


def sites_by_node(enrolments: Enrolments, superlink: SuperLink) -> dict[SiteId, int]:
    """Return the node of each enrolled site; a node that the SuperLink does not know is registered."""
    nodes = superlink.register({site: each.node_key for site, each in enrolments.enrolled().items()})
    return {SiteId(site): node for site, node in nodes.items()}
