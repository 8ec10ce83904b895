"""What a site's home holds for the network: where the coordinator is, and the keys that open the way to it.

Layout, beside what the home holds otherwise::

    network.toml                   the coordinator's address; what `join` was told
    keys/authority.crt             the one certificate authority that is believed about connections
    keys/client.crt  client.key    this site's certificate, and its key, which never leaves
    keys/node.key                  P-384: the identity of the site's Flower node
    keys/loopback.crt  .key        for the forwarder, between two processes of this machine
    keys/executor.secret           what the SuperNode asks of whoever takes its tasks
    atlases/<sha256>.atlas         atlases, as they were fetched
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from protocol.certificates import Pair, new_key, new_loopback, new_node_key, public_of
from protocol.enrolment import Address
from protocol.identifiers import PublicKeyHex, Sha256, SiteSlug
from protocol.message import Message
from protocol.toml_documents import read_toml, write_toml
from shared.errors import InputError, RefusedError
from shared.runtime.files import PRIVATE, read_bounded, write_atomically

SETTINGS_FILE: Final = "network.toml"
_LIMIT: Final = 64 * 1024


class NetworkSettings(Message):
    """Where the coordinator is, and by which key it signs."""

    schema_id: Literal["crosslot.site-network/1"] = Field(default="crosslot.site-network/1", alias="schema")
    site: SiteSlug
    address: Address
    coordinator: PublicKeyHex
    mapping_minutes: int = Field(default=240, ge=1, le=14_400)


_COMMENTS: Final = {
    "": "How this site reaches its coordinator: one outbound connection, to this host and port only.",
    "mapping_minutes": "The mapping of a study's lots is ended, and told as timed-out, after so many minutes.",
}


@dataclass(frozen=True)
class NetworkHome:
    """The network's part of a site's home."""

    folder: Path

    @property
    def settings(self) -> NetworkSettings:
        """What ``join`` wrote.

        Raises
        ------
        InputError
            The site has not joined.
        """
        path = self.folder / SETTINGS_FILE
        if not path.is_file():
            raise InputError(
                f"{self.folder}: expected a site that has joined, found no {SETTINGS_FILE}",
                hint="join first: crosslot-site join INVITE",
            )
        data = read_bounded(path, limit=_LIMIT, what="the network settings")
        return read_toml(NetworkSettings, data, subject=str(path))

    @property
    def joined(self) -> bool:
        """Whether ``join`` ended well here."""
        return (self.folder / SETTINGS_FILE).is_file()

    @property
    def authority(self) -> bytes:
        """The certificate to believe about the gateway, PEM."""
        return read_bounded(self.key_file("authority.crt"), limit=_LIMIT, what="the authority's certificate")

    @property
    def client(self) -> Pair:
        """The site's client certificate and key."""
        return Pair(
            certificate=read_bounded(self.key_file("client.crt"), limit=_LIMIT, what="the client certificate"),
            key=self._private("client.key"),
        )

    @property
    def node_key(self) -> bytes:
        """The node's private key, PEM."""
        return self._private("node.key")

    @property
    def executor_secret(self) -> bytes:
        """The secret by which the executor takes tasks of the SuperNode."""
        return self._private("executor.secret")

    def key_file(self, name: str) -> Path:
        """Return where a file of keys lies."""
        return self.folder / "keys" / name

    def atlas(self, digest: Sha256) -> Path:
        """Return where an atlas of this hash lies."""
        return self.folder / "atlases" / f"{digest}.atlas"

    def atlases(self) -> tuple[str, ...]:
        """Return the hashes of the atlases that are here."""
        return tuple(sorted(path.stem for path in (self.folder / "atlases").glob("*.atlas")))

    def results(self, study: str) -> Path:
        """Return where a study's signed results lie, once fetched."""
        return self.folder / "studies" / study / "results.json"

    def specification(self, study: str) -> Path:
        """Return where a study's signed specification lies, once it came with the results."""
        return self.folder / "studies" / study / "specification.json"

    def _private(self, name: str) -> bytes:
        path = self.key_file(name)
        if path.is_file() and path.stat().st_mode & 0o077:
            raise RefusedError(f"{path}: expected a key that only its owner can read", hint=f"run: chmod 600 {path}")
        return read_bounded(path, limit=_LIMIT, what="a private key")


def make_keys(home: NetworkHome, now: datetime) -> None:
    """Make the network's keys where they are absent; what is there stays, so that a broken-off join goes on."""
    loopback = new_loopback(now)
    made: dict[str, Callable[[], bytes]] = {
        "client.key": new_key,
        "node.key": new_node_key,
        "executor.secret": lambda: secrets.token_hex(32).encode(),
    }
    for name, make in made.items():
        if not home.key_file(name).is_file():
            write_atomically(home.key_file(name), make(), mode=PRIVATE)
    write_atomically(home.key_file("loopback.key"), loopback.key, mode=PRIVATE)
    write_atomically(home.key_file("loopback.crt"), loopback.certificate)


def write_joined(home: NetworkHome, settings: NetworkSettings, *, authority: bytes, certificate: bytes) -> None:
    """Write down that the site has joined; the settings come last, so that a part is never taken for the whole."""
    write_atomically(home.key_file("authority.crt"), authority)
    write_atomically(home.key_file("client.crt"), certificate)
    write_atomically(home.folder / SETTINGS_FILE, write_toml(settings, _COMMENTS), mode=PRIVATE)


def node_public(home: NetworkHome) -> bytes:
    """Return the public half of the node's key, PEM."""
    return public_of(home.node_key)
