"""Whether a file is a sound atlas, and whether it is the one that the coordinator signed.

Rules.
1. Every error names the file. What was checked is said in sentences; nothing that was not checked is said to hold.
2. The atlas must be encoded in its one way: a text beside its arrays would travel unseen.
3. The counts on the card and those in the arrays must agree, and no more cells may have been left out than there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from protocol.atlas_manifest import AtlasManifest, check_atlas_bytes
from protocol.envelopes import PayloadType, envelope_limit
from protocol.roster import open_from_coordinator
from protocol.signing import VerifyingKey
from shared.atlas.artefact import MAXIMUM_BYTES, Atlas, AtlasFormatError, from_bytes, sha256, to_bytes
from shared.errors import CrosslotError, InputError, RefusedError
from shared.runtime.files import read_bounded

_KEY_LIMIT: Final = 4_096
_ASK_AGAIN: Final = "ask the study's coordinator for the atlas again, and compare its SHA-256"


@dataclass(frozen=True, kw_only=True, eq=False)
class AtlasFile:
    """An atlas that was read strictly, with its exact bytes."""

    atlas: Atlas
    data: bytes

    @property
    def sha256(self) -> str:
        """The atlas's identity."""
        return sha256(self.data)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was checked of an atlas file and holds, one sentence each.

    ``signer`` is the fingerprint of the coordinator's key; None where no manifest was given.
    """

    name: str
    sha256: str
    size_bytes: int
    sentences: tuple[str, ...]
    signer: str | None


def read_atlas_file(path: Path) -> AtlasFile:
    """Return the atlas in a file.

    Raises
    ------
    InputError
        The file is missing, too large, or not an atlas that this version reads; it is named.
    """
    data = read_bounded(path, limit=MAXIMUM_BYTES, what="an atlas")
    try:
        return AtlasFile(atlas=from_bytes(data), data=data)
    except AtlasFormatError as error:
        raise AtlasFormatError(f"{path}: {error}", hint=error.hint or _ASK_AGAIN) from None


def is_plainly_encoded(atlas: Atlas, data: bytes) -> bool:
    """Return whether ``data`` is the one encoding of the atlas, so that nothing lies beside its arrays."""
    return to_bytes(atlas) == data


def verify_atlas(path: Path, manifest: Path | None = None, coordinator_key: Path | None = None) -> Checked:
    """Return what holds of an atlas file.

    Parameters
    ----------
    path : Path
        The atlas.
    manifest, coordinator_key : Path, optional
        The manifest that the coordinator signed, and the public key to check it by: both or neither.

    Raises
    ------
    InputError
        The file is damaged, not plainly encoded or at odds with itself, or only one of manifest and key was given.
    SignatureError
        The manifest was not signed by this key.
    ProtocolError
        The file is not the one that the manifest names.
    """
    if (manifest is None) != (coordinator_key is None):
        given, missing = ("--manifest", "--coordinator-key") if manifest else ("--coordinator-key", "--manifest")
        raise InputError(
            f"expected {missing} with {given}",
            hint="a signature is checked with both: the signed manifest (.atlas.json) and the coordinator's .pub file",
        )
    file = read_atlas_file(path)
    atlas, data = file.atlas, file.data
    if not is_plainly_encoded(atlas, data):
        raise AtlasFormatError(
            f"{path}: expected the one encoding of this atlas, found other bytes: something may lie beside its arrays",
            hint=_ASK_AGAIN,
        )
    _require_consistent(path, atlas)
    sentences = [
        (
            f"The file is an atlas of {len(atlas.clusters)} clusters and {len(atlas.gene_ids):,} genes; "
            "every array has the dtype, shape and range that the format asks for."
        ),
        "The file is the one encoding of this atlas: nothing lies beside its arrays and its card.",
        f"Card and arrays agree on {int(atlas.cells.sum()):,} cells of {atlas.cells.shape[1]} reference lots.",
    ]
    signer = None
    if manifest is not None and coordinator_key is not None:
        signer, signed = _check_manifest(file, manifest, coordinator_key)
        sentences.extend(signed)
    return Checked(name=atlas.name, sha256=file.sha256, size_bytes=len(data), sentences=tuple(sentences), signer=signer)


def _require_consistent(path: Path, atlas: Atlas) -> None:
    origin, cells = atlas.card.provenance, atlas.cells.astype(np.int64)
    pairs: Sequence[tuple[str, int, int]] = (
        ("reference lots", origin.lots, cells.shape[1]),
        ("cells", origin.cells, int(cells.sum())),
    )
    for what, on_card, in_arrays in pairs:
        if on_card != in_arrays:
            raise AtlasFormatError(
                f"{path}: expected as many {what} on the card as in the arrays, found {on_card:,} and {in_arrays:,}",
                hint=_ASK_AGAIN,
            )
    if (atlas.confusion.astype(np.int64).sum(axis=1) > cells.sum(axis=1)).any():
        raise AtlasFormatError(
            f"{path}: array 'confusion': expected no more cells left out than a cluster has", hint=_ASK_AGAIN
        )
    if atlas.card.transfer.lots > cells.shape[1]:
        raise AtlasFormatError(
            f"{path}: expected at most {cells.shape[1]} lots left out, found {atlas.card.transfer.lots}",
            hint=_ASK_AGAIN,
        )


def _check_manifest(file: AtlasFile, manifest: Path, coordinator_key: Path) -> tuple[str, tuple[str, ...]]:
    """Return the signer's fingerprint, and what the manifest adds."""
    key = _read_public_key(coordinator_key)
    envelope = read_bounded(manifest, limit=envelope_limit(PayloadType.ATLAS_MANIFEST), what="a signed atlas manifest")
    try:
        said = open_from_coordinator(envelope, AtlasManifest, PayloadType.ATLAS_MANIFEST, key).message
        check_atlas_bytes(said, file.data)
    except CrosslotError as error:
        # The file is named, and the kind of error stays what a script may ask for.
        error.args = (f"{manifest}: {error}", *error.args[1:])
        raise
    card = file.atlas.card
    found = (card.name, card.clusters, card.modality, len(card.gene_ids), card.provenance.crosslot)
    if found != (said.name, said.clusters, said.modality, said.n_genes, said.crosslot):
        raise RefusedError(
            f"{manifest}: expected the name, clusters, modality, genes and version of the atlas, found others",
            hint="tell the coordinator: the manifest signs this file and describes another",
        )
    return key.fingerprint, (
        f"The manifest was signed by the coordinator's key {key.fingerprint[:16]}….",
        "The manifest names exactly this file (size and SHA-256) and describes what is in it.",
    )


def _read_public_key(path: Path) -> VerifyingKey:
    text = read_bounded(path, limit=_KEY_LIMIT, what="a public key (.pub)").decode("ascii", errors="replace")
    try:
        return VerifyingKey.from_hex(text.strip())
    except InputError as error:
        raise InputError(f"{path}: {error}", hint="give the .pub file of the coordinator") from None
