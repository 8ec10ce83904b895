"""What the coordinator published: signed plans, atlases and released results, each in its place in the home.

A study is published as a whole or not at all, and never changed: a changed plan is another plan (SPEC 3.1).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordinator.atlas_signing import manifest_of
from coordinator.home import CoordinatorHome
from protocol.atlas_manifest import AtlasManifest
from protocol.codec import encode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, envelope_limit, seal
from protocol.exchange import TERMS_LIMIT
from protocol.identifiers import Sha256, SiteId, StudyId
from protocol.plan import StudyPlan
from protocol.roster import Believed, open_from_coordinator, open_plan
from protocol.study_draft import read_study_draft
from shared.atlas.artefact import MAXIMUM_BYTES
from shared.errors import InputError, RefusedError
from shared.runtime.files import appearing_whole, read_bounded, write_atomically

PLAN_FILE: Final = "plan.json"
MANIFEST_FILE: Final = "atlas-manifest.json"
TERMS_FILE: Final = "terms.txt"
CHECKPOINTS_FOLDER: Final = "checkpoints"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published study, as its sites are given it."""

    plan: Believed[StudyPlan]
    manifest: Believed[AtlasManifest]
    terms: bytes | None = None


def publish(home: CoordinatorHome, plan_path: Path, atlas_path: Path, terms_path: Path | None = None) -> Published:
    """Put a study, its atlas and its terms into the registry; a draft is signed here, a signed plan is checked.

    Raises
    ------
    InputError
        A file cannot be read, or the plan names another atlas or other terms.
    RefusedError
        Another plan of this study was published before.
    """
    key = home.key
    atlas = read_bounded(atlas_path, limit=MAXIMUM_BYTES, what="an atlas")
    manifest = manifest_of(atlas)
    plan = open_plan(_sealed_plan(home, plan_path), key.verifying_key)
    if plan.message.atlas != manifest.reference():
        raise InputError(
            f"{plan_path}: expected the atlas {plan.message.atlas.name!r} with SHA-256 {plan.message.atlas.sha256}, "
            f"found in {atlas_path} {manifest.name!r} with {manifest.sha256}",
            hint="give the atlas that the plan names",
        )
    terms = _terms(plan.message, terms_path)
    folder = home.study(plan.message.study)
    if folder.exists():
        earlier = published(home, plan.message.study)
        if earlier.plan.payload_sha256 != plan.payload_sha256:
            raise RefusedError(
                f"{plan.message.study}: another plan of this study was published",
                hint="give the changed plan a name of its own, and supersedes = the hash of the old one",
            )
        return earlier
    write_atomically(home.atlas(manifest.sha256), atlas)
    with appearing_whole(folder) as work:
        write_atomically(work / PLAN_FILE, plan.envelope)
        write_atomically(work / MANIFEST_FILE, seal(encode(manifest), PayloadType.ATLAS_MANIFEST, key))
        if terms is not None:
            write_atomically(work / TERMS_FILE, terms)
    return published(home, plan.message.study)


def _terms(plan: StudyPlan, path: Path | None) -> bytes | None:
    """Return the document of the terms, if it is the one that the plan names."""
    if plan.terms_sha256 is None and path is None:
        return None
    if path is None:
        raise InputError(f"{plan.study}: its plan names terms", hint="give the document: --terms FILE")
    terms = read_bounded(path, limit=TERMS_LIMIT, what="the study's terms")
    if sha256(terms) != plan.terms_sha256:
        raise InputError(
            f"{path}: expected the terms with SHA-256 {plan.terms_sha256}, found {sha256(terms)}",
            hint='name the document in the draft: terms_sha256 = "..."',
        )
    return terms


def published(home: CoordinatorHome, study: StudyId) -> Published:
    """Return a published study, its signatures checked.

    Raises
    ------
    InputError
        No such study was published.
    """
    folder = home.study(study)
    if not (folder / PLAN_FILE).is_file():
        known = ", ".join(studies(home)) or "none"
        raise InputError(f"{study}: no such study was published; there are: {known}", hint="publish it first")
    key = home.key.verifying_key
    plan = read_bounded(folder / PLAN_FILE, limit=envelope_limit(PayloadType.STUDY_PLAN), what="a signed plan")
    manifest = read_bounded(
        folder / MANIFEST_FILE, limit=envelope_limit(PayloadType.ATLAS_MANIFEST), what="a signed manifest"
    )
    terms = folder / TERMS_FILE
    return Published(
        terms=read_bounded(terms, limit=TERMS_LIMIT, what="the study's terms") if terms.exists() else None,
        plan=open_plan(plan, key),
        manifest=open_from_coordinator(manifest, AtlasManifest, PayloadType.ATLAS_MANIFEST, key),
    )


def studies(home: CoordinatorHome) -> tuple[StudyId, ...]:
    """Return the published studies, by name."""
    if not home.studies.is_dir():
        return ()
    return tuple(StudyId(folder.name) for folder in sorted(home.studies.iterdir()) if (folder / PLAN_FILE).is_file())


def studies_of(home: CoordinatorHome, site: SiteId) -> tuple[Published, ...]:
    """Return the studies whose plans name ``site``."""
    every = (published(home, study) for study in studies(home))
    return tuple(each for each in every if site in each.plan.message.sites)


def atlas_for(home: CoordinatorHome, site: SiteId, digest: str) -> Path | None:
    """Return the file of an atlas that a study of ``site`` names, None where there is none."""
    if any(each.manifest.message.sha256 == digest for each in studies_of(home, site)):
        return home.atlas(Sha256(digest))
    return None


def checkpoints_for(
    home: CoordinatorHome, site: SiteId, held: Mapping[str, int]
) -> Iterator[tuple[StudyId, int, bytes]]:
    """Yield (study, round, signed checkpoint) of where a site's ledger ended, each later than what the site holds.

    Parameters
    ----------
    held : mapping
        The latest round, by study, that the site has.
    """
    limit = envelope_limit(PayloadType.CHECKPOINT)
    for each in studies_of(home, site):
        study = each.plan.message.study
        files = (home.study(study) / CHECKPOINTS_FOLDER).glob(f"{site}-*.json")
        # The name of a site may begin with the name of another: what follows must be a number and nothing else.
        rounds = ((path.stem.removeprefix(f"{site}-"), path) for path in files)
        later = sorted((int(number), path) for number, path in rounds if number.isdecimal())
        for number, path in later:
            if number > held.get(study, 0):
                yield study, number, read_bounded(path, limit=limit, what="a checkpoint")


def _sealed_plan(home: CoordinatorHome, path: Path) -> bytes:
    if path.suffix == ".toml":
        limit = PAYLOAD_LIMITS[PayloadType.STUDY_PLAN]
        plan = read_study_draft(read_bounded(path, limit=limit, what="a study draft (study.toml)"))
        return seal(encode(plan), PayloadType.STUDY_PLAN, home.key)
    return read_bounded(path, limit=envelope_limit(PayloadType.STUDY_PLAN), what="a signed study plan")
