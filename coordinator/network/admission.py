"""What the gateway lets through of Flower's calls, as rules over values: path, node key, freshness, rate.

Rules
-----
1. Only ``POST /v1/fleet/...`` calls that a SuperNode makes in its work pass; nodes are registered by enrolment alone.
2. The node key of a call is that of the site whose certificate opened the connection.
3. A signed timestamp is taken once: Flower itself would take it for five minutes, on any body.
4. Each site has its share of calls a second and of calls at once, and no more.
"""

import base64
import binascii
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from protocol.wire.calls import MAXIMUM_RELAY_BYTES

FLEET_PATHS: Final = frozenset(
    f"/v1/fleet/{call}"
    for call in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
KEY_HEADER: Final = "flwr-public-key"
SIGNATURE_HEADER: Final = "flwr-signature"
PASSED_HEADERS: Final = frozenset(
    {
        KEY_HEADER,
        SIGNATURE_HEADER,
        "flwr-timestamp",
        "flwr-package-name",
        "flwr-package-version",
        "flwr-component-name",
    }
)
_HEADER_LIMIT: Final = 4_096
_SIGNATURE_SECONDS: Final = 330.0  # Flower takes a timestamp for 305 s
_SIGNATURES_KEPT: Final = 200_000


class Refusal(Exception):  # noqa: N818 - a value as much as an error
    """Why a call does not pass, for the coordinator's log; the caller is told the same words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def admitted_headers(path: str, body_bytes: int, headers: Mapping[str, str], node_key: bytes) -> dict[str, str]:
    """Return the headers that go on to the SuperLink with a call.

    Parameters
    ----------
    path, body_bytes, headers
        The call as it came.
    node_key : bytes
        The site's registered node key, PEM.

    Raises
    ------
    Refusal
        The call is none of a working SuperNode, too large, or made with another node's key.
    """
    if path not in FLEET_PATHS:
        raise Refusal("path not relayed")
    if body_bytes > MAXIMUM_RELAY_BYTES:
        raise Refusal("body too large")
    passed = {name.lower(): value for name, value in headers.items() if name.lower() in PASSED_HEADERS}
    if any(len(value) > _HEADER_LIMIT or not value.isprintable() for value in passed.values()):
        raise Refusal("header not acceptable")
    try:
        claimed = base64.b64decode(passed.get(KEY_HEADER, ""), validate=True)
    except (binascii.Error, ValueError):
        claimed = b""
    if claimed != node_key:
        raise Refusal("node key of another")
    if not passed.get(SIGNATURE_HEADER):
        raise Refusal("node signature missing")
    return passed


class OnceOnly:
    """The node signatures that were taken of late; each passes once."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, signature: str, now: float) -> None:
        """Return if the signature is new.

        Raises
        ------
        Refusal
            It was taken before.
        """
        with self._lock:
            while self._seen and (
                next(iter(self._seen.values())) < now - _SIGNATURE_SECONDS or len(self._seen) >= _SIGNATURES_KEPT
            ):
                self._seen.popitem(last=False)
            if signature in self._seen:
                raise Refusal("request replayed")
            self._seen[signature] = now


class Share:
    """One site's share: a bucket of calls that fills at a rate, and a number of calls at once."""

    def __init__(self, *, calls_per_second: float, concurrent: int) -> None:
        self._rate = calls_per_second
        self._burst = 4 * calls_per_second
        self._left = self._burst
        self._at: float | None = None
        self._concurrent = concurrent
        self._under_way = 0
        self._lock = threading.Lock()

    @contextmanager
    def one_call(self, now: float) -> Iterator[None]:
        """Hold one call of the share while the block runs.

        Raises
        ------
        Refusal
            The share is used up.
        """
        with self._lock:
            if self._at is not None:
                self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
            if self._left < 1:
                raise Refusal("too many calls a second")
            if self._under_way >= self._concurrent:
                raise Refusal("too many calls at once")
            self._left -= 1
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
