"""``check`` shows exactly what the agent would send: the same bytes, the same lots held back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from protocol.codec import encode
from protocol.envelopes import PayloadType
from protocol.errors import ErrorCode, ProtocolError
from protocol.modules.asked import Modules
from protocol.modules.markers import MarkersPlan
from protocol.modules.names import ModuleName
from protocol.plan import Profile, StudyPlan
from protocol.policy import NoisePolicy, PolicyThresholds, SitePolicy, read_policy, write_policy
from protocol.report import LotReport
from protocol.roster import open_report
from shared.atlas.artefact import to_bytes
from shared.errors import InputError, ProblemsError
from site_agent.cells.lots import Lot
from site_agent.check_command import (
    EXAMPLE_SECRET,
    SECRET_FILE,
    CheckedSite,
    check_site,
    read_plan,
    read_site,
    write_payloads,
)
from site_agent.check_shown import as_document, common_rows, count_rows, field_rows, lot_rows
from site_agent.lot_reports import FolderReports
from site_agent.release.marker_rules import tells_of_cells
from tests.study_parts import COORDINATOR, KYOTO, NOW, STRANGER, STUDY, Site, make_ask, make_roster, signed
from tests.study_with_cells import LOT_NAMES, cell_study, make_study_plan, write_study

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("check") / "study")


@pytest.fixture
def study(tmp_path: Path, pristine: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "study")


def checked(study: Path) -> CheckedSite:
    given = read_site(study / "sites" / KYOTO, make_study_plan(), study / "reference.atlas")
    return check_site(given, done=lambda _lot: None, log=lambda _line: None, threads=1)


def change_policy(study: Path, **changes: object) -> SitePolicy:
    path = study / "sites" / KYOTO / "policy.toml"
    policy = read_policy(path.read_bytes()).model_copy(update=changes)
    path.write_bytes(write_policy(policy))
    return policy


def sent_by_the_agent(study: Path, plan: StudyPlan, secret: bytes) -> list[LotReport]:
    policy = (study / "sites" / KYOTO / "policy.toml").read_bytes()
    given = read_site(study / "sites" / KYOTO, plan, study / "reference.atlas")
    source = FolderReports(
        site=given.site, atlas=given.atlas, secret=secret, done=lambda _lot: None, log=lambda _line: None, threads=1
    )
    allowed = read_policy(policy).model_copy(update={"allowed_coordinators": (COORDINATOR.fingerprint,)})
    reply = Site(source, write_policy(allowed)).agent.answer(make_ask(plan), NOW)
    return [open_report(each, make_roster(plan), KYOTO).message for each in getattr(reply, "reports", ())]


@pytest.mark.disclosure
def test_what_is_shown_is_byte_for_byte_what_the_agent_sends(study: Path) -> None:
    (study / "sites" / KYOTO / SECRET_FILE).write_bytes(SECRET)
    change_policy(study, allowed_coordinators=(COORDINATOR.fingerprint,))
    shown = checked(study)
    assert not shown.pseudonyms_are_examples
    sent = sent_by_the_agent(study, make_study_plan(), SECRET)
    assert len(sent) == 4
    assert sorted(encode(report) for report in sent) == sorted(lot.payload for lot in shown.lots if lot.payload)


@pytest.mark.disclosure
@pytest.mark.parametrize("profile", [Profile.OPEN, Profile.STANDARD])
def test_lots_that_the_agent_would_hold_back_are_not_shown_as_leaving(study: Path, profile: Profile) -> None:
    # One lot only is large enough for the site's minimum, and one alone is too few.
    change_policy(study, profile=profile)
    path = study / "sites" / KYOTO / "cells" / f"{LOT_NAMES[0]}.h5ad"
    cells = ad.read_h5ad(path)
    large = ad.concat([cells] * 8, index_unique="-")
    large.var = cells.var
    large.write_h5ad(path)
    leaving = [lot for lot in checked(study).lots if lot.payload is not None]
    assert len(leaving) == len(sent_by_the_agent(study, make_study_plan(), EXAMPLE_SECRET))
    assert len(leaving) == (4 if profile is Profile.OPEN else 0)


def test_a_site_without_a_secret_sees_example_pseudonyms(study: Path) -> None:
    assert checked(study).pseudonyms_are_examples


@pytest.mark.disclosure
def test_under_noise_an_example_is_shown_and_no_budget_is_spent(study: Path) -> None:
    exact = [lot.outcome.mapping.counts for lot in checked(study).lots]
    change_policy(study, noise=NoisePolicy(epsilon_per_release=0.5, epsilon_budget=0.5))
    change_policy(study, thresholds=PolicyThresholds(minimum_cells_per_lot=10))
    for _ in range(2):  # a budget of one draw: a second look would find it spent
        lots = checked(study).lots
        assert not any(lot.blocked_by for lot in lots)
        reports = [lot.outcome.report for lot in lots]
        moved = [
            count.low != cells
            for report, counts in zip(reports, exact, strict=True)
            if report is not None
            for count, cells in zip(report.counts, counts, strict=True)
        ]
        assert any(moved)
    assert not (study / "sites" / KYOTO / "noise").exists()


@pytest.mark.disclosure
@pytest.mark.parametrize("noisy", [False, True])
def test_a_lot_takes_part_in_a_study_of_markers_under_noise_and_sends_no_moments(study: Path, *, noisy: bool) -> None:
    noise = NoisePolicy(epsilon_per_release=0.5, epsilon_budget=0.5) if noisy else None
    change_policy(
        study,
        noise=noise,
        allowed_modules=(ModuleName.MARKERS,),
        thresholds=PolicyThresholds(minimum_cells_per_lot=10),
    )
    genes = tuple(cell_study().cells.var_names[:5])
    asked = make_study_plan().model_copy(update={"modules": Modules(markers=MarkersPlan(genes=genes))})
    given = read_site(study / "sites" / KYOTO, asked, study / "reference.atlas")
    for lot in check_site(given, done=lambda _lot: None, log=lambda _line: None, threads=1).lots:
        assert lot.blocked_by == ()
        assert lot.outcome.report is not None
        assert tells_of_cells(lot.outcome.report.markers) is not noisy


@pytest.mark.disclosure
def test_no_payload_holds_a_name_of_the_sites_own(study: Path) -> None:
    for lot in checked(study).lots:
        assert lot.payload is not None
        for name in (*LOT_NAMES, "Donor", "plate of", "cells/", "Batch"):
            assert name.encode() not in lot.payload


@pytest.mark.disclosure
def test_the_payload_is_as_long_for_a_lot_of_any_number_of_cells(study: Path) -> None:
    folder = study / "sites" / KYOTO / "cells"
    cells = ad.read_h5ad(folder / f"{LOT_NAMES[0]}.h5ad")
    twice = ad.concat([cells, cells], index_unique="-")
    many = ad.concat([cells] * 40, index_unique="-")
    for name, version in zip(LOT_NAMES[0::2], (cells, twice, many, cells[::2][:60]), strict=True):
        file = version.copy()
        file.var = cells.var
        file.write_h5ad(folder / f"{name}.h5ad")
    change_policy(study, thresholds=PolicyThresholds(minimum_cells_per_lot=10))
    plan = make_study_plan().model_copy(
        update={"quality": make_study_plan().quality.model_copy(update={"minimum_cells_per_lot": 10})}
    )
    given = read_site(study / "sites" / KYOTO, plan, study / "reference.atlas")
    lots = check_site(given, done=lambda _lot: None, log=lambda _line: None, threads=1).lots
    assert [lot.outcome.mapping.cells for lot in lots] == [80, 160, 3200, 40]
    sizes = {len(lot.payload) for lot in lots if lot.payload is not None}
    assert len(sizes) == 1
    assert sizes.pop() <= 4096


def test_counts_are_shown_as_they_would_leave(study: Path) -> None:
    shown = checked(study)
    rows = {row[0]: row[1:] for row in count_rows(shown)}
    report = shown.lots[0].outcome.report
    assert report is not None
    assert [rows[kind][0] for kind in ("alpha", "beta", "gamma", "unassigned", "all cells after QC")] == [
        str(count.low) for count in (*report.counts, report.unassigned, report.cells_after_qc)
    ]
    # The cells are of known kind, and the atlas was made of them.
    truth = cell_study().of_lot(LOT_NAMES[0]).obs["kind"].value_counts()
    assert abs(int(rows["beta"][0]) - int(truth["beta"])) <= 4


def test_every_field_is_shown_once_either_for_all_lots_or_lot_by_lot(study: Path) -> None:
    shown = checked(study)
    common, differing = common_rows(shown), field_rows(shown)
    names = [row[0] for row in (*common, *differing)]
    assert len(names) == len(set(names))
    values = dict(common)
    assert values["plan_sha256"] == shown.rules.plan_sha256
    assert values["tissue"] == "bone marrow"
    by_lot = {row[0]: row[1:] for row in differing}
    assert all(len(set(row)) > 1 for row in by_lot.values())
    assert by_lot["potency.1.replicates"] == tuple(str(cell_study().potency[lot.outcome.lot.lot]) for lot in shown.lots)
    left_out = {"counts", "unassigned", "cells_after_qc", "padding"}
    fields = {name.partition(".")[0] for name in names} | left_out
    payload = shown.lots[0].payload
    assert payload is not None
    assert fields == set(json.loads(payload))


def test_a_lot_that_would_not_leave_shows_why_and_no_number_of_it_as_leaving(study: Path) -> None:
    change_policy(study, thresholds=PolicyThresholds(minimum_cells_per_lot=500))
    shown = checked(study)
    assert {row[-1] for row in lot_rows(shown)} == {"no: Fewer than 500 cells are certain."}
    assert {cell for row in count_rows(shown) for cell in row[1:]} == {"-"}
    assert common_rows(shown) == field_rows(shown) == []
    document = as_document(shown)
    assert document["success"] is False


def test_payloads_are_written_one_file_a_lot_and_never_over_others(study: Path, tmp_path: Path) -> None:
    shown = checked(study)
    write_payloads(shown, tmp_path / "out")
    assert [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())] == [lot.payload for lot in shown.lots]
    with pytest.raises(InputError, match="new or empty folder"):
        write_payloads(shown, tmp_path / "out")


def _unreadable_cells(site: Path) -> None:
    (site / "cells" / f"{LOT_NAMES[2]}.h5ad").write_text("no cells here")


def _unknown_unit(site: Path) -> None:
    (site / "potency.csv").write_text((site / "potency.csv").read_text().replace("pg/mL", "ng/mL", 1))


def _broken_policy(site: Path) -> None:
    (site / "policy.toml").write_text((site / "policy.toml").read_text().replace("version = 1", "version = 0"))


def _no_atlas(site: Path) -> None:
    (site.parents[1] / "reference.atlas").write_bytes(b"not an atlas")


def test_problems_of_policy_tables_and_atlas_are_raised_at_once(study: Path) -> None:
    site = study / "sites" / KYOTO
    breaks: tuple[Callable[[Path], None], ...] = (_unknown_unit, _broken_policy, _no_atlas)
    for each in breaks:
        each(site)
    with pytest.raises(ProblemsError) as caught:
        checked(study)
    text = str(caught.value)
    for part in ("policy.toml: version", "potency.csv, row 2, column 'unit'", "atlas"):
        assert part in text
    assert len(caught.value.problems) == 3


def test_problems_of_policy_atlas_and_cell_files_are_raised_at_once(study: Path) -> None:
    site = study / "sites" / KYOTO
    for each in (_unreadable_cells, _broken_policy, _no_atlas):
        each(site)
    with pytest.raises(ProblemsError) as caught:
        checked(study)
    assert len(caught.value.problems) == 3
    assert f"{LOT_NAMES[2]}.h5ad" in str(caught.value)


def test_another_atlas_than_the_plans_is_refused_before_anything_is_mapped(study: Path, tmp_path: Path) -> None:
    plan = make_study_plan()
    other = plan.model_copy(update={"atlas": plan.atlas.model_copy(update={"sha256": "f" * 64})})
    with pytest.raises(ProtocolError) as caught:
        read_site(study / "sites" / KYOTO, other, study / "reference.atlas")
    assert caught.value.code is ErrorCode.ATLAS_MISMATCH


def test_a_study_that_the_policy_does_not_allow_is_refused(study: Path) -> None:
    change_policy(study, allowed_studies=(), auto_approve=())
    with pytest.raises(ProtocolError) as caught:
        checked(study)
    assert caught.value.code is ErrorCode.STUDY_NOT_ALLOWED


def test_a_plan_is_read_from_a_draft_or_believed_by_its_signature(study: Path, tmp_path: Path) -> None:
    assert read_plan(study / "study.toml", None) == make_study_plan()
    envelope, key = tmp_path / "plan.json", tmp_path / "coordinator.pub"
    envelope.write_bytes(signed(make_study_plan(), PayloadType.STUDY_PLAN))
    key.write_text(COORDINATOR.verifying_key.to_hex() + "\n")
    assert read_plan(envelope, key) == make_study_plan()
    with pytest.raises(InputError, match="--coordinator-key"):
        read_plan(envelope, None)
    key.write_text("no key")
    with pytest.raises(InputError, match=r"coordinator\.pub: a public key"):
        read_plan(envelope, key)
    key.write_text(STRANGER.verifying_key.to_hex())
    with pytest.raises(ProtocolError):
        read_plan(envelope, key)


def test_cells_are_counted_once_whatever_their_order_in_the_file(study: Path) -> None:
    before = [lot.payload for lot in checked(study).lots]
    for path in (study / "sites" / KYOTO / "cells").iterdir():
        cells = ad.read_h5ad(path)
        order = np.random.default_rng(1).permutation(cells.n_obs)
        cells[order].copy().write_h5ad(path)
    assert [lot.payload for lot in checked(study).lots] == before


def test_progress_is_told_lot_by_lot(study: Path) -> None:
    done: list[Lot] = []
    given = read_site(study / "sites" / KYOTO, make_study_plan(), study / "reference.atlas")
    check_site(given, done=done.append, log=lambda _line: None, threads=1)
    assert [lot.lot for lot in done] == list(LOT_NAMES[0::2])
    assert given.plan.study == STUDY
    assert to_bytes(cell_study().atlas) == given.atlas
