"""The signed specification comes home with a study's results, and is kept only where it is the coordinator's own."""

from pathlib import Path

import pytest

from coordinator.analysis import study_card
from coordinator.modules.specification_signing import with_envelope
from coordinator.network.registry import publish
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.errors import ProtocolError
from protocol.identifiers import SiteId
from protocol.modules.signed_specification import Specification
from protocol.plan import AnalysisPlan
from protocol.results import LotCounts, ResultSet
from protocol.signing import SigningKey
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import to_bytes
from site_agent.network.downloads import fetch_results, keep_specification
from tests.network.conftest import LiveGateway
from tests.site_agent.qualification.specifications import make_specification, sealed
from tests.study_parts import STRANGER, STUDY
from tests.study_with_cells import cell_study, make_study_plan

SITE = SiteId("kyoto")


def _results(specification: Specification, key: SigningKey) -> ResultSet:
    card = study_card(
        study=STUDY,
        title="VEGF",
        question="Which?",
        plan_sha256=specification.plan_sha256,
        atlas=specification.atlas,
        analysis=AnalysisPlan(seed=1),
    )
    bare = ResultSet(
        study=card, endpoints=(), lots=LotCounts(n=0, n_units=0, sites=0, strata=0), verdicts=(), associations=()
    )
    return with_envelope(bare, sealed(specification, key), specification)


def _released(gateway: LiveGateway, folder: Path, results: ResultSet) -> None:
    (folder / "study.toml").write_bytes(write_study_draft(make_study_plan()))
    (folder / "reference.atlas").write_bytes(to_bytes(cell_study().atlas))
    publish(gateway.home, folder / "study.toml", folder / "reference.atlas")
    path = gateway.home.results(STUDY, SITE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(seal(encode(results), PayloadType.RESULTS, gateway.home.key))


def test_the_specification_within_the_results_is_kept_as_it_was_signed(gateway: LiveGateway, tmp_path: Path) -> None:
    specification, key = make_specification(), gateway.home.key
    _released(gateway, tmp_path, _results(specification, key))
    home = gateway.join(SITE)
    client = gateway.client(home)
    results = fetch_results(client, home, key.verifying_key, STUDY)
    client.close()
    path = keep_specification(home, results, key.verifying_key)
    assert path == home.specification(STUDY)
    assert path.read_bytes() == sealed(specification, key)


@pytest.mark.parametrize("forged", ["another key", "another plan"])
def test_one_that_the_coordinator_did_not_sign_for_this_plan_is_not_kept(
    gateway: LiveGateway, tmp_path: Path, forged: str
) -> None:
    specification, key = make_specification(), gateway.home.key
    results = _results(specification, STRANGER if forged == "another key" else key)
    if forged == "another plan":
        results = results.model_copy(update={"study": results.study.model_copy(update={"plan_sha256": "e" * 64})})
    _released(gateway, tmp_path, results)
    home = gateway.join(SITE)
    client = gateway.client(home)
    fetched = fetch_results(client, home, key.verifying_key, STUDY)
    client.close()
    with pytest.raises(ProtocolError):
        keep_specification(home, fetched, key.verifying_key)
    assert not home.specification(STUDY).exists()


def test_results_without_one_keep_nothing(gateway: LiveGateway, tmp_path: Path) -> None:
    results = _results(make_specification(), gateway.home.key).model_copy(update={"specification": None})
    _released(gateway, tmp_path, results)
    home = gateway.join(SITE)
    client = gateway.client(home)
    fetched = fetch_results(client, home, gateway.home.key.verifying_key, STUDY)
    client.close()
    assert keep_specification(home, fetched, gateway.home.key.verifying_key) is None
