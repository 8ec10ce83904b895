"""Signing: what is read is checked, and what is signed can be believed by whoever holds the public key."""

from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.atlas_signing import manifest_of
from coordinator.signing_commands import create_key, public_path, read_public_key, sign_atlas_file, sign_study_file
from protocol.atlas_manifest import AtlasManifest, check_atlas_bytes
from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode, ProtocolError
from protocol.modules.asked import Modules
from protocol.modules.markers import MarkersPlan
from protocol.plan import QualityLimits
from protocol.roster import open_from_coordinator, open_plan
from protocol.signing import SigningKey
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import to_bytes
from shared.atlas.card import Control
from shared.errors import CrosslotError, InputError
from tests.study_parts import make_plan
from tests.study_with_cells import cell_study


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Return a folder with an atlas, a draft that names it, and a key."""
    atlas = to_bytes(cell_study().atlas)
    (tmp_path / "a.atlas").write_bytes(atlas)
    plan = make_plan().model_copy(update={"atlas": manifest_of(atlas).reference()})
    (tmp_path / "study.toml").write_bytes(write_study_draft(plan))
    create_key(tmp_path / "keys" / "coordinator.pem")
    return tmp_path


def test_a_new_key_is_private_and_its_public_half_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    fingerprint = create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path).fingerprint == fingerprint
    assert read_public_key(public_path(path)).fingerprint == fingerprint


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    create_key(tmp_path / "key.pem")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="a file is there already"):
        create_key(tmp_path / "key.pem")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"not a key", b"A" * 64, b"ab" * 31])
def test_what_is_no_public_key_is_refused_by_the_name_of_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wrong.pub").write_bytes(content)
    with pytest.raises(InputError, match=r"wrong\.pub: a public key"):
        read_public_key(tmp_path / "wrong.pub")


def test_a_signed_manifest_is_believed_and_names_exactly_the_atlas(desk: Path) -> None:
    manifest = sign_atlas_file(desk / "a.atlas", desk / "keys" / "coordinator.pem", desk / "a.atlas.json")
    key = read_public_key(desk / "keys" / "coordinator.pem.pub")
    envelope = (desk / "a.atlas.json").read_bytes()
    assert open_from_coordinator(envelope, AtlasManifest, PayloadType.ATLAS_MANIFEST, key).message == manifest
    data = (desk / "a.atlas").read_bytes()
    check_atlas_bytes(manifest, data)
    with pytest.raises(ProtocolError) as caught:
        check_atlas_bytes(manifest, data[:-1] + b"\x00")
    assert caught.value.code is ErrorCode.ATLAS_MISMATCH


def test_a_signed_plan_says_what_the_draft_says(desk: Path) -> None:
    key = desk / "keys" / "coordinator.pem"
    study, digest = sign_study_file(desk / "study.toml", desk / "a.atlas", key, desk / "plan.json")
    believed = open_plan((desk / "plan.json").read_bytes(), read_public_key(public_path(key)))
    assert (believed.message.study, believed.payload_sha256) == (study, digest)
    assert write_study_draft(believed.message) == (desk / "study.toml").read_bytes()


def test_signing_the_same_draft_again_gives_the_same_bytes(desk: Path) -> None:
    for out in ("one.json", "two.json"):
        sign_study_file(desk / "study.toml", desk / "a.atlas", desk / "keys" / "coordinator.pem", desk / out)
    assert (desk / "one.json").read_bytes() == (desk / "two.json").read_bytes()


def _break(desk: Path, what: str) -> str:
    """Break one input and return what the error must name."""
    match what:
        case "other-atlas":
            (desk / "study.toml").write_bytes(write_study_draft(make_plan()))
            named = "SHA-256"
        case "unknown-field":
            (desk / "study.toml").write_text("colour = 'red'\n" + (desk / "study.toml").read_text())
            named = "colour: no such field"
        case "no-toml":
            (desk / "study.toml").write_text("study = ")
            named = "expected TOML"
        case "no-atlas":
            (desk / "a.atlas").write_bytes(b"nothing of the kind")
            named = "atlas"
        case "absent-atlas":
            (desk / "a.atlas").unlink()
            named = "a.atlas: expected an atlas, found no file"
        case "no-key":
            (desk / "keys" / "coordinator.pem").write_text("nothing of the kind")
            named = "coordinator.pem"
        case _:
            (desk / "keys" / "coordinator.pem").chmod(0o644)
            named = "only its owner can read"
    return named


@pytest.mark.parametrize(
    "what", ["other-atlas", "unknown-field", "no-toml", "no-atlas", "absent-atlas", "no-key", "open-key"]
)
def test_where_anything_does_not_hold_nothing_is_written(desk: Path, what: str) -> None:
    named = _break(desk, what)
    with pytest.raises(CrosslotError) as caught:
        sign_study_file(desk / "study.toml", desk / "a.atlas", desk / "keys" / "coordinator.pem", desk / "plan.json")
    assert named in str(caught.value)
    assert sorted(path.name for path in desk.iterdir() if path.name != "a.atlas") == ["keys", "study.toml"]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"quality": QualityLimits(minimum_genes_per_cell=200)}, "quality.minimum_genes_per_cell"),
        ({"modules": Modules(markers=MarkersPlan(genes=("LRRC75A",)))}, "modules.markers"),
    ],
)
def test_a_draft_that_needs_counts_of_an_atlas_of_morphology_is_not_signed(
    desk: Path, asked: dict[str, object], named: str
) -> None:
    atlas = cell_study().atlas
    control = Control(column="well", value="control")
    card = atlas.card.replaced(modality="morphology", control=control)
    data = to_bytes(replace(atlas, card=card))
    (desk / "a.atlas").write_bytes(data)
    plan = make_plan().model_copy(update={"atlas": manifest_of(data).reference(), **asked})
    (desk / "study.toml").write_bytes(write_study_draft(plan))
    with pytest.raises(InputError, match=f"the atlas is of morphology, found {named}"):
        sign_study_file(desk / "study.toml", desk / "a.atlas", desk / "keys" / "coordinator.pem", desk / "plan.json")
    assert not (desk / "plan.json").exists()
