"""A study's bundle: one folder that holds everything by which its results can be checked, and made again.

Layout, an RO-Crate (https://w3id.org/ro/crate/1.1)::

    ro-crate-metadata.json        what each file is, for people and catalogues
    bundle.json                   every other file by its hash, signed by the coordinator
    coordinator.pub               the key that signed; compare it with the one you were given by another way
    plan.json  roster.json  atlas-manifest.json      signed by the coordinator
    reports/*.json                each signed by its site
    results.json  report.html     what came of them
    specification.json            where one was signed
    logs/collection.jsonl         who was asked and answered what, and when
    logs/checkpoints/<site>.json  where each site's ledger ended, countersigned
    software.json                 versions

No time but the one given enters it: the same study gives the same bytes.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from coordinator.analyse_command import analyse_reports, verified_reports
from coordinator.home import CoordinatorHome
from coordinator.report.edition import Edition
from coordinator.store import SqliteStore
from coordinator.written import report_html, results_json
from protocol.bundle import BundledFile, BundleManifest
from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, envelope_limit, seal
from protocol.identifiers import StudyId, instant
from protocol.plan import StudyPlan
from protocol.roster import Believed, Roster, open_from_coordinator, open_plan
from protocol.signing import SigningKey
from shared.runtime.files import appearing_whole, read_bounded, write_atomically

METADATA_FILE: Final = "ro-crate-metadata.json"
MANIFEST_FILE: Final = "bundle.json"
KEY_FILE: Final = "coordinator.pub"
PLAN_FILE: Final = "plan.json"
ROSTER_FILE: Final = "roster.json"
ATLAS_FILE: Final = "atlas-manifest.json"
RESULTS_FILE: Final = "results.json"
REPORT_FILE: Final = "report.html"
EVENTS_FILE: Final = "logs/collection.jsonl"
SOFTWARE_FILE: Final = "software.json"
REPORTS: Final = "reports/"
CHECKPOINTS: Final = "logs/checkpoints/"
TERMS_FILE: Final = "terms.txt"
SPECIFICATION_FILE: Final = "specification.json"

LARGEST_FILE: Final = 256 * 2**20
MANIFEST_LIMIT: Final = envelope_limit(PayloadType.BUNDLE)
_PACKAGES: Final = ("crosslot", "numpy", "scipy", "pandas", "statsmodels", "pydantic", "cryptography", "flwr", "jinja2")
_DESCRIPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    PLAN_FILE: ("The study plan, signed by the coordinator", "application/json"),
    ROSTER_FILE: ("Whose key is whose, signed by the coordinator", "application/json"),
    ATLAS_FILE: ("The manifest of the reference atlas, signed by the coordinator", "application/json"),
    KEY_FILE: ("The coordinator's public key", "text/plain"),
    RESULTS_FILE: ("The results", "application/json"),
    REPORT_FILE: ("The report, coordinator's edition", "text/html"),
    EVENTS_FILE: ("Who was asked and answered what, and when", "application/jsonl"),
    SOFTWARE_FILE: ("Versions of the software that made this bundle", "application/json"),
    MANIFEST_FILE: ("Every file by its hash, signed by the coordinator", "application/json"),
    TERMS_FILE: ("The study's terms", "text/plain"),
    SPECIFICATION_FILE: ("The specification for release, signed by the coordinator", "application/json"),
}


@dataclass(frozen=True, kw_only=True)
class StudyEvidence:
    """What goes into a bundle, byte for byte.

    Attributes
    ----------
    plan, roster, atlas_manifest
        Sealed by the coordinator.
    reports, checkpoints
        Envelopes by file name.
    results, report
        ``results.json`` and ``report.html``.
    events
        The collection's log.
    terms
        The study's terms, where it has any.
    specification
        The signed specification for release, where there is one.
    """

    plan: bytes
    roster: bytes
    atlas_manifest: bytes
    reports: Mapping[str, bytes]
    results: bytes
    report: bytes
    events: bytes
    checkpoints: Mapping[str, bytes] = field(default_factory=dict)
    terms: bytes | None = None
    specification: bytes | None = None


def read_evidence(folder: Path) -> StudyEvidence:
    """Return the evidence that lies in a study's folder, as a run or a coordinator leaves it.

    Raises
    ------
    InputError
        If a part is missing or too large.
    """

    def part(name: str, what: str) -> bytes:
        return read_bounded(folder / name, limit=LARGEST_FILE, what=what)

    def envelopes(name: str, kind: PayloadType) -> dict[str, bytes]:
        limit = envelope_limit(kind)
        return {
            path.name: read_bounded(path, limit=limit, what="an envelope")
            for path in sorted((folder / name).glob("*.json"))
        }

    terms = folder / "published" / TERMS_FILE
    return StudyEvidence(
        plan=part("published/plan.json", "the signed study plan"),
        roster=part("published/roster.json", "the signed roster"),
        atlas_manifest=part("published/reference.atlas.json", "the signed manifest of the atlas"),
        reports=envelopes("coordinator/envelopes", PayloadType.LOT_REPORT),
        results=part("results.json", "the results"),
        report=part("report.html", "the report"),
        events=part("coordinator/events.jsonl", "the collection's log"),
        checkpoints=envelopes("coordinator/checkpoints", PayloadType.CHECKPOINT),
        terms=part(f"published/{TERMS_FILE}", "the study's terms") if terms.exists() else None,
        specification=_specification(folder / "published"),
    )


def evidence_of_home(home: CoordinatorHome, study: StudyId) -> StudyEvidence:
    """Return the evidence of a study that a coordinator collected; results and report are made from its store.

    Raises
    ------
    InputError
        If the study was not published or nothing of it was collected.
    ProblemsError
        If an envelope of the store does not hold.
    """
    folder, key = home.study(study), home.key.verifying_key

    def part(name: str, kind: PayloadType, what: str) -> bytes:
        return read_bounded(folder / name, limit=envelope_limit(kind), what=what)

    plan = part(PLAN_FILE, PayloadType.STUDY_PLAN, "the signed study plan")
    roster = part(ROSTER_FILE, PayloadType.ROSTER, "the signed roster; collect first")
    store = SqliteStore(home.store_path)
    reports = {f"{each.site}-{each.lot}-v{each.version}.json": each.envelope for each in store.reports(study)}
    parties = open_from_coordinator(roster, Roster, PayloadType.ROSTER, key).message
    believed = open_plan(plan, key)
    outcome = analyse_reports(believed, verified_reports(believed, parties, reports.items()))
    limit = envelope_limit(PayloadType.CHECKPOINT)
    terms = folder / TERMS_FILE
    return StudyEvidence(
        plan=plan,
        roster=roster,
        atlas_manifest=part(ATLAS_FILE, PayloadType.ATLAS_MANIFEST, "the signed manifest of the atlas"),
        reports=reports,
        results=results_json(outcome.results),
        report=report_html(outcome, Edition.coordinator()),
        events="".join(f"{line}\n" for line in store.events(study)).encode(),
        checkpoints={
            path.name: read_bounded(path, limit=limit, what="a checkpoint")
            for path in sorted((folder / "checkpoints").glob("*.json"))
        },
        terms=read_bounded(terms, limit=LARGEST_FILE, what="the study's terms") if terms.exists() else None,
        specification=_specification(folder),
    )


def write_bundle(evidence: StudyEvidence, out: Path, *, key: SigningKey, at: datetime) -> BundleManifest:
    """Write the bundle of a study into a new folder, and return its manifest.

    Parameters
    ----------
    evidence
        What goes in.
    out
        A new or empty folder, or an earlier bundle, which is replaced.
    key
        The coordinator's signing key.
    at
        The time that the bundle names.

    Raises
    ------
    InputError
        If ``out`` holds something else or cannot be written.
    ProtocolError
        If the plan is not signed by this key.
    """
    plan = open_plan(evidence.plan, key.verifying_key)
    files = _contents(evidence, key)
    files[METADATA_FILE] = _metadata(plan, files, at)
    manifest = BundleManifest(
        study=plan.message.study,
        plan_sha256=plan.payload_sha256,
        at=instant(at),
        crosslot=version("crosslot"),
        files=tuple(
            BundledFile(path=path, sha256=sha256(data), size_bytes=len(data)) for path, data in sorted(files.items())
        ),
    )
    with appearing_whole(out, replaces=MANIFEST_FILE) as work:
        for path, data in files.items():
            write_atomically(work / path, data)
        write_atomically(work / MANIFEST_FILE, seal(encode(manifest), PayloadType.BUNDLE, key))
    return manifest


def _specification(folder: Path) -> bytes | None:
    path = folder / SPECIFICATION_FILE
    if not path.exists():
        return None
    return read_bounded(path, limit=envelope_limit(PayloadType.SPECIFICATION), what="the signed specification")


def _contents(evidence: StudyEvidence, key: SigningKey) -> dict[str, bytes]:
    files = {
        PLAN_FILE: evidence.plan,
        ROSTER_FILE: evidence.roster,
        ATLAS_FILE: evidence.atlas_manifest,
        KEY_FILE: key.verifying_key.to_hex().encode() + b"\n",
        RESULTS_FILE: evidence.results,
        REPORT_FILE: evidence.report,
        EVENTS_FILE: evidence.events,
        SOFTWARE_FILE: _as_json(software_versions()),
    }
    files |= {REPORTS + name: data for name, data in evidence.reports.items()}
    files |= {CHECKPOINTS + name: data for name, data in evidence.checkpoints.items()}
    if evidence.terms is not None:
        files[TERMS_FILE] = evidence.terms
    if evidence.specification is not None:
        files[SPECIFICATION_FILE] = evidence.specification
    return files


def software_versions() -> dict[str, str]:
    """Return the versions of what computes results, by name."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _metadata(plan: Believed[StudyPlan], files: Mapping[str, bytes], at: datetime) -> bytes:
    # RO-Crate 1.1, sections "Root Data Entity" and "Data Entities". The manifest's own hash cannot stand here.
    parts: Sequence[str] = sorted([*files, MANIFEST_FILE])
    graph: list[dict[str, Any]] = [
        {
            "@id": METADATA_FILE,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "identifier": plan.payload_sha256,
            "name": plan.message.title,
            "description": f"{plan.message.question} Evidence of study {plan.message.study}, checked by: "
            "crosslot-coordinator verify.",
            "datePublished": instant(at),
            "license": "All rights reserved by the sites and the coordinator, under the study's terms.",
            "hasPart": [{"@id": path} for path in parts],
        },
    ]
    for path in parts:
        name, media_type = _described(path)
        entity: dict[str, Any] = {"@id": path, "@type": "File", "name": name, "encodingFormat": media_type}
        if path in files:
            entity |= {"contentSize": str(len(files[path])), "sha256": sha256(files[path])}
        graph.append(entity)
    context = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://schema.org/sha256"}]
    return _as_json({"@context": context, "@graph": graph})


def _described(path: str) -> tuple[str, str]:
    if path.startswith(REPORTS):
        return "A lot report, signed by its site", "application/json"
    if path.startswith(CHECKPOINTS):
        return f"Where the ledger of {Path(path).stem} ended, countersigned by the coordinator", "application/json"
    return _DESCRIPTIONS[path]


def _as_json(document: object) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
