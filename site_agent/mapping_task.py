"""The mapping of one study's lots as a process of its own: ``python -m site_agent.mapping_task HOME STUDY OUT``.

It opens no connection: what it needs (the plan, the policy, the atlas) lies in the home. It ends with a file in OUT:
the offers, or a code with the words for the site's log. So a mapping that hangs or crashes harms nothing but itself.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from protocol.codec import decode, encode
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Pseudonym, StudyId
from protocol.policy import effective, policy_or_refuse
from protocol.report import LotReport
from shared.atlas.artefact import MAXIMUM_BYTES, from_bytes
from shared.errors import CrosslotError
from shared.runtime.files import PRIVATE, read_bounded, write_atomically
from site_agent.home import open_home
from site_agent.release.decisions import Provenance
from site_agent.release.offers import NotOffered, Offer

OFFERS_FILE: Final = "offers.json"
FAILURE_FILE: Final = "failure.json"
ATLASES: Final = "atlases"


def write_offers(offers: tuple[Offer | NotOffered, ...], path: Path) -> None:
    """Write offers, and which lots have none, to a file that only its owner reads."""
    write_atomically(path, json.dumps([_as_json(offer) for offer in offers]).encode(), mode=PRIVATE)


def read_offers(path: Path) -> tuple[Offer | NotOffered, ...]:
    """Return the offers that :func:`write_offers` wrote."""
    return tuple(_from_json(each) for each in json.loads(path.read_bytes()))


def _as_json(offer: Offer | NotOffered) -> dict[str, Any]:
    if isinstance(offer, NotOffered):
        return {"lot": offer.lot, "reasons": offer.reasons}
    return {
        "report": encode(offer.report).decode("utf-8"),
        "provenance": None if offer.provenance is None else asdict(offer.provenance),
    }


def _from_json(each: dict[str, Any]) -> Offer | NotOffered:
    if "report" not in each:
        return NotOffered(lot=Pseudonym(each["lot"]), reasons=tuple(each["reasons"]))
    return Offer(
        report=decode(LotReport, each["report"].encode("utf-8"), limit=PAYLOAD_LIMITS[PayloadType.LOT_REPORT]),
        provenance=None if each["provenance"] is None else Provenance(**each["provenance"]),
    )


def main(home_folder: Path, study: StudyId, out: Path) -> int:
    """Map the lots of a study and write what came of it; return the process's exit code."""
    try:
        offers = _mapped(home_folder, study)
    except ProtocolError as error:
        return _failed(out, error.code, str(error))
    except CrosslotError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return _failed(out, ErrorCode.LOTS_UNREADABLE, f"{error}{hint}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the site's log shall have its words
        return _failed(out, ErrorCode.INTERNAL, f"{type(error).__name__}: {error}")
    write_offers(offers, out / OFFERS_FILE)
    return 0


def _mapped(home_folder: Path, study: StudyId) -> tuple[Offer | NotOffered, ...]:
    from site_agent.cells.lot_files import require_readable_files  # noqa: PLC0415 - imports the mapper
    from site_agent.cells.lots import read_site_folder_for  # noqa: PLC0415 - the same
    from site_agent.lot_reports import FolderReports  # noqa: PLC0415 - the same

    home = open_home(home_folder)
    plan = home.plan(study).message
    rules = effective(policy_or_refuse(home.policy()), plan)
    atlas = read_bounded(home_folder / ATLASES / f"{plan.atlas.sha256}.atlas", limit=MAXIMUM_BYTES, what="the atlas")
    site = read_site_folder_for(home_folder, plan)
    require_readable_files(site, from_bytes(atlas))  # what a file must hold depends on the atlas's modality
    reports = FolderReports(
        site=site,
        atlas=atlas,
        secret=home.secret(),
        done=lambda lot: _say(f"mapped lot {lot.lot}"),
        log=_say,
        noise=home.noise_book(),
    )
    return tuple(reports(rules))


def _failed(out: Path, code: ErrorCode, words: str) -> int:
    write_atomically(out / FAILURE_FILE, json.dumps({"code": code.value, "words": words}).encode(), mode=PRIVATE)
    return 1


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a process of a tree speaks by its output


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), StudyId(sys.argv[2]), Path(sys.argv[3])))
