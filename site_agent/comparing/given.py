"""What a comparison at the site starts from: its lots, the atlas, the criteria, and the consortium's signed ranges.

Rules
-----
1. The criteria are the signed plan's (or a draft's); without a plan those that the consortium's results were had by;
   without either the defaults, whose margin is a placeholder.
2. Ranges are believed only as the coordinator of the given key signed them, and only if they are of the same atlas, by
   hash, of the same clusters, and of the same assay and unit.
3. All that is wrong in the folder is raised at once. Nothing is written and nothing leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.codec import sha256
from protocol.envelopes import PayloadType, envelope_limit
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import EndpointId, Sha256
from protocol.modules.comparability import ComparabilityPlan
from protocol.plan import Endpoint, Normalisation, QualityLimits, StudyPlan
from protocol.results import ResultSet
from protocol.roster import open_results
from protocol.signing import VerifyingKey
from shared.atlas.artefact import MAXIMUM_BYTES, Atlas, from_bytes
from shared.comparability.findings import Criteria, ReferenceRanges
from shared.errors import InputError
from shared.runtime.files import read_bounded
from site_agent.cells.lot_files import require_readable_files
from site_agent.cells.lots import SiteLots, read_site_folder
from site_agent.check_command import read_plan

_KEY_LIMIT: Final = 4_096
_LONGEST_CHANGE: Final = 500
_LIMITS: Final = QualityLimits()
"""Without a plan: at least 500 cells a lot and .7 of the atlas's genes."""


@dataclass(frozen=True, kw_only=True)
class Consortium:
    """The ranges over the lots before of an earlier study, and where they come from.

    ``lost_in_noise`` names the clusters of which that study's comparison could show nothing for noise on counts.
    """

    ranges: ReferenceRanges
    study: str
    results_sha256: Sha256
    lost_in_noise: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """All that a comparison at the site needs, read and found whole."""

    site: SiteLots
    atlas: Atlas
    atlas_sha256: str
    limits: QualityLimits
    criteria: Criteria
    endpoint: str
    assay: str
    unit: str
    relative: bool
    plan: str | None  # the study whose plan fixed the criteria
    consortium: Consortium | None


def read_given(
    folder: Path,
    atlas: Path,
    *,
    plan: Path | None,
    coordinator_key: Path | None,
    ranges: Path | None,
    change: str | None,
    endpoint: str | None,
) -> Given:
    """Return what a comparison works on.

    Raises
    ------
    InputError
        A file cannot be read, the plan does not ask for a comparison, or ranges come without a key or are of something
        else.
    ProblemsError
        With all that is wrong in the site's folder.
    ProtocolError
        A signature does not hold, or the atlas is not the plan's or the ranges'.
    """
    data = read_bounded(atlas, limit=MAXIMUM_BYTES, what="the reference atlas")
    reference, digest = from_bytes(data), sha256(data)
    study = None if plan is None else read_plan(plan, coordinator_key)
    if study is not None and study.atlas.sha256 != digest:
        raise ProtocolError(ErrorCode.ATLAS_MISMATCH, f"It is {atlas}.", hint="give the atlas that the plan names")
    results = None if ranges is None else _read_results(ranges, coordinator_key)
    if results is not None and results.message.study.atlas_sha256 != digest:
        raise ProtocolError(ErrorCode.ATLAS_MISMATCH, f"It is {atlas}.", hint="give the atlas that the ranges are of")
    asked = _asked(study, results, change, endpoint)
    site = read_site_folder(
        folder,
        None if study is None else study.endpoints,
        cohorts=None if study is None else study.cohorts,
    )
    require_readable_files(site, reference)
    told = _endpoint(site, asked, study, results)
    return Given(
        site=site,
        atlas=reference,
        atlas_sha256=digest,
        limits=_LIMITS if study is None else study.quality,
        criteria=asked.criteria,
        endpoint=told.endpoint,
        assay=told.assay,
        unit=told.unit,
        relative=told.relative,
        plan=None if study is None else study.study,
        consortium=None if results is None else _consortium(results, told, reference.clusters),
    )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    criteria: Criteria
    endpoint: str | None


@dataclass(frozen=True, kw_only=True)
class _Potency:
    endpoint: str
    assay: str
    unit: str
    relative: bool


@dataclass(frozen=True, kw_only=True)
class _Results:
    message: ResultSet
    sha256: Sha256
    path: Path


