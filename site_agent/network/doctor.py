"""The preflight of a site: each thing that a study needs of machine and network, PASSED or what to do.

A check tells one named state; it changes nothing.
"""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

from protocol.policy import policy_or_refuse
from protocol.signing import VerifyingKey
from protocol.toml_documents import DOCUMENT_LIMIT
from shared.errors import CrosslotError
from shared.runtime.files import read_bounded
from site_agent.network.downloads import list_studies
from site_agent.network.gateway_client import GatewayClient, connected
from site_agent.network.greeting import greet
from site_agent.network.keys import NetworkHome
from site_agent.network.renewal import RENEW_BEFORE, time_left

PASSED: Final = "PASSED"
_FLOWER: Final = "1.41."
_LEAST_FREE_BYTES: Final = 2 * 2**30
_CONNECT_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check: a name, a state (PASSED, or a catalogued word), and what to know or to do."""

    check: str
    state: str
    say: str

    @property
    def passed(self) -> bool:
        """Whether nothing needs to be done."""
        return self.state == PASSED


def examine(home: NetworkHome) -> Iterator[Finding]:
    """Yield the findings of all checks, each as it is known; what cannot be checked any more is left out."""
    yield _python()
    yield _flower()
    yield _disk(home.folder)
    keys = _private_keys(home)
    yield keys
    yield _tables(home.folder)
    if not home.joined:
        yield Finding(check="joined", state="not-joined", say="join first: crosslot-site join INVITE")
        return
    yield Finding(check="joined", state=PASSED, say=f"{home.settings.site} at {home.settings.address}")
    if not keys.passed:  # a key that others may have read opens no connection
        return
    yield _policy(home)
    yield _certificate(home)
    yield _reachable(home)
    try:
        with connected(home) as client:
            yield from _with_coordinator(home, client)
    except CrosslotError as error:
        yield Finding(check="coordinator", state="no-answer", say=f"{error} ({error.hint})")


def _with_coordinator(home: NetworkHome, client: GatewayClient) -> Iterator[Finding]:
    greeting = greet(client, home)
    yield Finding(
        check="coordinator", state=PASSED, say=f"it answers, and knows this site; crosslot {greeting.version}"
    )
    problems = {problem.partition(":")[0]: problem for problem in greeting.problems()}
    skew = f"{greeting.clock_ahead_seconds:+.0f} s from the coordinator's"
    for check, word, fine in (("versions", "version-mismatch", "they fit"), ("clock", "clock-skew", skew)):
        state = word if word in problems else PASSED
        yield Finding(check=check, state=state, say=problems.get(word, fine))
    yield from _studies(home, client)


def _studies(home: NetworkHome, client: GatewayClient) -> Iterator[Finding]:
    studies = list_studies(client, VerifyingKey.from_hex(home.settings.coordinator))
    if not studies:
        yield Finding(check="studies", state=PASSED, say="none names this site yet")
    for each in studies:
        plan, manifest = each.plan.message, each.manifest.message
        path = home.atlas(manifest.sha256)
        part = path.with_suffix(".part")
        if path.is_file() and path.stat().st_size != manifest.size_bytes:
            yield Finding(
                check=f"atlas of {plan.study}",
                state="atlas-damaged",
                say=f"remove {path}; serve fetches it again",
            )
        elif path.is_file():
            yield Finding(check=f"atlas of {plan.study}", state=PASSED, say=manifest.name)
        elif part.is_file():
            held = f"{part.stat().st_size} of {manifest.size_bytes} bytes are here"
            yield Finding(check=f"atlas of {plan.study}", state=PASSED, say=f"{held}; serve goes on there")
        else:
            yield Finding(check=f"atlas of {plan.study}", state=PASSED, say="not here yet; serve fetches it when asked")


def _python() -> Finding:
    found = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.version_info < (3, 11):  # noqa: UP036 - a site may run this from a copied environment
        return Finding(check="python", state="python-too-old", say=f"expected 3.11 or later, found {found}")
    return Finding(check="python", state=PASSED, say=found)


def _flower() -> Finding:
    found = version("flwr")
    if not found.startswith(_FLOWER):
        say = f"expected flwr {_FLOWER}*, found {found}; install crosslot from its lock"
        return Finding(check="flower", state="flower-version", say=say)
    return Finding(check="flower", state=PASSED, say=found)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    say = f"{free / 2**30:.1f} GiB free under {folder}"
    if free < _LEAST_FREE_BYTES:
        return Finding(check="disk", state="disk-full", say=f"{say}; make room: expected at least 2 GiB")
    if not os.access(folder, os.W_OK):
        return Finding(check="disk", state="folder-read-only", say=f"{folder}: expected a folder that this user writes")
    return Finding(check="disk", state=PASSED, say=say)


def _private_keys(home: NetworkHome) -> Finding:
    folder = home.folder / "keys"
    private = [*folder.glob("*.key"), *folder.glob("*.pem"), *folder.glob("*.secret")]
    readable = sorted(path.name for path in private if path.stat().st_mode & 0o077)
    if readable:
        say = f"others can read {', '.join(readable)}; run: chmod 600 {folder}/*"
        return Finding(check="keys", state="keys-readable", say=say)
    return Finding(check="keys", state=PASSED, say=f"{len(private)} private files, readable by their owner only")


def _tables(folder: Path) -> Finding:
    absent = [name for name in ("lots.csv", "potency.csv", "policy.toml") if not (folder / name).is_file()]
    if absent:
        say = f"expected {', '.join(absent)} in {folder}; try them by: crosslot-site check {folder} --help"
        return Finding(check="data", state="data-missing", say=say)
    return Finding(check="data", state=PASSED, say="lots.csv, potency.csv and policy.toml are here")


def _policy(home: NetworkHome) -> Finding:
    path = home.folder / "policy.toml"
    if not path.is_file():
        return Finding(check="policy", state="policy-missing", say="without policy.toml nothing leaves this site")
    try:
        policy = policy_or_refuse(read_bounded(path, limit=DOCUMENT_LIMIT, what="the site's policy"))
        own = VerifyingKey.from_hex(home.settings.coordinator).fingerprint
    except CrosslotError as error:
        return Finding(check="policy", state="policy-damaged", say=f"{error}")
    if policy.site != home.settings.site:
        return Finding(check="policy", state="policy-damaged", say=f"it is that of {policy.site}")
    if own not in policy.allowed_coordinators:
        say = f"policy.toml does not name this coordinator under allowed_coordinators: {own}"
        return Finding(check="policy", state="coordinator-not-allowed", say=say)
    named = ", ".join(policy.allowed_studies) or "none yet"
    return Finding(check="policy", state=PASSED, say=f"it names this coordinator; studies: {named}")


def _certificate(home: NetworkHome) -> Finding:
    left = time_left(home, datetime.now(UTC))
    if left < timedelta(0):
        say = "it opens nothing any more; ask the coordinator to revoke this site and to invite it anew"
        return Finding(check="certificate", state="certificate-expired", say=say)
    say = f"good for {left.days} days"
    if left < RENEW_BEFORE:
        say += "; serve renews it by itself, or run: crosslot-site renew"
    return Finding(check="certificate", state=PASSED, say=say)


def _reachable(home: NetworkHome, connect: Callable[..., socket.socket] = socket.create_connection) -> Finding:
    address = home.settings.address
    if proxy := os.environ.get("https_proxy"):  # in small letters, as gRPC reads it
        return Finding(check="network", state=PASSED, say=f"by the proxy {proxy.rpartition('@')[2]}")
    host, _, port = address.rpartition(":")
    try:
        connect((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        say = f"{address}: {error.strerror or error}; allow this one outbound connection, or set https_proxy"
        return Finding(check="network", state="unreachable", say=say)
    return Finding(check="network", state=PASSED, say=f"{address} takes connections")
