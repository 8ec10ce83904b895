"""The manifest of a study's bundle: every file by its hash, signed by the coordinator (SPEC 6.4)."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from protocol.identifiers import Digest, Instant, Label, StudySlug
from protocol.message import Message

BundlePath = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}$", max_length=200),
]
"""A file's place within the bundle, parts joined by ``/``; it cannot lead out."""


class BundledFile(Message):
    """One file of a bundle."""

    path: BundlePath
    sha256: Digest
    size_bytes: Annotated[int, Field(ge=0)]


class BundleManifest(Message):
    """Every file of a bundle but the manifest itself, in ascending order of path."""

    schema_id: Literal["crosslot.bundle/1"] = Field(default="crosslot.bundle/1", alias="schema")
    study: StudySlug
    plan_sha256: Digest
    at: Instant
    crosslot: Label
    files: Annotated[tuple[BundledFile, ...], Field(min_length=1, max_length=20_000)]

    @model_validator(mode="after")
    def _paths_ascend(self) -> Self:
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files: expected distinct paths in ascending order")
        return self
