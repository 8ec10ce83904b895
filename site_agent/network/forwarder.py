"""The forwarder: what the SuperNode says on loopback goes on by the site's own connection, and the answer comes back.

``python -m site_agent.network.forwarder HOME PORT``. The SuperNode cannot present a client certificate and speaks
HTTP; so it speaks to this process, which passes POST /v1/fleet/* on as gRPC calls, and nothing else. It keeps nothing.
"""

import sys
from pathlib import Path
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.runtime.processes import LOOPBACK
from site_agent.network.gateway_client import RenewingClient
from site_agent.network.keys import NetworkHome

_PREFIX: Final = "/v1/fleet/"
_HEADERS: Final = "flwr-"
_SECONDS: Final = 60.0
_UNAVAILABLE: Final = 503  # Flower's client tries again on it, and on no other status that fits
_FORBIDDEN: Final = 403
_TOO_LARGE: Final = 413


def make_app(client: RenewingClient) -> Starlette:
    """Return the forwarder as an ASGI application."""
    said = [""]

    async def forward(request: Request) -> Response:
        if not request.url.path.startswith(_PREFIX):
            return Response("forbidden", _FORBIDDEN)
        body = await request.body()
        if len(body) > calls.MAXIMUM_RELAY_BYTES:
            _say("a reply of this site is larger than the coordinator takes; it was not sent")
            return Response("too large", _TOO_LARGE)
        asked = wire.RelayRequest(
            path=request.url.path,
            body=body,
            content_type=request.headers.get("content-type", ""),
            accept=request.headers.get("accept", ""),
            headers={name: value for name, value in request.headers.items() if name.startswith(_HEADERS)},
        )
        try:
            reply = await run_in_threadpool(client.raw, calls.RELAY, asked, seconds=_SECONDS)
        except grpc.RpcError as error:
            problem = f"{error.code().name}: {(error.details() or '')[:200]}"
            if problem != said[0]:
                said[0] = problem
                _say(f"the coordinator does not take calls: {problem}")
            return Response("unavailable", _UNAVAILABLE)
        if said[0]:
            said[0] = ""
            _say("the coordinator takes calls again")
        return Response(reply.body, reply.status, media_type=reply.content_type or None)

    return Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])])


def main(home_path: Path, port: int) -> None:
    """Serve on loopback until told to stop."""
    home = NetworkHome(home_path)
    client = RenewingClient(home)
    _say(f"forwarding to {home.settings.address}")
    config: dict[str, Any] = {
        "ssl_certfile": str(home.key_file("loopback.crt")),
        "ssl_keyfile": str(home.key_file("loopback.key")),
    }
    uvicorn.run(make_app(client), host=LOOPBACK, port=port, access_log=False, log_level="warning", **config)
    client.close()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a process of a tree speaks by its output


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
