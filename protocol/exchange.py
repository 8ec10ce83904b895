"""How an exchange is carried by Flower: the message type, the record and its fields (SPEC 3.8).

Flower carries opaque bytes: a query with the signed plan one way; an answer with its sealed reports the other way. A
site that cannot believe a query answers with a bare code, since it has nothing to sign an answer to.
"""

from dataclasses import dataclass
from typing import Final

from protocol.errors import ErrorCode

MESSAGE_TYPE: Final = "query.collect"
ACTION: Final = "collect"
RECORD: Final = "crosslot"
QUERY: Final = "query"
PLAN: Final = "plan"
ANSWER: Final = "answer"
REPORTS: Final = "reports"
CODE: Final = "code"
TERMS: Final = "terms"
TERMS_LIMIT: Final = 128 * 1024
"""The largest document of a study's terms, bytes; it travels with every query."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What the coordinator sends: two sealed envelopes, and the study's terms where it has any (SPEC 5.11)."""

    query: bytes
    plan: bytes
    terms: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a site sends: a sealed answer and the sealed reports that it names."""

    answer: bytes
    reports: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BareCode:
    """What a site sends to a query that it does not believe."""

    code: ErrorCode


BUNDLE: Final = {
    "pyproject.toml": """\
[project]
name = "crosslot"
version = "1.0.0"
description = "Carries no code: both ends run what is installed there."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "crosslot"

[tool.flwr.app.components]
serverapp = "coordinator.network.flower_app:app"
clientapp = "site_agent.network.flower_app:app"
"""
}
"""The files of the bundle that Flower wants of a run; a site never opens the bundle that it is sent."""

BUNDLE_SHA256: Final = "b96eca99a8f4b8acea8ef2fa725d23a14341eefd206385cbe5beb32e0eb7efb2"
"""The hash of the bundle that Flower 1.41 builds of these files; a site tells another one in its log."""
