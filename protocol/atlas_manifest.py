"""The signed manifest of an atlas: which exact file a study maps onto, and what is in it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocol.codec import sha256
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Digest, Label, Slug
from protocol.message import Message
from protocol.plan import AtlasReference


class AtlasManifest(Message):
    """What the coordinator signs about an atlas file; the file itself travels apart and is checked by its hash."""

    schema_id: Literal["crosslot.atlas-manifest/1"] = Field(default="crosslot.atlas-manifest/1", alias="schema")
    name: Label
    sha256: Digest
    size_bytes: Annotated[int, Field(ge=1, le=4 * 2**30)]
    modality: Slug  # e.g. "rna" or "morphology"
    clusters: Annotated[tuple[Label, ...], Field(min_length=2, max_length=256)]
    n_genes: Annotated[int, Field(ge=1, le=1_000_000)]
    crosslot: Label  # the version that built it

    @model_validator(mode="after")
    def _clusters_are_distinct(self) -> Self:
        if len(set(self.clusters)) != len(self.clusters):
            raise ValueError("clusters: expected distinct names, found one twice")
        return self

    def reference(self) -> AtlasReference:
        """Return the reference by which a study plan names this atlas."""
        return AtlasReference(name=self.name, sha256=self.sha256, clusters=self.clusters)


def check_atlas_bytes(manifest: AtlasManifest, data: bytes) -> None:
    """Return if ``data`` is the atlas file that the manifest names (SPEC 3.3).

    Raises
    ------
    ProtocolError
        If its size or hash differs.
    """
    if len(data) != manifest.size_bytes or sha256(data) != manifest.sha256:
        raise ProtocolError(
            ErrorCode.ATLAS_MISMATCH,
            f"Expected {manifest.size_bytes} bytes with SHA-256 {manifest.sha256[:16]}..., found {len(data)} bytes "
            f"with {sha256(data)[:16]}...",
            hint="fetch the atlas again from the coordinator",
        )
