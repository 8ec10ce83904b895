"""Reading a study folder as a simulated run needs it: the plan, the atlas, and where each site's folder is."""

from dataclasses import dataclass
from pathlib import Path

from coordinator.atlas_signing import manifest_of
from protocol.atlas_manifest import AtlasManifest
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType
from protocol.identifiers import SiteId
from protocol.plan import StudyPlan
from protocol.study_draft import read_study_draft
from shared.atlas.artefact import MAXIMUM_BYTES, from_bytes
from shared.errors import InputError, ProblemsError
from shared.runtime.files import read_bounded
from simulations.study_folder import ATLAS_FILE, PLAN_FILE, SITES_FOLDER
from site_agent.cells.lot_files import require_readable_files
from site_agent.cells.lots import SiteLots, read_site_folder_for


@dataclass(frozen=True, kw_only=True, eq=False)
class StudySource:
    """A study folder that was read and found whole."""

    folder: Path
    plan: StudyPlan
    atlas: bytes
    manifest: AtlasManifest
    sites: tuple[tuple[SiteId, SiteLots], ...]


def read_study(folder: Path) -> StudySource:
    """Read a study folder; every problem of all its sites is raised at once.

    Raises
    ------
    ProblemsError
        What is missing or wrong, each with its file, row and column.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected a study folder, found none", hint="make one with: crosslot-simulate split --help"
        )
    plan = read_study_draft(
        read_bounded(
            folder / PLAN_FILE, limit=PAYLOAD_LIMITS[PayloadType.STUDY_PLAN], what="the study draft study.toml"
        )
    )
    atlas = read_bounded(folder / ATLAS_FILE, limit=MAXIMUM_BYTES, what="the reference atlas")
    manifest = manifest_of(atlas)
    reference = from_bytes(atlas)
    problems: list[InputError] = []
    if plan.atlas != manifest.reference():
        problems.append(
            InputError(
                f"{folder / PLAN_FILE}: expected [atlas] to name {ATLAS_FILE} (SHA-256 {manifest.sha256}), "
                f"found {plan.atlas.sha256}",
                hint="copy the hash and the clusters of the atlas into [atlas]",
            )
        )
    sites: list[tuple[SiteId, SiteLots]] = []
    for site in plan.sites:
        try:
            lots = read_site_folder_for(folder / SITES_FOLDER / site, plan)
            sites.append((site, lots))
            require_readable_files(lots, reference)
        except ProblemsError as error:
            problems.extend(InputError(f"{site}: {problem}", hint=problem.hint) for problem in error.problems)
    problems.extend(_lots_at_two_sites(sites))
    if problems:
        raise ProblemsError(f"study folder {folder}", problems)
    return StudySource(folder=folder, plan=plan, atlas=atlas, manifest=manifest, sites=tuple(sites))


def _lots_at_two_sites(sites: list[tuple[SiteId, SiteLots]]) -> list[InputError]:
    first: dict[str, SiteId] = {}
    problems = []
    for site, lots in sites:
        for lot in lots.lots:
            if lot.lot in first:
                problems.append(
                    InputError(
                        f"{site}, lots.csv, row {lot.row}, column 'lot': {lot.lot!r} is at {first[lot.lot]} too",
                        hint="a lot belongs to one site; rename one of the two if they are different lots",
                    )
                )
            first.setdefault(lot.lot, site)
    return problems
