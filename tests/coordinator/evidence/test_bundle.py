"""The bundle: whole, signed, and its results made again; any change to it is found."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.evidence.bundle import evidence_of_home, read_evidence, write_bundle
from coordinator.evidence.checkpoints import open_checkpoint
from coordinator.evidence.commands import bundle, verify
from coordinator.evidence.verification import verify_bundle
from coordinator.home import CoordinatorHome
from coordinator.store import SqliteStore, StoredReport
from protocol.bundle import BundledFile, BundleManifest
from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, open_envelope, seal
from protocol.errors import ProtocolError, SignatureError
from protocol.ledger import LedgerError
from protocol.report import LotReport
from protocol.roster import open_report
from shared.errors import CrosslotError, InputError, ProblemsError, RefusedError
from shared.runtime.console import CommandGroup
from shared.runtime.files import write_atomically
from site_agent.release.append_log import MemoryLog
from site_agent.release.ledger import Ledger
from tests.coordinator.finished_study import FinishedStudy, finished_study, write_study_folder
from tests.study_parts import COORDINATOR, KYOTO, LEIDEN, NOW, STRANGER, make_plan, make_roster, signed

PLAN = make_plan()
COUNTS = {
    KYOTO: {f"BM-{n}": (400 + 50 * n, 500 - 20 * n, 100 + n) for n in range(5)},
    LEIDEN: {f"MSC-{n}": (300 + 40 * n, 450 - 30 * n, 120 - n) for n in range(5)},
}


@pytest.fixture(scope="module")
def finished() -> FinishedStudy:
    return finished_study(PLAN, COUNTS, lambda first: first * 2.0)


@pytest.fixture(scope="module")
def whole(finished: FinishedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evidence") / "bundle"
    write_bundle(finished.evidence, out, key=COORDINATOR, at=NOW)
    return out


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_a_whole_bundle_holds(whole: Path) -> None:
    verified = verify_bundle(whole, coordinator=COORDINATOR.verifying_key)
    assert (verified.reports, verified.checkpoints, verified.silent_sites) == (10, 2, ())
    assert verified.key_was_given
    assert not verify_bundle(whole).key_was_given
    assert verified.files == sum(path.is_file() for path in whole.rglob("*")) - 1  # the manifest lists all others


def test_the_same_evidence_makes_the_same_bundle_to_the_byte(
    finished: FinishedStudy, whole: Path, tmp_path: Path
) -> None:
    write_bundle(finished.evidence, tmp_path / "again", key=COORDINATOR, at=NOW)
    for path in whole.rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_the_metadata_names_every_file_of_the_crate(whole: Path) -> None:
    graph = json.loads((whole / "ro-crate-metadata.json").read_text())["@graph"]
    by_id = {entity["@id"]: entity for entity in graph}
    assert by_id["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    named = {part["@id"] for part in by_id["./"]["hasPart"]}
    there = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert named == there - {"ro-crate-metadata.json"}
    for name in named - {"bundle.json"}:
        assert by_id[name]["sha256"] == sha256((whole / name).read_bytes())


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_of_any_file_is_found(whole: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(path for path in whole.rglob("*") if path.is_file())))
    sound = path.read_bytes()
    position = data.draw(st.integers(0, 8 * len(sound) - 1))
    flipped = bytearray(sound)
    flipped[position // 8] ^= 1 << position % 8
    path.write_bytes(bytes(flipped))
    try:
        with pytest.raises(CrosslotError):
            verify_bundle(whole)
    finally:
        path.write_bytes(sound)


def test_a_file_that_is_gone_cut_or_added_is_found_all_at_once(copied: Path) -> None:
    gone, cut = sorted((copied / "reports").glob("*.json"))[:2]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    (copied / "reports" / "kyoto-99.json").write_bytes(b"{}")
    (copied / "link.json").symlink_to(copied / "plan.json")
    with pytest.raises(ProblemsError) as caught:
        verify_bundle(copied)
    assert len(caught.value.problems) == 4
    for name in (gone.name, cut.name, "kyoto-99.json: it was added", "link.json"):
        assert name in str(caught.value)


def _signed_again(folder: Path, name: str, data: bytes) -> None:
    """Change a file and sign a manifest that agrees with it, as a dishonest coordinator could."""
    (folder / name).write_bytes(data)
    opened = open_envelope((folder / "bundle.json").read_bytes(), PayloadType.BUNDLE, [COORDINATOR.verifying_key])
    manifest = BundleManifest.model_validate_json(opened.payload)
    changed = BundledFile(path=name, sha256=sha256(data), size_bytes=len(data))
    files = tuple(changed if file.path == name else file for file in manifest.files)
    manifest = manifest.model_copy(update={"files": files})
    (folder / "bundle.json").write_bytes(seal(encode(manifest), PayloadType.BUNDLE, COORDINATOR))


def test_results_that_the_reports_do_not_give_are_refused_even_if_they_were_signed(copied: Path) -> None:
    results = json.loads((copied / "results.json").read_text())
    results["associations"][0]["rho"] = 0.999
    _signed_again(copied, "results.json", (json.dumps(results, indent=2, ensure_ascii=False) + "\n").encode())
    with pytest.raises(RefusedError, match=r"the reports give other results, first at associations\.0\.rho"):
        verify_bundle(copied)


def test_a_report_that_its_site_did_not_sign_is_refused_even_if_it_was_bundled(
    copied: Path, finished: FinishedStudy
) -> None:
    envelope = finished.evidence.reports["kyoto-0.json"]
    report = open_envelope(envelope, PayloadType.LOT_REPORT, [make_roster(PLAN).site_key(KYOTO)]).payload
    _signed_again(copied, "reports/kyoto-0.json", seal(report, PayloadType.LOT_REPORT, STRANGER))
    with pytest.raises(ProblemsError, match=r"kyoto-0\.json"):
        verify_bundle(copied)
    assert LotReport.model_validate_json(report).site == KYOTO


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("plan.json", lambda: signed(make_plan(seed=12), PayloadType.STUDY_PLAN)),
        ("roster.json", lambda: signed(make_roster(PLAN), PayloadType.ROSTER, STRANGER)),
        ("coordinator.pub", lambda: STRANGER.verifying_key.to_hex().encode()),
        ("logs/checkpoints/kyoto.json", lambda: b"{}"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(copied: Path, name: str, make: Callable[[], bytes]) -> None:
    _signed_again(copied, name, make())
    with pytest.raises(CrosslotError):
        verify_bundle(copied, coordinator=COORDINATOR.verifying_key)


def test_a_bundle_that_a_stranger_made_is_refused_by_whoever_knows_the_coordinator(
    finished: FinishedStudy, tmp_path: Path
) -> None:
    with pytest.raises(ProtocolError):
        write_bundle(finished.evidence, tmp_path / "bundle", key=STRANGER, at=NOW)
    write_bundle(finished.evidence, tmp_path / "bundle", key=COORDINATOR, at=NOW)
    with pytest.raises(SignatureError):
        verify_bundle(tmp_path / "bundle", coordinator=STRANGER.verifying_key)


def test_terms_are_bundled_and_held_against_the_plan(finished: FinishedStudy, tmp_path: Path) -> None:
    terms = b"Findings are used for research only.\n"
    with_terms = replace(finished.evidence, terms=terms)
    write_bundle(with_terms, tmp_path / "bundle", key=COORDINATOR, at=NOW)
    assert (tmp_path / "bundle" / "terms.txt").read_bytes() == terms
    assert verify_bundle(tmp_path / "bundle").files


def test_a_checkpoint_finds_a_ledger_that_was_cut(finished: FinishedStudy) -> None:
    for ledger, envelope in zip(finished.ledgers, finished.evidence.checkpoints.values(), strict=True):
        checkpoint = open_checkpoint(envelope, COORDINATOR.verifying_key)
        assert len(ledger.verify([checkpoint])) > checkpoint.length - 1
        with pytest.raises(LedgerError):
            _cut_to(ledger, checkpoint.length - 1).verify([checkpoint])


def _cut_to(ledger: Ledger, length: int) -> Ledger:
    log = MemoryLog()
    for position, envelope in enumerate(ledger.envelopes()[:length]):
        log.append(envelope, position=position)
    return Ledger(log, site=ledger._site, key=ledger._key)


@click.group(cls=CommandGroup)
def coordinator() -> None:
    """Stand in for the coordinator's root group."""


