"""The coordinator's folder: its keys, its settings, what it published and what it collected; the only map of it.

``init`` makes it once. Every private file is mode 0600, and so are the databases.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from coordinator.signing_commands import public_path
from protocol.certificates import Pair, issue_gateway, new_authority, new_loopback
from protocol.enrolment import Address
from protocol.identifiers import Sha256, SiteId, StudyId
from protocol.message import Message
from protocol.signing import SigningKey
from protocol.toml_documents import read_toml, write_toml
from shared.errors import InputError, RefusedError
from shared.runtime.files import PRIVATE, appearing_whole, read_bounded, write_atomically

SETTINGS_FILE: Final = "coordinator.toml"
_SETTINGS_LIMIT: Final = 64 * 1024
_KEY_LIMIT: Final = 16 * 1024
_SECRET_BYTES: Final = 32


class CoordinatorSettings(Message):
    """What a person may change; ``init`` writes sane values."""

    schema_id: Literal["crosslot.coordinator/1"] = Field(default="crosslot.coordinator/1", alias="schema")
    address: Address  # as the sites reach it
    listen: Address  # as this machine binds it
    invite_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 24 * 7
    maximum_calls_per_second: Annotated[int, Field(ge=1, le=10_000)] = 50
    maximum_concurrent_calls: Annotated[int, Field(ge=1, le=1_000)] = 16
    gateway_threads: Annotated[int, Field(ge=4, le=512)] = 64
    reply_seconds: Annotated[int, Field(ge=5, le=86_400)] = 60
    sites_at_once: Annotated[int, Field(ge=1, le=1_000)] = 32


_COMMENTS: Final = {
    "": "The coordinator's settings; `crosslot-coordinator serve` reads them when it starts.",
    "address": "How sites reach the gateway: one host, one port. Its certificate names this host.",
    "listen": "Which address of this machine the gateway binds.",
    "invite_hours": "How long an invite is good.",
    "maximum_calls_per_second": "For each site; an idle site makes about one call in two seconds.",
    "maximum_concurrent_calls": "For each site.",
    "sites_at_once": "How many sites a collection waits for at a time; where one has answered the next is asked.",
    "reply_seconds": "How long one round of a collection waits for answers; missing sites are asked again.",
}


@dataclass(frozen=True)
class CoordinatorHome:
    """The folder of one coordinator."""

    path: Path

    @property
    def settings(self) -> CoordinatorSettings:
        """The settings as they are on disk now.

        Raises
        ------
        InputError
            The folder is no coordinator's, or its settings are damaged.
        """
        file = self.path / SETTINGS_FILE
        if not file.is_file():
            raise InputError(
                f"{self.path}: expected a coordinator's folder, found no {SETTINGS_FILE}",
                hint="make one with: crosslot-coordinator init DIR",
            )
        data = read_bounded(file, limit=_SETTINGS_LIMIT, what="the coordinator's settings")
        return read_toml(CoordinatorSettings, data, subject=str(file))

    @property
    def key(self) -> SigningKey:
        """The coordinator's signing key."""
        return SigningKey.load(self.key_path)

    @property
    def key_path(self) -> Path:
        """Where the signing key lies; its public half is beside it."""
        return self.path / "keys" / "coordinator.key"

    @property
    def public_key_path(self) -> Path:
        """Where the public half of the signing key lies."""
        return public_path(self.key_path)

    @property
    def authority(self) -> Pair:
        """The private certificate authority."""
        return self._pair("authority")

    @property
    def gateway(self) -> Pair:
        """The gateway's certificate and key."""
        return self._pair("gateway")

    @property
    def superlink_certificate(self) -> Path:
        """The SuperLink's certificate on loopback."""
        return self.path / "keys" / "superlink.crt"

    @property
    def superlink_key(self) -> Path:
        """The SuperLink's key on loopback."""
        return self.path / "keys" / "superlink.key"

    @property
    def executor_secret(self) -> Path:
        """The secret that the SuperLink asks of whoever takes its tasks."""
        return self.path / "keys" / "executor.secret"

    @property
    def superlink_database(self) -> Path:
        """The SuperLink's own database."""
        return self.path / "superlink.sqlite"

    @property
    def store_path(self) -> Path:
        """Where verified reports and the log of collections are kept."""
        return self.path / "store.sqlite"

    @property
    def enrolments_path(self) -> Path:
        """Where invites and enrolled sites are kept."""
        return self.path / "enrolments.sqlite"

    @property
    def studies(self) -> Path:
        """What was published, a folder a study."""
        return self.path / "studies"

    def study(self, study: StudyId) -> Path:
        """Return the folder of one study."""
        return self.studies / study

    def atlas(self, digest: Sha256) -> Path:
        """Return where an atlas of this hash lies."""
        return self.path / "atlases" / f"{digest}.atlas"

    def results(self, study: StudyId, site: SiteId) -> Path:
        """Return where the signed results released to one site lie."""
        return self.study(study) / "released" / f"{site}.json"

    @property
    def run(self) -> Path:
        """What the running service says of itself."""
        return self.path / "run"

    @property
    def superlink_address(self) -> str:
        """Where the running SuperLink listens on loopback.

        Raises
        ------
        InputError
            The service does not run.
        """
        try:
            said = json.loads((self.run / "service.json").read_bytes())
            return f"127.0.0.1:{int(said['superlink_port'])}"
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.path}: the coordinator's service does not run", hint="start: crosslot-coordinator serve"
            ) from None

    def _pair(self, name: str) -> Pair:
        folder = self.path / "keys"
        key = folder / f"{name}.key"
        if key.is_file() and key.stat().st_mode & 0o077:
            raise RefusedError(f"{key}: expected a key that only its owner can read", hint=f"run: chmod 600 {key}")
        return Pair(
            certificate=read_bounded(folder / f"{name}.crt", limit=_KEY_LIMIT, what="a certificate"),
            key=read_bounded(key, limit=_KEY_LIMIT, what="a private key"),
        )


