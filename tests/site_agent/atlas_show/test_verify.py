"""``atlas show`` and ``atlas verify`` as commands: damaged files are named, signatures are checked, exit codes hold."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.atlas_manifest import AtlasManifest
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.errors import ProtocolError
from protocol.identifiers import Sha256
from protocol.signing import SigningKey
from shared.atlas.artefact import Atlas, sha256, to_bytes
from shared.errors import CrosslotError
from site_agent.atlas_show.verification import verify_atlas
from site_agent.cli import main


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["atlas", *map(str, arguments)])


def manifest(atlas: Atlas, **changes: object) -> AtlasManifest:
    data = to_bytes(atlas)
    said = {
        "name": atlas.name,
        "sha256": Sha256(sha256(data)),
        "size_bytes": len(data),
        "modality": atlas.card.modality,
        "clusters": atlas.clusters,
        "n_genes": len(atlas.gene_ids),
        "crosslot": atlas.card.provenance.crosslot,
    }
    return AtlasManifest.model_validate(said | changes)


@pytest.fixture
def folder(tmp_path: Path, three: Atlas) -> Path:
    """Return a folder with an atlas, its signed manifest, the coordinator's public key and another one."""
    key = SigningKey.from_seed(bytes(32))
    (tmp_path / "a.atlas").write_bytes(to_bytes(three))
    (tmp_path / "a.atlas.json").write_bytes(seal(encode(manifest(three)), PayloadType.ATLAS_MANIFEST, key))
    (tmp_path / "k.pub").write_text(key.verifying_key.to_hex() + "\n")
    (tmp_path / "other.pub").write_text(SigningKey.from_seed(bytes(31) + b"\x01").verifying_key.to_hex() + "\n")
    return tmp_path


def _signed(folder: Path, key: str = "k.pub") -> tuple[str | Path, ...]:
    return ("--manifest", folder / "a.atlas.json", "--coordinator-key", folder / key)


def test_a_sound_atlas_is_verified_and_its_maker_said_to_be_unchecked(folder: Path, three: Atlas) -> None:
    done = _run("verify", folder / "a.atlas")
    assert done.exit_code == 0
    assert sha256(to_bytes(three)) in done.stdout
    assert "Not checked: who made it" in done.stderr


def test_a_signed_atlas_is_verified_with_its_signer(folder: Path) -> None:
    done = _run("verify", folder / "a.atlas", *_signed(folder), "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["success"] is True
    assert document["signed_by"] == SigningKey.from_seed(bytes(32)).fingerprint
    assert any("exactly this file" in sentence for sentence in document["checked"])


@settings(max_examples=40)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_with_the_manifest(
    three: Atlas, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    folder, key, data = tmp_path_factory.mktemp("flipped"), SigningKey.from_seed(bytes(32)), bytearray(to_bytes(three))
    data[int(place * len(data))] ^= 1 << bit
    (folder / "a.atlas").write_bytes(data)
    (folder / "a.json").write_bytes(seal(encode(manifest(three)), PayloadType.ATLAS_MANIFEST, key))
    (folder / "k.pub").write_text(key.verifying_key.to_hex())
    with pytest.raises(CrosslotError):
        verify_atlas(folder / "a.atlas", folder / "a.json", folder / "k.pub")


@pytest.mark.parametrize("command", ["show", "verify"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "absent"])
def test_a_damaged_file_is_named(folder: Path, command: str, damage: str) -> None:
    path = folder / "bad.atlas"
    whole = (folder / "a.atlas").read_bytes()
    if damage != "absent":
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not an atlas"}[damage])
    done = _run(command, path)
    assert done.exit_code == 1
    assert "bad.atlas" in done.stderr
    assert "hint:" in done.stderr


def test_a_manifest_of_another_file_is_refused(folder: Path, two: Atlas) -> None:
    (folder / "a.atlas").write_bytes(to_bytes(two))
    done = _run("verify", folder / "a.atlas", *_signed(folder))
    assert done.exit_code == 1
    assert "a.atlas.json" in done.stderr
    with pytest.raises(ProtocolError):
        verify_atlas(folder / "a.atlas", folder / "a.atlas.json", folder / "k.pub")


def test_a_manifest_signed_by_another_key_is_refused(folder: Path) -> None:
    done = _run("verify", folder / "a.atlas", *_signed(folder, "other.pub"), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["success"] is False


def test_a_manifest_that_signs_the_file_and_describes_another_is_refused(folder: Path, three: Atlas) -> None:
    lying = manifest(three, n_genes=len(three.gene_ids) + 1)
    key = SigningKey.from_seed(bytes(32))
    (folder / "a.atlas.json").write_bytes(seal(encode(lying), PayloadType.ATLAS_MANIFEST, key))
    done = _run("verify", folder / "a.atlas", *_signed(folder))
    assert done.exit_code == 1
    assert "describes another" in done.stderr


@pytest.mark.parametrize("missing", ["--manifest", "--coordinator-key"])
def test_manifest_and_key_are_given_together(folder: Path, missing: str) -> None:
    pairs = dict(zip(_signed(folder)[::2], _signed(folder)[1::2], strict=True))
    del pairs[missing]
    done = _run("verify", folder / "a.atlas", *(part for pair in pairs.items() for part in pair))
    assert done.exit_code == 1
    assert f"expected {missing}" in done.stderr


def test_a_text_hidden_beside_the_arrays_is_found(folder: Path) -> None:
    path = folder / "a.atlas"
    arrays = safetensors.numpy.load(path.read_bytes())
    path.write_bytes(safetensors.numpy.save(arrays, metadata={"donor": "Jane Doe"}))
    done = _run("verify", path)
    assert done.exit_code == 1
    assert "beside its arrays" in done.stderr
    shown = _run("show", path)
    assert shown.exit_code == 1
    assert "found metadata" in shown.stderr


def test_bytes_that_are_not_the_one_encoding_are_told(folder: Path) -> None:
    path = folder / "a.atlas"
    data = path.read_bytes()
    header = int.from_bytes(data[:8], "little")
    path.write_bytes((header + 8).to_bytes(8, "little") + data[8 : 8 + header] + b" " * 8 + data[8 + header :])
    done = _run("verify", path)
    assert done.exit_code == 1
    assert "beside its arrays" in done.stderr
    shown = _run("show", path)
    assert shown.exit_code == 0
    assert "something may lie beside it" in shown.stdout


@pytest.mark.parametrize("array", ["cells", "confusion"])
def test_counts_at_odds_with_the_card_are_refused(folder: Path, three: Atlas, array: str) -> None:
    changed = {array: getattr(three, array) + np.int32(1)}
    (folder / "a.atlas").write_bytes(to_bytes(replace(three, **changed)))
    done = _run("verify", folder / "a.atlas")
    assert done.exit_code == 1
    assert "a.atlas" in done.stderr


def test_show_writes_a_page_beside_the_text(folder: Path) -> None:
    page = folder / "out.html"
    done = _run("show", folder / "a.atlas", "--page", page)
    assert done.exit_code == 0
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert "Class by class" in done.stdout
    assert "wrote" in done.stderr


def test_the_page_never_replaces_the_atlas(folder: Path, three: Atlas) -> None:
    done = _run("show", folder / "a.atlas", "--page", folder / "a.atlas")
    assert done.exit_code == 1
    assert (folder / "a.atlas").read_bytes() == to_bytes(three)


def test_show_as_json_is_one_document(folder: Path) -> None:
    done = _run("show", folder / "a.atlas", "--json")
    assert json.loads(done.stdout)["verdict"]["code"] == "transfers-well"