def _read_results(path: Path, coordinator_key: Path | None) -> _Results:
    if coordinator_key is None:
        raise InputError(
            f"{path}: expected --coordinator-key with --ranges", hint="give the coordinator's .pub file that you pinned"
        )
    text = read_bounded(coordinator_key, limit=_KEY_LIMIT, what="a public key (.pub)")
    try:
        key = VerifyingKey.from_hex(text.decode("ascii", errors="replace").strip())
    except InputError as error:
        raise InputError(f"{coordinator_key}: {error}", hint="give the .pub file of the coordinator") from None
    data = read_bounded(path, limit=envelope_limit(PayloadType.RESULTS), what="signed results")
    believed = open_results(data, key)
    return _Results(message=believed.message, sha256=believed.payload_sha256, path=path)


def _asked(study: StudyPlan | None, results: _Results | None, change: str | None, endpoint: str | None) -> _Asked:
    if study is not None:
        if study.modules.comparability is None:
            raise InputError(
                f"the plan of {study.study}: expected a module comparability, found none",
                hint="give a plan with [modules.comparability], or --change instead of a plan",
            )
        return _Asked(criteria=study.modules.comparability.criteria, endpoint=study.modules.comparability.endpoint)
    if results is not None and results.message.comparability is not None:
        compared = results.message.comparability
        return _Asked(criteria=compared.findings.criteria, endpoint=compared.endpoint)
    if change is None:
        raise InputError(
            "expected --plan, --ranges with criteria, or --change, found none of them",
            hint="tell the change in words: --change 'serum-free medium'",
        )
    if not 1 <= len(change) <= _LONGEST_CHANGE:
        raise InputError(f"--change: expected 1 to {_LONGEST_CHANGE} characters, found {len(change)}")
    return _Asked(criteria=ComparabilityPlan(endpoint=EndpointId("any"), change=change).criteria, endpoint=endpoint)


def _endpoint(site: SiteLots, asked: _Asked, study: StudyPlan | None, results: _Results | None) -> _Potency:
    declared = None if study is None else next(each for each in study.endpoints if each.endpoint == asked.endpoint)
    if declared is not None:
        return _as_potency(declared)
    if results is not None:
        card = next((each for each in results.message.endpoints if each.endpoint == asked.endpoint), None)
        if card is not None:
            return _Potency(endpoint=card.endpoint, assay=card.assay, unit=card.unit, relative="relative" in card.scale)
    rows = [row for lot in site.potency.values() for row in lot]
    found = sorted({row.endpoint for row in rows})
    name = asked.endpoint or (found[0] if len(found) == 1 else None)
    if name not in found:
        raise InputError(
            f"potency.csv: expected one endpoint, found {', '.join(found)}",
            hint="say by --endpoint which of them is compared",
        )
    own = [row for row in rows if row.endpoint == name]
    return _Potency(
        endpoint=own[0].endpoint,
        assay=own[0].assay,
        unit=own[0].unit,
        relative=all(row.reference_replicates for row in own),
    )


def _as_potency(declared: Endpoint) -> _Potency:
    return _Potency(
        endpoint=declared.endpoint,
        assay=declared.assay,
        unit=declared.unit,
        relative=declared.normalisation is Normalisation.RUN_REFERENCE,
    )


def _consortium(results: _Results, told: _Potency, clusters: Sequence[str]) -> Consortium:
    compared = results.message.comparability
    if compared is None or compared.ranges is None:
        raise InputError(
            f"{results.path}: expected reference ranges, found none",
            hint="the study must ask for comparability and have lots before of enough sites to release them",
        )
    card = next(each for each in results.message.endpoints if each.endpoint == compared.endpoint)
    theirs = (card.endpoint, card.assay, card.unit, "relative" in card.scale)
    ours = (told.endpoint, told.assay, told.unit, told.relative)
    if theirs != ours:
        raise InputError(
            f"{results.path}: expected ranges of {told.endpoint} by {told.assay} in {told.unit}, found "
            f"{card.endpoint} by {card.assay} in {card.unit}",
            hint="values of another assay, unit or scale cannot be held against one another",
        )
    names = tuple(each.name for each in compared.ranges.parts)
    if names != tuple(clusters):
        raise InputError(f"{results.path}: expected the atlas's clusters, found {', '.join(names)}")
    lost = tuple(each.name for each in compared.findings.parts if each.lost_in_noise) if compared.ranges.noised else ()
    return Consortium(
        ranges=compared.ranges,
        study=results.message.study.study,
        results_sha256=results.sha256,
        lost_in_noise=lost,
    )