def init_home(path: Path, *, address: str, listen: str | None, now: datetime) -> CoordinatorHome:
    """Make a coordinator's folder: keys, a private authority, settings.

    Parameters
    ----------
    path : Path
        A new or empty folder.
    address : str
        Host and port as the sites reach them.
    listen : str, optional
        Host and port to bind; without, the port of ``address`` on all addresses of this machine.
    now : datetime
        When the certificates begin.

    Raises
    ------
    InputError
        The folder has content, or an address is none.
    """
    host, _, port = address.rpartition(":")
    bound = listen or f"0.0.0.0:{port}"
    document = f'schema = "crosslot.coordinator/1"\naddress = "{address}"\nlisten = "{bound}"\n'
    settings = read_toml(CoordinatorSettings, document.encode(), subject="the addresses")
    with appearing_whole(path) as work:
        keys = work / "keys"
        keys.mkdir(mode=0o700)
        key = SigningKey.generate()
        key.save(keys / "coordinator.key")
        write_atomically(keys / "coordinator.key.pub", key.verifying_key.to_hex().encode() + b"\n")
        authority = new_authority(now)
        pairs = {
            "authority": authority,
            "gateway": issue_gateway(authority, (host.strip("[]"), "localhost", "127.0.0.1"), now),
            "superlink": new_loopback(now),
        }
        for name, pair in pairs.items():
            write_atomically(keys / f"{name}.crt", pair.certificate)
            write_atomically(keys / f"{name}.key", pair.key, mode=PRIVATE)
        write_atomically(keys / "executor.secret", secrets.token_hex(_SECRET_BYTES).encode(), mode=PRIVATE)
        write_atomically(work / SETTINGS_FILE, write_toml(settings, _COMMENTS))
    return CoordinatorHome(path)


def say_running(home: CoordinatorHome, superlink_port: int, pids: Mapping[str, int]) -> None:
    """Write down that the service runs, and where."""
    said = json.dumps({"superlink_port": superlink_port, "pids": dict(pids)})
    write_atomically(home.run / "service.json", said.encode(), mode=PRIVATE)
