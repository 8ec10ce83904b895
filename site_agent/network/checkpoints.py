"""The coordinator's countersignatures of this site's ledger, brought home: ``crosslot-site log verify`` uses them.

A checkpoint counts by the coordinator's signature alone (SPEC 6.3). One that came is never replaced: a ledger that was
cut and grown again contradicts an earlier checkpoint, not the latest.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode, ProtocolError
from protocol.ledger import Checkpoint
from protocol.roster import open_from_coordinator
from protocol.signing import VerifyingKey
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.runtime.files import PRIVATE, write_atomically
from site_agent.network.gateway_client import GatewayClient
from site_agent.network.keys import NetworkHome

_SECONDS: Final = 60.0
_NAME: Final = re.compile(r"(?P<study>.+)-r(?P<round>\d{1,9})\.json")


def held_rounds(folder: Path) -> Mapping[str, int]:
    """Return the latest round, by study, whose checkpoint lies in a folder."""
    held: dict[str, int] = {}
    for path in folder.glob("*.json"):
        if match := _NAME.fullmatch(path.name):
            held[match["study"]] = max(held.get(match["study"], 0), int(match["round"]))
    return held


def bring_checkpoints(client: GatewayClient, home: NetworkHome, coordinator: VerifyingKey) -> int:
    """Fetch the checkpoints of this site's ledger that are not here yet; return how many came.

    Raises
    ------
    ProtocolError
        One is not the coordinator's, or of another site or study; those before it are kept.
    CrosslotError
        The coordinator does not answer or refuses, or the folder cannot be written.
    """
    folder = home.folder / "checkpoints"
    held = [wire.HeldCheckpoints(study=study, round=number) for study, number in held_rounds(folder).items()]
    came = 0
    for each in client.stream(calls.FETCH_CHECKPOINTS, wire.FetchCheckpointsRequest(held=held), seconds=_SECONDS):
        envelope = bytes(each.checkpoint)
        opened = open_from_coordinator(envelope, Checkpoint, PayloadType.CHECKPOINT, coordinator).message
        if opened.site != home.settings.site or opened.study != each.study:
            raise ProtocolError(ErrorCode.WRONG_SITE, f"A checkpoint of {opened.site} in {opened.study} came.")
        path = folder / f"{opened.study}-r{each.round}.json"
        if not path.exists():
            write_atomically(path, envelope, mode=PRIVATE)
            came += 1
    return came
