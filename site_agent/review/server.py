"""The review's page, served on loopback by the standard library; it stops by itself when no one uses it."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from site_agent.home import Home
from site_agent.review.session import BODY_LIMIT, Request, Response, Session

LOOPBACK: Final = "127.0.0.1"
_TICK_SECONDS: Final = 0.5
_REQUEST_SECONDS: Final = 10.0


class ReviewServer(ThreadingHTTPServer):
    """One steward's page, for this machine only; requests are answered one after the other.

    Threads are there because browsers open connections ahead of need, and say nothing on them.

    Parameters
    ----------
    home
        The site's home.
    idle_seconds
        After so long without a request it stops.
    clock
        Gives the time for decisions.
    """

    def __init__(self, home: Home, *, idle_seconds: float, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.session = Session(
            home=home,
            host=f"{LOOPBACK}:{self.server_address[1]}",
            clock=clock or (lambda: datetime.now(UTC)),
            idle_minutes=max(1, round(idle_seconds / 60)),
        )
        self.timeout = _TICK_SECONDS
        self._one_at_a_time = threading.Lock()
        self._idle_seconds = idle_seconds
        self._last_used = time.monotonic()
        self._stopped = False

    @property
    def address(self) -> str:
        """The address to open; it works once."""
        return f"http://{self.session.host}/?token={self.session.token}"

    def answer(self, request: Request) -> Response:
        """Return the response to a request, after those before it."""
        with self._one_at_a_time:
            response = self.session.answer(request)
        if response.status is not HTTPStatus.FORBIDDEN:
            self.used()  # strangers do not keep the page open
        return response

    def used(self) -> None:
        """Begin the idle time anew."""
        self._last_used = time.monotonic()

    def run(self) -> None:
        """Serve until the idle time is over or ``stop`` is called."""
        with self:
            while not self._stopped and time.monotonic() - self._last_used < self._idle_seconds:
                self.handle_request()

    def stop(self) -> None:
        """Stop at the next tick."""
        self._stopped = True


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    timeout = _REQUEST_SECONDS  # a browser that opens a connection and says nothing does not hold up the page
    server_version = "crosslot"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answer a POST; a body without a length, or too large, is not read."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > BODY_LIMIT:
            self._send(Response(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
            return
        self._answer(self.rfile.read(int(length)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing: a log of requests would hold the token."""

    def _answer(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, target=self.path, headers=headers, body=body)
        self._send(self.server.answer(request))

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.all_headers():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)


def serve_review(home: Home, *, idle_seconds: float, announce: Callable[[str], None]) -> None:
    """Serve the review until no one has used it for a while, or the terminal interrupts.

    Parameters
    ----------
    home
        The site's home.
    idle_seconds
        How long without use.
    announce
        Told the address to open.
    """
    server = ReviewServer(home, idle_seconds=idle_seconds)
    announce(f"open in your browser, on this machine: {server.address}")
    announce(f"the address works once; the page stops after {round(idle_seconds / 60)} minutes without use, or Ctrl-C")
    try:
        server.run()
    except KeyboardInterrupt:
        announce("stopped")
    else:
        announce("stopped: no one used the page")
