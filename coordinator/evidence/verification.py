"""Verifying a study's bundle, offline: nothing in it is believed that a signature or a recomputation does not bear out.

In this order:

1. The manifest is signed by the coordinator's key: the one given, or else the one within the bundle, and then the
   result says so.
2. Every file is there with its hash and size, and none besides.
3. Plan, roster and atlas manifest are signed by the coordinator and name each other; the terms are the plan's.
4. Every report is signed by its site and fits the plan; every checkpoint is signed and of a site of the roster.
5. The results are computed again from the reports and are the same, bit for bit; so are the numbers of a signed
   specification, which names this plan and these results.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.analyse_command import Outcome, analyse_reports, verified_reports
from coordinator.evidence.bundle import (
    ATLAS_FILE,
    CHECKPOINTS,
    KEY_FILE,
    LARGEST_FILE,
    MANIFEST_FILE,
    MANIFEST_LIMIT,
    PLAN_FILE,
    REPORTS,
    RESULTS_FILE,
    ROSTER_FILE,
    SOFTWARE_FILE,
    SPECIFICATION_FILE,
    TERMS_FILE,
    software_versions,
)
from coordinator.evidence.checkpoints import open_checkpoint
from coordinator.modules.specification_signing import check_specification
from coordinator.written import results_json
from protocol.atlas_manifest import AtlasManifest
from protocol.bundle import BundleManifest
from protocol.codec import sha256
from protocol.envelopes import PayloadType
from protocol.identifiers import Sha256, SiteId
from protocol.plan import StudyPlan
from protocol.results import ResultSet
from protocol.roster import Believed, Roster, open_from_coordinator, open_plan
from protocol.signing import VerifyingKey
from shared.errors import InputError, ProblemsError, RefusedError
from shared.runtime.files import read_bounded


@dataclass(frozen=True, kw_only=True)
class VerifiedBundle:
    """What was found to hold.

    Attributes
    ----------
    manifest
        The bundle's manifest.
    coordinator
        The fingerprint of the key by which everything was checked.
    key_was_given
        Whether that key came from outside the bundle. Otherwise a stranger could have signed all of it.
    files, reports, checkpoints
        How many.
    silent_sites
        Sites of the plan without a report.
    """

    manifest: BundleManifest
    coordinator: Sha256
    key_was_given: bool
    files: int
    reports: int
    checkpoints: int
    silent_sites: tuple[SiteId, ...]


def verify_bundle(folder: Path, *, coordinator: VerifyingKey | None = None) -> VerifiedBundle:
    """Return what holds of a bundle, if all of it does.

    Parameters
    ----------
    folder
        The bundle.
    coordinator
        The coordinator's key as you know it; without: the one in the bundle.

    Raises
    ------
    ProblemsError
        With every file that is missing, changed or added.
    ProtocolError
        If a signature does not hold, or parts do not belong together.
    RefusedError
        If the results are not those of the reports.
    InputError
        If the folder is no bundle.
    """
    key = coordinator or _key_within(folder)
    envelope = read_bounded(folder / MANIFEST_FILE, limit=MANIFEST_LIMIT, what="a bundle's manifest")
    manifest = open_from_coordinator(envelope, BundleManifest, PayloadType.BUNDLE, key).message
    files = _checked_files(folder, manifest)
    plan, roster = _checked_plan(files, manifest, key)
    reports = [(path, files[path]) for path in files if path.startswith(REPORTS)]
    outcome = analyse_reports(plan, verified_reports(plan, roster, reports))
    checkpoints = [files[path] for path in files if path.startswith(CHECKPOINTS)]
    _check_checkpoints(checkpoints, plan, roster, key)
    _check_results(files[RESULTS_FILE], files[SOFTWARE_FILE], outcome)
    if SPECIFICATION_FILE in files:
        check_specification(files[SPECIFICATION_FILE], key, plan, outcome, files[RESULTS_FILE])
    return VerifiedBundle(
        manifest=manifest,
        coordinator=key.fingerprint,
        key_was_given=coordinator is not None,
        files=len(files),
        reports=len(reports),
        checkpoints=len(checkpoints),
        silent_sites=tuple(site for site in plan.message.sites if site not in outcome.data.sites),
    )


def _key_within(folder: Path) -> VerifyingKey:
    text = read_bounded(folder / KEY_FILE, limit=4_096, what="a bundle with the coordinator's public key")
    return VerifyingKey.from_hex(text.decode("ascii", errors="replace").strip())


def _checked_files(folder: Path, manifest: BundleManifest) -> dict[str, bytes]:
    """Return the files that the manifest names, each with its hash; raise with all that are not so."""
    problems: list[InputError] = []
    files: dict[str, bytes] = {}
    for file in manifest.files:
        try:
            data = read_bounded(folder / file.path, limit=LARGEST_FILE, what="a file of the bundle")
        except InputError as error:
            problems.append(error)
            continue
        if len(data) != file.size_bytes or sha256(data) != file.sha256:
            problems.append(InputError(f"{file.path}: it was changed", hint="expected the bytes that were signed"))
        files[file.path] = data
    known = {file.path for file in manifest.files} | {MANIFEST_FILE}
    there = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    strangers = sorted(path.relative_to(folder).as_posix() for path in there)
    problems += [InputError(f"{path}: it was added") for path in strangers if path not in known]
    needed = {PLAN_FILE, ROSTER_FILE, ATLAS_FILE, RESULTS_FILE, KEY_FILE, SOFTWARE_FILE} - known
    problems += [InputError(f"{path}: the manifest lacks it") for path in sorted(needed)]
    if problems:
        raise ProblemsError(f"bundle {folder}", problems)
    return files


def _checked_plan(
    files: dict[str, bytes], manifest: BundleManifest, key: VerifyingKey
) -> tuple[Believed[StudyPlan], Roster]:
    plan = open_plan(files[PLAN_FILE], key)
    roster = open_from_coordinator(files[ROSTER_FILE], Roster, PayloadType.ROSTER, key).message
    atlas = open_from_coordinator(files[ATLAS_FILE], AtlasManifest, PayloadType.ATLAS_MANIFEST, key).message
    terms = plan.message.terms_sha256
    for holds, what in (
        (plan.payload_sha256 == manifest.plan_sha256, "the manifest names another plan"),
        (plan.message.study == manifest.study == roster.study, "manifest, plan and roster are of different studies"),
        (roster.coordinator == key.to_hex(), "the roster names another coordinator"),
        (files[KEY_FILE].decode("ascii", errors="replace").strip() == key.to_hex(), "it holds another public key"),
        (atlas.reference() == plan.message.atlas, "the plan names another atlas"),
        (terms is None or (TERMS_FILE in files and sha256(files[TERMS_FILE]) == terms), "the plan names other terms"),
    ):
        if not holds:
            raise RefusedError(f"the bundle: {what}")
    return plan, roster


def _check_checkpoints(envelopes: list[bytes], plan: Believed[StudyPlan], roster: Roster, key: VerifyingKey) -> None:
    for envelope in envelopes:
        checkpoint = open_checkpoint(envelope, key)
        roster.site_key(checkpoint.site)
        if checkpoint.study != plan.message.study:
            raise RefusedError(f"the bundle: the checkpoint of {checkpoint.site} is of another study")


def _check_results(written: bytes, software: bytes, outcome: Outcome) -> None:
    try:
        said = ResultSet.model_validate_json(written)
    except ValueError as error:
        raise RefusedError(f"{RESULTS_FILE}: expected results: {error}") from None
    # Parity compares with pooled cells, which only a simulated run has: it is a statement about the run, not of the
    # reports, and stands as it was signed.
    again = outcome.results.model_copy(update={"parity": said.parity})
    if results_json(again) != written:
        place = first_difference(json.loads(written), json.loads(results_json(again)))
        raise RefusedError(f"{RESULTS_FILE}: the reports give other results, first at {place}", hint=_hint(software))


def first_difference(one: Any, other: Any, place: str = "") -> str:  # noqa: ANN401 - any JSON value
    """Return the dotted place of the first difference of two JSON values, "their layout" where there is none.

    >>> first_difference({"a": [1, 2]}, {"a": [1, 3]})
    'a.1'
    """
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(str(key), one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(str(number), a, b) for number, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return "their layout" if one == other else place or "the whole"
    return next((first_difference(a, b, f"{place}.{key}".lstrip(".")) for key, a, b in pairs if a != b), "their layout")


def _hint(software: bytes) -> str:
    try:
        made = json.loads(software)
        here = software_versions()
        differing = [f"{name} {made[name]} (here {here.get(name)})" for name in made if made[name] != here.get(name)]
    except (ValueError, TypeError):
        return f"{SOFTWARE_FILE} cannot be read"
    if not differing:
        return "the software has the same versions here: the results were changed, or a version was not released"
    return f"if the results are honest, the software differs: made with {', '.join(differing)}"
