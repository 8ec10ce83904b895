"""What the signing commands do: read, check, sign, write; nothing is written unless all of it holds."""

from pathlib import Path

from coordinator.atlas_signing import manifest_of
from protocol.atlas_manifest import AtlasManifest
from protocol.codec import encode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, seal
from protocol.identifiers import Sha256, StudyId
from protocol.modality import needs_counts
from protocol.signing import SigningKey, VerifyingKey
from protocol.study_draft import read_study_draft
from shared.atlas.artefact import MAXIMUM_BYTES, from_bytes
from shared.errors import InputError
from shared.runtime.files import read_bounded, write_atomically

_PUBLIC_KEY_LIMIT = 4_096


def create_key(path: Path) -> Sha256:
    """Make a new signing key at ``path`` and return its fingerprint.

    Raises
    ------
    InputError
        A file is there already, or it cannot be written.
    """
    key = SigningKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    key.save(path)
    write_atomically(public_path(path), key.verifying_key.to_hex().encode() + b"\n")
    return key.fingerprint


def public_path(path: Path) -> Path:
    """Return where the public half of the key at ``path`` lies: beside it, with ``.pub`` added."""
    return path.with_name(path.name + ".pub")


def read_public_key(path: Path) -> VerifyingKey:
    """Return the public key in a ``.pub`` file: 64 hexadecimal digits.

    Raises
    ------
    InputError
        The file is missing or holds something else.
    """
    text = read_bounded(path, limit=_PUBLIC_KEY_LIMIT, what="a public key (.pub)").decode("ascii", errors="replace")
    try:
        return VerifyingKey.from_hex(text.strip())
    except InputError as error:
        raise InputError(f"{path}: {error}", hint="give the .pub file that `key create` wrote") from error


def sign_atlas_file(atlas: Path, key_path: Path, out: Path) -> AtlasManifest:
    """Sign the manifest of an atlas file into ``out`` and return it.

    Raises
    ------
    InputError
        The atlas or the key cannot be read, or ``out`` cannot be written.
    """
    manifest = manifest_of(read_bounded(atlas, limit=MAXIMUM_BYTES, what="an atlas"))
    write_atomically(out, seal(encode(manifest), PayloadType.ATLAS_MANIFEST, SigningKey.load(key_path)))
    return manifest


def sign_study_file(draft: Path, atlas: Path, key_path: Path, out: Path) -> tuple[StudyId, Sha256]:
    """Sign a study draft into ``out``; return the study and the hash of the plan's payload.

    Raises
    ------
    InputError
        The draft, the atlas or the key cannot be read, the draft names another atlas, or it needs counts of an atlas of
        morphology.
    """
    limit = PAYLOAD_LIMITS[PayloadType.STUDY_PLAN]
    plan = read_study_draft(read_bounded(draft, limit=limit, what="a study draft (study.toml)"))
    data = read_bounded(atlas, limit=MAXIMUM_BYTES, what="an atlas")
    manifest = manifest_of(data)
    if plan.atlas != manifest.reference():
        raise InputError(
            f"{draft}: expected the atlas {plan.atlas.name!r} with SHA-256 {plan.atlas.sha256}, "
            f"found in {atlas} {manifest.name!r} with {manifest.sha256}",
            hint="name this atlas in the draft's [atlas], or give the atlas that the draft names",
        )
    needed = needs_counts(plan) if from_bytes(data).card.modality == "morphology" else ()
    if needed:
        raise InputError(
            f"{draft}: expected nothing that needs counts, for the atlas is of morphology, found {', '.join(needed)}",
            hint="leave them out of the draft: a cell's features have neither counts nor genes",
        )
    payload = encode(plan)
    write_atomically(out, seal(payload, PayloadType.STUDY_PLAN, SigningKey.load(key_path)))
    return plan.study, sha256(payload)
