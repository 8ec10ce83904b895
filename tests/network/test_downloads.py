"""What a site fetches: whole and as signed, or not at all; broken-off downloads go on where they stopped."""

import shutil
from pathlib import Path

import pytest

from coordinator.network.registry import publish, published, studies_of
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import SiteId
from protocol.study_draft import write_study_draft
from protocol.wire import calls
from protocol.wire import gateway_pb2 as wire
from shared.atlas.artefact import to_bytes
from shared.errors import InputError, NoRoomError, RefusedError
from site_agent.network.downloads import ListedStudy, fetch_atlas, fetch_results, list_studies
from site_agent.network.gateway_client import GatewayClient
from tests.network.conftest import LiveGateway
from tests.study_with_cells import cell_study, make_study_plan

STUDY = "vegf-2026"


@pytest.fixture(scope="module")
def study_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.toml").write_bytes(write_study_draft(make_study_plan()))
    (folder / "reference.atlas").write_bytes(to_bytes(cell_study().atlas))
    return folder


@pytest.fixture
def published_study(gateway: LiveGateway, study_files: Path) -> Path:
    publish(gateway.home, study_files / "study.toml", study_files / "reference.atlas")
    return study_files / "reference.atlas"


def listed(gateway: LiveGateway, client: GatewayClient) -> tuple[ListedStudy, ...]:
    return list_studies(client, gateway.home.key.verifying_key)


def test_a_site_sees_the_studies_that_name_it_only(gateway: LiveGateway, published_study: Path) -> None:
    kyoto, rome = gateway.join("kyoto"), gateway.join("rome")
    for home, n_studies in ((kyoto, 1), (rome, 0)):
        client = gateway.client(home)
        assert len(listed(gateway, client)) == n_studies
        client.close()
    digest = studies_of(gateway.home, SiteId("kyoto"))[0].manifest.message.sha256
    client = gateway.client(rome)
    with pytest.raises(RefusedError):
        list(client.stream(calls.FETCH_ATLAS, wire.FetchAtlasRequest(sha256=digest), seconds=10))
    client.close()


def test_an_atlas_is_fetched_whole(gateway: LiveGateway, published_study: Path) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    (study,) = listed(gateway, client)
    path = fetch_atlas(client, home, study.manifest.message, log=lambda _line: None)
    client.close()
    assert path.read_bytes() == published_study.read_bytes()
    assert home.atlases() == (study.manifest.message.sha256,)


@pytest.mark.parametrize("held", [0, 1, 5_000])
def test_a_broken_off_download_goes_on_where_it_stopped(gateway: LiveGateway, published_study: Path, held: int) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    (study,) = listed(gateway, client)
    part = home.atlas(study.manifest.message.sha256).with_suffix(".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(published_study.read_bytes()[:held])
    log: list[str] = []
    path = fetch_atlas(client, home, study.manifest.message, log=log.append)
    client.close()
    assert path.read_bytes() == published_study.read_bytes()
    assert any("going on at" in line for line in log) == (held > 0)
    assert not part.exists()


@pytest.mark.parametrize("garbage", [b"x", b"x" * 20_000_000])
def test_an_atlas_that_is_not_the_signed_one_is_thrown_away(
    gateway: LiveGateway, published_study: Path, garbage: bytes
) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    (study,) = listed(gateway, client)
    held = gateway.home.atlas(study.manifest.message.sha256)
    held.write_bytes(garbage + held.read_bytes()[len(garbage) :])
    with pytest.raises(ProtocolError) as caught:
        fetch_atlas(client, home, study.manifest.message, log=lambda _line: None)
    client.close()
    assert caught.value.code is ErrorCode.ATLAS_MISMATCH
    assert home.atlases() == ()


def test_a_truncated_atlas_is_told_as_such_and_kept_for_the_next_attempt(
    gateway: LiveGateway, published_study: Path
) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    (study,) = listed(gateway, client)
    held = gateway.home.atlas(study.manifest.message.sha256)
    whole = held.read_bytes()
    held.write_bytes(whole[:100])
    with pytest.raises(ProtocolError, match="broke off at 100 of"):
        fetch_atlas(client, home, study.manifest.message, log=lambda _line: None)
    held.write_bytes(whole)
    assert fetch_atlas(client, home, study.manifest.message, log=lambda _line: None).read_bytes() == whole
    client.close()


def test_a_full_disk_is_told_with_what_to_do(gateway: LiveGateway, published_study: Path) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    (study,) = listed(gateway, client)
    full = home.atlas(study.manifest.message.sha256).with_suffix(".part")
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")  # every write to it ends with "no space left on device"
    with pytest.raises(NoRoomError, match="disk-full") as caught:
        fetch_atlas(client, home, study.manifest.message, log=lambda _line: None)
    client.close()
    assert caught.value.hint is not None
    assert "make room" in caught.value.hint


def test_a_plan_by_another_key_is_not_believed(gateway: LiveGateway, published_study: Path, tmp_path: Path) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    plan = gateway.home.study(published(gateway.home, make_study_plan().study).plan.message.study) / "plan.json"
    forged = plan.read_bytes().replace(b'"sig":"', b'"sig":"A')
    plan.write_bytes(forged[: len(plan.read_bytes())])
    with pytest.raises(RefusedError):
        listed(gateway, client)
    client.close()


def test_results_that_were_not_released_are_not_had(gateway: LiveGateway, published_study: Path) -> None:
    home = gateway.join("kyoto")
    client = gateway.client(home)
    with pytest.raises(RefusedError):
        fetch_results(client, home, gateway.home.key.verifying_key, STUDY)
    client.close()


def test_a_published_study_is_never_changed(gateway: LiveGateway, published_study: Path, tmp_path: Path) -> None:
    again = publish(gateway.home, published_study.with_name("study.toml"), published_study)
    changed = again.plan.message.model_copy(update={"title": "Another title"})
    (tmp_path / "study.toml").write_bytes(write_study_draft(changed))
    with pytest.raises(RefusedError, match="another plan"):
        publish(gateway.home, tmp_path / "study.toml", published_study)
    assert published(gateway.home, changed.study).plan.envelope == again.plan.envelope


def test_a_study_with_another_atlas_is_not_published(gateway: LiveGateway, study_files: Path, tmp_path: Path) -> None:
    other = make_study_plan().model_copy(
        update={"atlas": make_study_plan().atlas.model_copy(update={"sha256": "0" * 64})}
    )
    (tmp_path / "study.toml").write_bytes(write_study_draft(other))
    shutil.copy(study_files / "reference.atlas", tmp_path)
    with pytest.raises(InputError, match="expected the atlas"):
        publish(gateway.home, tmp_path / "study.toml", tmp_path / "reference.atlas")
    assert not gateway.home.studies.exists()
