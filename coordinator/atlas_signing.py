"""From the bytes of an atlas to the manifest that the coordinator signs."""

from protocol.atlas_manifest import AtlasManifest
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.identifiers import Sha256
from protocol.signing import SigningKey
from shared.atlas.artefact import from_bytes, sha256


def manifest_of(data: bytes) -> AtlasManifest:
    """Return the manifest of an atlas file.

    Raises
    ------
    shared.atlas.artefact.AtlasFormatError
        The bytes are not an atlas.
    """
    atlas = from_bytes(data)
    return AtlasManifest(
        name=atlas.name,
        sha256=Sha256(sha256(data)),
        size_bytes=len(data),
        modality=atlas.card.modality,
        clusters=atlas.clusters,
        n_genes=len(atlas.gene_ids),
        crosslot=atlas.card.provenance.crosslot,
    )


def sign_atlas(data: bytes, key: SigningKey) -> bytes:
    """Return the signed manifest of an atlas file."""
    return seal(encode(manifest_of(data)), PayloadType.ATLAS_MANIFEST, key)