coordinator.add_command(bundle)
coordinator.add_command(verify)


def test_the_commands_bundle_and_verify(finished: FinishedStudy, tmp_path: Path) -> None:
    study = write_study_folder(finished.evidence, tmp_path / "study")
    assert read_evidence(study) == finished.evidence
    COORDINATOR.save(tmp_path / "key.pem")
    write_atomically(tmp_path / "key.pub", COORDINATOR.verifying_key.to_hex().encode())
    out = tmp_path / "bundle"

    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(coordinator, [str(argument) for argument in arguments])
        return result.exit_code, result.stdout

    assert run("bundle", study, "--key", tmp_path / "key.pem", "--out", out)[0] == 0
    code, said = run("verify", out, "--coordinator-key", tmp_path / "key.pub", "--json")
    assert code == 0
    assert json.loads(said)["key_was_given"] is True
    assert "bit for bit" in run("verify", out)[1]
    (out / "events.jsonl").write_bytes(b"")
    assert run("verify", out)[0] == 1
    assert run("verify", tmp_path / "study")[0] == 1


def test_a_coordinators_home_gives_the_same_evidence(finished: FinishedStudy, tmp_path: Path) -> None:
    home, evidence = CoordinatorHome(tmp_path / "home"), finished.evidence
    home.key_path.parent.mkdir(parents=True)
    COORDINATOR.save(home.key_path)
    folder = home.study(PLAN.study)
    for name, data in {
        "plan.json": evidence.plan,
        "roster.json": evidence.roster,
        "atlas-manifest.json": evidence.atlas_manifest,
        **{f"checkpoints/{name}": data for name, data in evidence.checkpoints.items()},
    }.items():
        write_atomically(folder / name, data)
    store = SqliteStore(home.store_path)
    roster = make_roster(PLAN)
    for name, envelope in evidence.reports.items():
        report = open_report(envelope, roster, name.partition("-")[0]).message
        kept = StoredReport(
            site=report.site, lot=report.lot, version=report.version, digest=sha256(envelope), envelope=envelope
        )
        store.add(PLAN.study, kept)
    store.append_event(PLAN.study, "{}")
    from_home = evidence_of_home(home, PLAN.study)
    assert (from_home.results, from_home.report) == (evidence.results, evidence.report)
    assert sorted(from_home.reports.values()) == sorted(evidence.reports.values())
    assert (from_home.checkpoints, from_home.events) == (evidence.checkpoints, evidence.events)
    out = tmp_path / "bundle"
    arguments = ["bundle", PLAN.study, "--home", str(home.path), "--out", str(out)]
    assert CliRunner().invoke(coordinator, arguments).exit_code == 0
    assert verify_bundle(out, coordinator=COORDINATOR.verifying_key).reports == len(evidence.reports)
    assert CliRunner().invoke(coordinator, ["bundle", "x", "--out", str(out)]).exit_code == 2


def test_a_folder_without_the_parts_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plan\.json"):
        read_evidence(tmp_path)


def test_the_time_is_the_one_given(finished: FinishedStudy, tmp_path: Path) -> None:
    manifest = write_bundle(
        finished.evidence, tmp_path / "bundle", key=COORDINATOR, at=datetime.fromisoformat("2027-01-31T00:00:00+00:00")
    )
    assert manifest.at == "2027-01-31T00:00:00Z"
