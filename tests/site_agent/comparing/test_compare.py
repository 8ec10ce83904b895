"""``crosslot-site compare``: the same answer as a study gives, from the site's own files, and nothing goes out."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.study_data import PotencyReplicates, StudyData
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.errors import ErrorCode, ProtocolError
from protocol.modules.asked import Modules
from protocol.modules.comparability import Arm, ComparabilityPlan
from protocol.plan import StudyPlan
from protocol.results import ResultSet
from protocol.signing import SigningKey
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import from_bytes
from shared.comparability.findings import CheckName, CheckState, Outcome
from shared.errors import InputError, ProblemsError
from site_agent.cells.lot_mapping import map_site_lots
from site_agent.cells.lots import read_site_folder
from site_agent.cli import main
from site_agent.comparing.comparison import SiteComparison, compare_site
from site_agent.comparing.given import Given, read_given
from site_agent.comparing.page import NOTHING_SENT, render_comparison
from tests.study_parts import COORDINATOR, KYOTO, STRANGER
from tests.study_with_cells import LOT_NAMES, make_study_plan, write_study

CHANGE = "A medium without animal serum"


def a_plan(**changes: object) -> StudyPlan:
    asked = ComparabilityPlan.model_validate(
        {"endpoint": "vegf", "change": CHANGE, "margin_fold": 10.0, "part_margin": 5.0, "lot_sd": 0.2, **changes}
    )
    return make_study_plan((KYOTO,)).model_copy(update={"modules": Modules(comparability=asked)})


def arm_of(lot: str) -> str:
    return "before" if LOT_NAMES.index(lot) % 2 == 0 else "after"


def give_arms(folder: Path, arms: dict[str, str]) -> None:
    path = folder / "lots.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},arm", *(f"{row},{arms[row.split(',')[0]]}" for row in rows)]) + "\n")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = write_study(tmp_path / "study", lots_per_site=8, sites=(KYOTO,))
    give_arms(folder / "sites" / KYOTO, {lot: arm_of(lot) for lot in LOT_NAMES})
    (folder / "study.toml").write_bytes(write_study_draft(a_plan()))
    (folder / "coordinator.pub").write_text(COORDINATOR.verifying_key.to_hex() + "\n")
    return folder


def given_by(study: Path, **changes: object) -> Given:
    options: dict[str, object] = {
        "plan": study / "study.toml",
        "coordinator_key": None,
        "ranges": None,
        "change": None,
        "endpoint": None,
        **changes,
    }
    return read_given(study / "sites" / KYOTO, study / "reference.atlas", **options)  # type: ignore[arg-type]


def compared(given: Given) -> SiteComparison:
    return compare_site(given, done=lambda _lot: None, threads=1)


def command(study: Path, out: Path, *more: str) -> list[str]:
    site, atlas, plan = study / "sites" / KYOTO, study / "reference.atlas", study / "study.toml"
    return [
        "compare",
        str(site),
        "--atlas",
        str(atlas),
        "--plan",
        str(plan),
        "--out",
        str(out),
        "--threads",
        "1",
        *more,
    ]


def study_data(study: Path) -> StudyData:
    plan = a_plan()
    site = read_site_folder(study / "sites" / KYOTO, plan.endpoints, cohorts=plan.cohorts)
    atlas = from_bytes((study / "reference.atlas").read_bytes())
    mapped = sorted(map_site_lots(site, atlas, plan.quality, threads=1), key=lambda each: each[0].lot)
    counts = np.array([mapping.counts for _, mapping in mapped], dtype=np.int64)
    unassigned = np.array([mapping.unassigned for _, mapping in mapped], dtype=np.int64)
    runs = tuple(
        tuple((row.run, row.replicates, row.reference_replicates) for row in site.potency[lot.lot]) for lot, _ in mapped
    )
    return StudyData(
        lots=tuple(lot.lot for lot, _ in mapped),
        sites=(KYOTO,) * len(mapped),
        donors=tuple(lot.donor for lot, _ in mapped),
        tissues=tuple(lot.tissue for lot, _ in mapped),
        cohorts=tuple(lot.cohort for lot, _ in mapped),
        clusters=plan.atlas.clusters,
        counts_low=counts,
        counts_high=counts,
        unassigned_low=unassigned,
        unassigned_high=unassigned,
        totals_low=counts.sum(axis=1) + unassigned,
        totals_high=counts.sum(axis=1) + unassigned,
        potency={"vegf": PotencyReplicates(runs=runs)},
        arms=tuple(lot.arm for lot, _ in mapped),
    )


def results_of(study: Path, epsilon: float | None = None) -> ResultSet:
    plan, data = a_plan(), study_data(study)
    if epsilon is not None:
        data = replace(data, noise_epsilon=np.full(len(data.lots), epsilon))
    card = study_card(
        study="earlier", title="An earlier study", question="Alike?", plan_sha256=None, atlas=plan.atlas,
        analysis=plan.analysis,
    )  # fmt: skip
    analysis = plan.analysis.model_copy(update={"draws": 99})
    parameters = AnalysisParameters(
        study=card, endpoints=plan.endpoints, cohorts=plan.cohorts, analysis=analysis, modules=plan.modules
    )
    return analyse(data, parameters, threads=1)


def sealed_ranges(study: Path, results: ResultSet | None = None, key: SigningKey = COORDINATOR) -> Path:
    path = study / "results.json"
    path.write_bytes(seal(encode(results or results_of(study)), PayloadType.RESULTS, key))
    return path


def test_the_site_finds_what_a_study_of_its_lots_finds(study: Path) -> None:
    own = compared(given_by(study)).findings
    theirs = results_of(study).comparability
    assert theirs is not None
    assert own.potency == theirs.findings.potency
    assert own.parts == theirs.findings.parts
    assert own.outcome is theirs.findings.outcome is Outcome.HIGHLY_SIMILAR


def test_no_socket_is_opened_and_nothing_but_the_page_is_written(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    out = tmp_path / "page" / "compare.html"
    ran = CliRunner().invoke(main, command(study, out, "--json"))
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told["success"] is True
    assert told["findings"]["outcome"] == "HIGHLY_SIMILAR"
    assert {path: path.read_bytes() for path in study.rglob("*") if path.is_file()} == before
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert "Nothing has left this machine." in ran.stderr


def test_the_page_is_whole_and_the_same_every_time(study: Path) -> None:
    given = given_by(study)
    page = render_comparison(given, compared(given))
    assert page == render_comparison(given, compared(given))
    text = page.decode()
    assert NOTHING_SENT in text
    assert CHANGE in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert all(lot in text for lot in LOT_NAMES)
    assert str(study) not in text


def test_lots_without_an_arm_are_left_out_with_the_reason(study: Path) -> None:
    path = study / "sites" / KYOTO / "lots.csv"
    path.write_text(path.read_text().replace("discovery,before", "discovery,", 1))
    found = compared(given_by(study))
    assert [(each.lot, each.reason) for each in found.left_out] == [(LOT_NAMES[0], "lots.csv gives it no arm")]
    assert found.findings.arms.lots_before == 3


def test_without_a_plan_the_margin_is_a_placeholder_and_small_lots_are_left_out(study: Path) -> None:
    found = compared(given_by(study, plan=None, change=CHANGE))
    assert found.findings.criteria.justification is None
    assert found.findings.criteria.margin_fold == 1.5
    assert {each.reason for each in found.left_out} == {"too-few-cells"}  # 80 cells, and 500 are the default
    assert found.findings.outcome is Outcome.INSUFFICIENT_DATA


def test_the_consortiums_ranges_are_held_against_the_lots_after(study: Path) -> None:
    given = given_by(study, ranges=sealed_ranges(study), coordinator_key=study / "coordinator.pub")
    found = compared(given).findings
    assert found.potency is not None
    assert found.potency.consortium is not None
    assert found.potency.consortium.of == 4
    page = render_comparison(given, compared(given)).decode()
    assert "Consortium" in page
    assert "earlier: 4 donors before of 1 sites" in page


def test_a_site_without_lots_before_is_compared_with_the_consortium_and_told_so(study: Path) -> None:
    ranges = sealed_ranges(study)
    path = study / "sites" / KYOTO / "lots.csv"
    path.write_text(path.read_text().replace("discovery,before", "discovery,"))
    found = compared(given_by(study, ranges=ranges, coordinator_key=study / "coordinator.pub")).findings
    assert found.potency is not None
    assert found.arms.lots_before == 4
    assert any("no lot before the change" in note for note in found.notes)
    states = {check.name: check.state for check in found.checks}
    assert states[CheckName.UNASSIGNED] is CheckState.NOT_TOLD


def test_ranges_of_exact_counts_say_nothing_of_noise(study: Path, tmp_path: Path) -> None:
    out, key = tmp_path / "page.html", str(study / "coordinator.pub")
    ran = CliRunner().invoke(
        main, command(study, out, "--json", "--ranges", str(sealed_ranges(study)), "--coordinator-key", key)
    )
    told = json.loads(ran.stdout)
    assert told["consortium"]["noised"] is False
    assert told["consortium"]["lost_in_noise"] == []
    assert "noise" not in "".join(told["findings"]["notes"]) + out.read_text()


def test_ranges_of_counts_with_noise_are_told_in_text_page_and_json(study: Path, tmp_path: Path) -> None:
    ranges, key = sealed_ranges(study, results_of(study, 50.0)), str(study / "coordinator.pub")
    for as_json in (False, True):
        out = tmp_path / f"{as_json}.html"
        more = ("--json",) if as_json else ()
        ran = CliRunner().invoke(main, command(study, out, *more, "--ranges", str(ranges), "--coordinator-key", key))
        assert ran.exit_code == 0, ran.output
        said = "\n".join(json.loads(ran.stdout)["findings"]["notes"]) if as_json else ran.stdout
        for where in (said, out.read_text()):
            assert "The ranges of earlier come from lots of which some bear noise on their counts" in where
            assert "the lots of this site are counted exactly" in where
            assert "may be off too" not in where
        assert ", counts with noise" in out.read_text()
        assert "HIGHLY_SIMILAR" in ran.stdout
    assert json.loads(ran.stdout)["consortium"]["noised"] is True


def test_a_cluster_lost_in_the_noise_of_the_ranges_is_not_shown_alike_where_they_stand_in(study: Path) -> None:
    results = results_of(study, 0.5)
    assert results.comparability is not None
    lost = {each.name for each in results.comparability.findings.parts if each.lost_in_noise}
    assert lost
    given = given_by(study, ranges=sealed_ranges(study, results), coordinator_key=study / "coordinator.pub")
    own = compared(given).findings
    assert own.outcome is Outcome.HIGHLY_SIMILAR  # its own lots before are counted exactly
    assert any("the middle of the range may be off too" in note for note in own.notes)
    path = study / "sites" / KYOTO / "lots.csv"
    path.write_text(path.read_text().replace("discovery,before", "discovery,"))
    given = given_by(study, ranges=sealed_ranges(study, results), coordinator_key=study / "coordinator.pub")
    found = compared(given).findings
    assert {each.name for each in found.parts if each.lost_in_noise} == lost
    assert found.outcome is Outcome.SUSPECTED_SIMILAR


def test_criteria_come_with_the_ranges_where_there_is_no_plan(study: Path) -> None:
    given = given_by(study, plan=None, ranges=sealed_ranges(study), coordinator_key=study / "coordinator.pub")
    assert given.criteria == a_plan().modules.comparability.criteria  # type: ignore[union-attr]
    assert given.plan is None


def test_ranges_of_a_stranger_or_changed_on_the_way_are_refused(study: Path) -> None:
    key = study / "coordinator.pub"
    with pytest.raises(ProtocolError) as caught:
        given_by(study, ranges=sealed_ranges(study, key=STRANGER), coordinator_key=key)
    assert caught.value.code is ErrorCode.UNKNOWN_SIGNER
    path = sealed_ranges(study)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ProtocolError):
        given_by(study, ranges=path, coordinator_key=key)


def test_ranges_of_another_atlas_or_assay_are_refused(study: Path) -> None:
    results = results_of(study)
    key = study / "coordinator.pub"
    other = results.study.model_copy(update={"atlas_sha256": "0" * 64})
    with pytest.raises(ProtocolError) as caught:
        given_by(study, ranges=sealed_ranges(study, results.model_copy(update={"study": other})), coordinator_key=key)
    assert caught.value.code is ErrorCode.ATLAS_MISMATCH
    cards = (results.endpoints[0].model_copy(update={"unit": "ng/mL"}),)
    with pytest.raises(InputError, match="expected ranges of vegf by ELISA in pg/mL, found vegf by ELISA in ng/mL"):
        given_by(
            study, ranges=sealed_ranges(study, results.model_copy(update={"endpoints": cards})), coordinator_key=key
        )


def test_results_without_ranges_are_refused(study: Path) -> None:
    bare = results_of(study).model_copy(update={"comparability": None})
    with pytest.raises(InputError, match="expected reference ranges, found none"):
        given_by(study, ranges=sealed_ranges(study, bare), coordinator_key=study / "coordinator.pub")


def test_ranges_without_a_key_are_refused(study: Path) -> None:
    with pytest.raises(InputError, match="expected --coordinator-key with --ranges"):
        given_by(study, ranges=sealed_ranges(study))


def test_a_plan_that_asks_for_no_comparison_is_refused(study: Path) -> None:
    (study / "study.toml").write_bytes(write_study_draft(make_study_plan((KYOTO,))))
    with pytest.raises(InputError, match="expected a module comparability, found none"):
        given_by(study)


def test_neither_plan_nor_ranges_nor_change_is_refused(study: Path) -> None:
    with pytest.raises(InputError, match="expected --plan, --ranges with criteria, or --change"):
        given_by(study, plan=None)
    with pytest.raises(InputError, match="--change: expected 1 to 500 characters, found 0"):
        given_by(study, plan=None, change="")


def test_another_atlas_than_the_plans_is_refused(study: Path) -> None:
    plan = a_plan()
    other = plan.atlas.model_copy(update={"sha256": "0" * 64})
    (study / "study.toml").write_bytes(write_study_draft(plan.model_copy(update={"atlas": other})))
    with pytest.raises(ProtocolError) as caught:
        given_by(study)
    assert caught.value.code is ErrorCode.ATLAS_MISMATCH


def test_an_unknown_arm_in_lots_csv_is_a_named_error(study: Path) -> None:
    path = study / "sites" / KYOTO / "lots.csv"
    path.write_text(path.read_text().replace("discovery,before", "discovery,Before", 1))
    with pytest.raises(ProblemsError, match="row 2, column 'arm': expected before or after, found 'Before'"):
        given_by(study)


def test_too_few_lots_exit_with_1_and_still_write_the_page(study: Path, tmp_path: Path) -> None:
    (study / "study.toml").write_bytes(write_study_draft(a_plan(lot_sd=3.0)))
    ran = CliRunner().invoke(main, command(study, tmp_path / "page.html"))
    assert ran.exit_code == 1
    assert ran.stdout.startswith("INSUFFICIENT_DATA: ")
    assert (tmp_path / "page.html").exists()


def test_the_arm_of_a_lot_is_read_and_may_be_blank(study: Path) -> None:
    site = read_site_folder(study / "sites" / KYOTO)
    assert {lot.arm for lot in site.lots} == {Arm.BEFORE, Arm.AFTER}
    assert replace(site.lots[0], arm=None).arm is None
