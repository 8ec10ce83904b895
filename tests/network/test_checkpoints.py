"""The coordinator's countersignatures come home to the site whose ledger they are of, and to no other."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.network.registry import CHECKPOINTS_FOLDER, publish
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.errors import ProtocolError
from protocol.identifiers import Sha256, SiteId, StudyId, instant
from protocol.ledger import Head, checkpoint_of
from protocol.signing import SigningKey
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import to_bytes
from site_agent.network.checkpoints import bring_checkpoints, held_rounds
from site_agent.network.keys import NetworkHome
from tests.network.conftest import LiveGateway
from tests.study_with_cells import cell_study, make_study_plan

STUDY = StudyId("vegf-2026")


@pytest.fixture
def studied(gateway: LiveGateway, tmp_path: Path) -> LiveGateway:
    plan = make_study_plan().model_copy(update={"sites": ("kyoto", "kyoto-2")})
    (tmp_path / "study.toml").write_bytes(write_study_draft(plan))
    (tmp_path / "reference.atlas").write_bytes(to_bytes(cell_study().atlas))
    publish(gateway.home, tmp_path / "study.toml", tmp_path / "reference.atlas")
    return gateway


def countersigned(gateway: LiveGateway, site: str, number: int, *, key: SigningKey | None = None) -> bytes:
    """Keep a checkpoint of a round as a collection does, and return it."""
    head = Head(length=number + 1, last_sha256=Sha256(f"{number:064d}"))
    checkpoint = checkpoint_of(head, study=STUDY, site=SiteId(site), at=instant(datetime.now(UTC)))
    sealed = seal(encode(checkpoint), PayloadType.CHECKPOINT, key or gateway.home.key)
    folder = gateway.home.study(STUDY) / CHECKPOINTS_FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{site}-{number}.json").write_bytes(sealed)
    return sealed


def bring(gateway: LiveGateway, home: NetworkHome) -> int:
    client = gateway.client(home)
    try:
        return bring_checkpoints(client, home, gateway.home.key.verifying_key)
    finally:
        client.close()


def test_each_checkpoint_comes_once_and_as_it_was_sealed(studied: LiveGateway) -> None:
    home = studied.join("kyoto")
    assert bring(studied, home) == 0
    sealed = [countersigned(studied, "kyoto", number) for number in (1, 2, 10)]
    assert bring(studied, home) == 3
    folder = home.folder / "checkpoints"
    assert sorted(path.read_bytes() for path in folder.iterdir()) == sorted(sealed)
    assert held_rounds(folder) == {STUDY: 10}
    assert bring(studied, home) == 0
    countersigned(studied, "kyoto", 11)
    assert bring(studied, home) == 1


def test_a_site_gets_none_of_a_site_whose_name_begins_with_its_own(studied: LiveGateway) -> None:
    kyoto, other = studied.join("kyoto"), studied.join("kyoto-2")
    countersigned(studied, "kyoto-2", 7)
    assert bring(studied, kyoto) == 0
    assert bring(studied, other) == 1


def test_a_checkpoint_that_the_coordinator_did_not_sign_is_not_kept(studied: LiveGateway) -> None:
    home = studied.join("kyoto")
    countersigned(studied, "kyoto", 1)
    countersigned(studied, "kyoto", 2, key=SigningKey.generate())
    with pytest.raises(ProtocolError):
        bring(studied, home)
    assert held_rounds(home.folder / "checkpoints") == {STUDY: 1}


def test_a_checkpoint_of_another_site_is_not_kept(studied: LiveGateway) -> None:
    home = studied.join("kyoto")
    others = countersigned(studied, "kyoto-2", 3)
    (studied.home.study(STUDY) / CHECKPOINTS_FOLDER / "kyoto-3.json").write_bytes(others)
    with pytest.raises(ProtocolError, match="kyoto-2"):
        bring(studied, home)
    assert held_rounds(home.folder / "checkpoints") == {}


def test_one_that_is_here_is_never_replaced(studied: LiveGateway) -> None:
    home = studied.join("kyoto")
    first = countersigned(studied, "kyoto", 1)
    bring(studied, home)
    kept = home.folder / "checkpoints" / f"{STUDY}-r1.json"
    countersigned(studied, "kyoto", 1)
    kept.rename(kept.with_name("another-study-r1.json"))
    bring(studied, home)
    assert kept.with_name("another-study-r1.json").read_bytes() == first
