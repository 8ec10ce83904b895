"""``crosslot-coordinator`` as it is called: what stdout holds, exit codes, and nothing half-written."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from coordinator.atlas_signing import manifest_of
from coordinator.cli import main
from protocol.codec import sha256
from protocol.envelopes import PayloadType
from protocol.study_draft import write_study_draft
from shared.atlas.artefact import to_bytes
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    LEIDEN,
    key_of,
    make_plan,
    make_report,
    make_roster,
    rules_of,
    signed,
)
from tests.study_with_cells import cell_study


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def collected(folder: Path, lots_per_site: int) -> list[object]:
    """Write a collected study into ``folder`` and return the options that name it."""
    plan = make_plan()
    folder.mkdir()
    (folder / "plan.json").write_bytes(signed(plan, PayloadType.STUDY_PLAN))
    (folder / "roster.json").write_bytes(signed(make_roster(plan), PayloadType.ROSTER))
    (folder / "coordinator.pub").write_text(COORDINATOR.verifying_key.to_hex())
    (folder / "envelopes").mkdir()
    for site in (KYOTO, LEIDEN):
        for number in range(lots_per_site):
            counts = (100 + 40 * number, 300 - 40 * number, 90)
            report = make_report(rules_of(plan, site), f"L{number}", counts, potency=100.0 * 2**number)
            envelope = signed(report, PayloadType.LOT_REPORT, key_of(site))
            (folder / "envelopes" / f"{site}-{number}.json").write_bytes(envelope)
    names = ("plan.json", "roster.json", "coordinator.pub", "envelopes")
    options = ("--plan", "--roster", "--coordinator-key", "--envelopes")
    return [part for option, name in zip(options, names, strict=True) for part in (option, folder / name)]


def test_key_atlas_and_study_are_signed_one_after_the_other(tmp_path: Path) -> None:
    atlas = to_bytes(cell_study().atlas)
    (tmp_path / "a.atlas").write_bytes(atlas)
    plan = make_plan().model_copy(update={"atlas": manifest_of(atlas).reference()})
    (tmp_path / "study.toml").write_bytes(write_study_draft(plan))
    key = tmp_path / "key.pem"
    made = run("key", "create", key)
    assert (made.exit_code, len(made.stdout.strip())) == (0, 64)
    signed_atlas = run("atlas", "sign", tmp_path / "a.atlas", "--key", key, "--out", tmp_path / "a.json")
    assert signed_atlas.exit_code == 0
    assert "three kinds (3 clusters)" in signed_atlas.stdout
    options = ("--atlas", tmp_path / "a.atlas", "--key", key, "--out", tmp_path / "plan.json")
    signed_study = run("study", "sign", tmp_path / "study.toml", *options, "--json")
    assert json.loads(signed_study.stdout)["study"] == plan.study
    assert (tmp_path / "plan.json").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ("key", "create", "{}/key.pem"),
        ("atlas", "sign", "{}/absent.atlas", "--key", "{}/key.pem", "--out", "{}/out.json"),
        ("study", "sign", "{}/a.toml", "--atlas", "{}/a.atlas", "--key", "{}/key.pem", "--out", "{}/out.json"),
        (
            *("analyse", "--plan", "{}/plan.json", "--roster", "{}/r.json", "--coordinator-key", "{}/c.pub"),
            *("--envelopes", "{}/envelopes", "--out", "{}/out"),
        ),
    ],
)
def test_a_failure_exits_with_one_says_what_to_do_and_writes_nothing(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "key.pem").write_text("not a key")
    before = sorted(tmp_path.rglob("*"))
    filled = [each.format(tmp_path) for each in arguments]
    plain, as_json = run(*filled), run(*filled, "--json")
    assert plain.exit_code == as_json.exit_code == 1
    assert plain.stderr.startswith(f"error: {tmp_path}")
    assert "hint: " in plain.stderr
    document = json.loads(as_json.stdout)
    assert (document["success"], document["error"]["kind"]) == (False, "InputError")
    assert sorted(tmp_path.rglob("*")) == before


def test_analyse_prints_the_table_and_the_sentence_and_writes_both_files(tmp_path: Path) -> None:
    options = collected(tmp_path / "study", 5)
    plain = run("analyse", *options, "--out", tmp_path / "out")
    assert plain.exit_code == 0
    assert "c0" in plain.stdout
    assert plain.stdout.strip().splitlines()[-1].endswith(".")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "results.json"]
    as_json = run("analyse", *options, "--out", tmp_path / "out", "--json")
    assert json.loads(as_json.stdout) == json.loads((tmp_path / "out" / "results.json").read_text())


def test_a_flipped_byte_is_refused_and_no_folder_appears(tmp_path: Path) -> None:
    options = collected(tmp_path / "study", 3)
    path = tmp_path / "study" / "envelopes" / "leiden-1.json"
    data = bytearray(path.read_bytes())
    data[300] ^= 4
    path.write_bytes(data)
    result = run("analyse", *options, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "leiden-1.json: " in result.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["study"]


def test_fewer_lots_than_can_answer_are_told_with_exit_code_one(tmp_path: Path) -> None:
    options = collected(tmp_path / "study", 1)
    result = run("analyse", *options, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "error: the study cannot answer its question" in result.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [verdict["code"] for verdict in results["verdicts"]] == ["refused"]
    assert results["verdicts"][0]["reason_code"] == "too-few-units"
    assert results["verdicts"][0]["sentence"] in result.stderr


def test_a_report_is_written_for_the_reader_that_is_named(tmp_path: Path) -> None:
    options = collected(tmp_path / "study", 5)
    pages = {}
    for edition in ("coordinator", "public", "kyoto"):
        assert run("report", *options, "--edition", edition, "--out", tmp_path / f"{edition}.html").exit_code == 0
        pages[edition] = (tmp_path / f"{edition}.html").read_bytes()
    assert len(set(pages.values())) == 3
    missing = run("report", *options, "--edition", "oslo", "--out", tmp_path / "oslo.html")
    assert missing.exit_code == 1
    assert not (tmp_path / "oslo.html").exists()


def test_a_report_says_as_json_what_was_written_where_and_what_was_found(tmp_path: Path) -> None:
    options = collected(tmp_path / "study", 5)
    out = tmp_path / "public.html"
    done = run("report", *options, "--edition", "public", "--out", out, "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (said["success"], said["report"], said["edition"]) == (True, str(out), "public")
    assert said["sha256"] == sha256(out.read_bytes())
    run("analyse", *options, "--out", tmp_path / "out")
    results = (tmp_path / "out" / "results.json").read_bytes()
    assert said["results_sha256"] == sha256(results)
    assert (said["verdicts"], said["modules"]) == (json.loads(results)["verdicts"], {})
    assert f'<section class="verdict {said["verdicts"][0]["code"]}"' in out.read_text()
    assert run("report", *options, "--out", out).stdout == ""


@pytest.mark.parametrize("left_out", ["--plan", "--roster", "--coordinator-key", "--envelopes"])
def test_half_of_the_arguments_are_wrong_arguments(tmp_path: Path, left_out: str) -> None:
    options = collected(tmp_path / "study", 3)
    place = options.index(left_out)
    result = run("analyse", *options[:place], *options[place + 2 :], "--out", tmp_path / "out", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["kind"] == "usage"
    shutil.rmtree(tmp_path / "study")
    assert list(tmp_path.iterdir()) == []
