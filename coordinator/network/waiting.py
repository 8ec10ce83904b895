"""For which nodes a message waits at the SuperLink: read from its database, so that idle sites cost it nothing.

Every site polls each three seconds, and nearly always in vain. A poll costs the SuperLink several milliseconds, since
its six layers of middleware come before the one look into a table; that look alone costs a few microseconds.

Rules
-----
1. Nothing is ever written here, and nothing is held open for longer than a look.
2. What cannot be read is not guessed: the poll then goes to the SuperLink. A message whose time is over waits no more:
   Flower hands it out to nobody, and a collection that was killed leaves it there.
3. A look is good for a quarter of a second: so much later, at most, a site learns of a message.

The tables are Flower's own (flwr 1.41); ``tests/network/test_waiting.py`` is the contract test.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

POLL_PATH: Final = "/v1/fleet/pull-messages"
NOTHING: Final = b""
"""Flower's reply that no message waits: a message of Protocol Buffers in which no field is set."""

_GOOD_SECONDS: Final = 0.25
_BUSY_SECONDS: Final = 0.2
_WAITING: Final = """
SELECT DISTINCT node.public_key FROM message_ins JOIN node ON node.node_id = message_ins.dst_node_id
WHERE message_ins.delivered_at = ''
AND message_ins.created_at + message_ins.ttl > CAST(strftime('%s', 'now') AS REAL)
"""


class Waiting:
    """Says whether a message may wait for a node.

    Parameters
    ----------
    database : Path
        The SuperLink's.
    log : callable
        Takes one line where the database cannot be read, and none again until it could.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self, database: Path, log: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database.absolute()
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._keys: frozenset[bytes] | None = None
        self._told = False

    def may_wait(self, node_key: bytes) -> bool:
        """Return False only where no message waits for the node with this public key, PEM."""
        with self._lock:
            now = self._clock()
            if self._looked is None or now - self._looked >= _GOOD_SECONDS:
                self._keys, self._looked = self._look(), now
            return self._keys is None or node_key in self._keys

    def _look(self) -> frozenset[bytes] | None:
        try:
            connection = sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
            try:
                found = frozenset(bytes(key) for (key,) in connection.execute(_WAITING) if key is not None)
            finally:
                connection.close()
        except sqlite3.Error as error:
            if not self._told:
                self._log(f"the SuperLink's messages cannot be seen ({error}); every poll is passed on")
            self._told = True
            return None
        self._told = False
        return found
