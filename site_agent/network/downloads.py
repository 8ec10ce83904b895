"""What a site fetches from the registry: atlases, resumed where they broke off, and released results.

Nothing that comes is used before it is whole and its hash, or the coordinator's signature, holds (SPEC 3.3, 2.4).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.atlas_manifest import AtlasManifest
from protocol.envelopes import PayloadType, envelope_limit
from protocol.errors import ErrorCode, ProtocolError
from protocol.modules.signed_specification import Specification
from protocol.plan import StudyPlan
from protocol.results import ResultSet
from protocol.roster import Believed, open_from_coordinator, open_plan, open_results
from protocol.signing import VerifyingKey
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.runtime.files import PRIVATE, cannot_write, write_atomically
from site_agent.network.gateway_client import GatewayClient
from site_agent.network.keys import NetworkHome

_DOWNLOAD_SECONDS: Final = 3_600.0
_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ListedStudy:
    """A study that names this site, its signatures checked."""

    plan: Believed[StudyPlan]
    manifest: Believed[AtlasManifest]
    results_bytes: int


def list_studies(client: GatewayClient, coordinator: VerifyingKey) -> tuple[ListedStudy, ...]:
    """Return the studies that the registry has for this site.

    Raises
    ------
    ProtocolError
        A signature does not hold, or a plan and its manifest do not belong together.
    """
    listed = []
    for each in client.call(calls.LIST_STUDIES, wire.ListStudiesRequest()).studies:
        plan = open_plan(bytes(each.plan), coordinator)
        manifest = open_from_coordinator(bytes(each.manifest), AtlasManifest, PayloadType.ATLAS_MANIFEST, coordinator)
        if manifest.message.reference() != plan.message.atlas:
            raise ProtocolError(ErrorCode.ATLAS_MISMATCH, f"Plan and manifest of {plan.message.study} differ.")
        listed.append(ListedStudy(plan=plan, manifest=manifest, results_bytes=int(each.results_bytes)))
    return tuple(listed)


def fetch_atlas(
    client: GatewayClient, home: NetworkHome, manifest: AtlasManifest, *, log: Callable[[str], None]
) -> Path:
    """Return where the whole atlas of a manifest lies; it is fetched, or what is absent of it, where needed.

    Raises
    ------
    ProtocolError
        What came is not the manifest's atlas; it is thrown away.
    UnreachableError
        The download broke off; what came is kept, and the next call goes on there.
    NoRoomError
        The disk is full; what came is kept, and the next call goes on there.
    InputError
        The folder cannot be written.
    """
    path = home.atlas(manifest.sha256)
    if path.is_file():
        return path
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        offset = part.stat().st_size if part.is_file() else 0
        if offset > manifest.size_bytes:
            part.unlink()
            offset = 0
        if offset:
            log(f"atlas {manifest.name}: going on at {offset} of {manifest.size_bytes} bytes")
        with part.open("ab") as file:
            request = wire.FetchAtlasRequest(sha256=manifest.sha256, offset=offset)
            for chunk in client.stream(calls.FETCH_ATLAS, request, seconds=_DOWNLOAD_SECONDS):
                file.write(chunk.data)
                if file.tell() > manifest.size_bytes:
                    break
        _check_whole(part, manifest)
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    log(f"atlas {manifest.name}: {manifest.size_bytes} bytes, SHA-256 {manifest.sha256}")
    return path


def _check_whole(part: Path, manifest: AtlasManifest) -> None:
    size = part.stat().st_size
    if size < manifest.size_bytes:
        raise ProtocolError(
            ErrorCode.ATLAS_MISSING,
            f"The download broke off at {size} of {manifest.size_bytes} bytes.",
            hint="it goes on there at the next attempt",
        )
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if size != manifest.size_bytes or digest.hexdigest() != manifest.sha256:
        part.unlink()
        raise ProtocolError(
            ErrorCode.ATLAS_MISMATCH, "What came is not the atlas that the coordinator signed.", hint="fetch it again"
        )


def fetch_results(
    client: GatewayClient, home: NetworkHome, coordinator: VerifyingKey, study: str
) -> Believed[ResultSet]:
    """Return a study's released results, verified and kept.

    Raises
    ------
    RefusedError
        None were released to this site.
    ProtocolError
        They are too large, of another study, or the coordinator did not sign them.
    """
    limit = envelope_limit(PayloadType.RESULTS)
    data = bytearray()
    for chunk in client.stream(
        calls.FETCH_RESULTS, wire.FetchResultsRequest(study=study, offset=0), seconds=_DOWNLOAD_SECONDS
    ):
        data += chunk.data
        if len(data) > limit:
            raise ProtocolError(ErrorCode.OVERSIZE)
    results = open_results(bytes(data), coordinator)
    if results.message.study.study != study:
        raise ProtocolError(ErrorCode.WRONG_STUDY)
    write_atomically(home.results(study), bytes(data), mode=PRIVATE)
    return results


def keep_specification(home: NetworkHome, results: Believed[ResultSet], coordinator: VerifyingKey) -> Path | None:
    """Keep the signed specification that came with a study's results, and return where; None where none came.

    Raises
    ------
    ProtocolError
        The coordinator did not sign it, or it is of another study or plan than the results.
    """
    card, found = results.message.study, results.message.specification
    if found is None or found.envelope is None:
        return None
    data = found.envelope.encode("utf-8")
    said = open_from_coordinator(data, Specification, PayloadType.SPECIFICATION, coordinator).message
    if (said.study, said.plan_sha256) != (card.study, card.plan_sha256):
        raise ProtocolError(ErrorCode.WRONG_STUDY, "The specification within the results is of another study or plan.")
    path = home.specification(card.study)
    write_atomically(path, data, mode=PRIVATE)
    return path


def named(studies: Sequence[ListedStudy], digest: str) -> AtlasManifest | None:
    """Return the manifest of the atlas with this hash, None where no study names it."""
    for each in studies:
        if each.manifest.message.sha256 == digest:
            return each.manifest.message
    return None
