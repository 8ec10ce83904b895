"""What a bad study gets, through the commands that people type: a clear error, exit code 1, nothing half-written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulations.cli import main as simulate_main
from tests.simulations.bad_input.conftest import LOTS, SITE, assert_refused, change_table, check, put, run
from tests.study_with_cells import SITES, write_study

ROOT = Path(__file__).resolve().parents[3]

BAD_TABLES: dict[str, tuple[str, Callable[[list[list[str]]], object], tuple[str, ...]]] = {
    "a lot without potency": ("potency.csv", lambda rows: rows.pop(1), ("lots.csv, row 2, column 'lot'", "no potency")),
    "potency without a lot": ("potency.csv", put("lot", "Batch-Z"), ("potency.csv, row 2, column 'lot'", "'Batch-Z'")),
    "an unknown unit": ("potency.csv", put("unit", "ng/mL"), ("potency.csv, row 2, column 'unit'", "'pg/mL'")),
    "an unknown assay": ("potency.csv", put("assay", "Luminex"), ("potency.csv, row 2, column 'assay'",)),
    "an unknown endpoint": ("potency.csv", put("endpoint", "hgf"), ("potency.csv, row 2, column 'endpoint'", "vegf")),
    "text in a number": ("potency.csv", put("value", "high"), ("potency.csv, row 2, column 'value'", "'high'")),
    "a decimal comma": ("potency.csv", put("value", "12,5"), ("potency.csv, row 2, column 'value'", "decimal point")),
    "a potency of zero": ("potency.csv", put("value", "0"), ("potency.csv, row 2, column 'value'",)),
    "a lot twice": ("lots.csv", put("lot", LOTS[0], 3), ("lots.csv, row 3, column 'lot'", "row 2 already")),
    "a path that leads out": ("lots.csv", put("file", "../leiden/lots.csv"), ("lots.csv, row 2, column 'file'",)),
    "an unknown cohort": ("lots.csv", put("cohort", "second"), ("lots.csv, row 2, column 'cohort'", "discovery")),
    "no such passage": ("lots.csv", put("passage", "five"), ("lots.csv, row 2, column 'passage'", "'five'")),
    "an unknown column": ("lots.csv", lambda rows: rows[0].append("colour"), ("lots.csv", "'colour'")),
    "no rows": ("lots.csv", lambda rows: rows.__delitem__(slice(1, None)), ("lots.csv", "no rows")),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_are_named_by_file_row_and_column(study: Path, name: str) -> None:
    table, change, says = BAD_TABLES[name]
    change_table(study, table, change)
    for result in (check(study), run(study)):
        assert_refused(result, study, *says)


@pytest.mark.parametrize("name", ["lots.csv", "potency.csv"])
def test_a_missing_table_is_named(study: Path, name: str) -> None:
    (study / "sites" / SITE / name).unlink()
    for result in (check(study), run(study)):
        assert_refused(result, study, f"{name}: missing")


def test_lots_of_one_name_at_two_sites_are_refused(study: Path) -> None:
    for table in ("lots.csv", "potency.csv"):
        change_table(study, table, put("lot", LOTS[0]), site=SITES[1])
    assert_refused(run(study), study, "leiden, lots.csv, row 2, column 'lot'", f"'{LOTS[0]}' is at kyoto too")


def test_all_problems_of_all_sites_are_listed_at_once(study: Path) -> None:
    change_table(study, "potency.csv", put("unit", "ng/mL"))
    change_table(study, "potency.csv", put("value", "high", 3))
    change_table(study, "lots.csv", put("cohort", "second", 4), site=SITES[1])
    change_table(study, "lots.csv", put("passage", "five", 5), site=SITES[1])
    says = (
        "4 problems",
        "kyoto: potency.csv, row 2, column 'unit'",
        "kyoto: potency.csv, row 3, column 'value'",
        "leiden: lots.csv, row 4, column 'cohort'",
        "leiden: lots.csv, row 5, column 'passage'",
    )
    assert_refused(run(study), study, *says)


def test_fewer_lots_than_can_answer_end_with_exit_code_one_and_the_reason(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", lots_per_site=1)
    result = run(study)
    assert result.exit_code == 1
    assert "error: the study cannot answer its question" in result.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["verdicts"][0]["reason_code"] == "too-few-units"


def _no_atlas(study: Path) -> None:
    (study / "reference.atlas").unlink()


def _damaged_atlas(study: Path) -> None:
    (study / "reference.atlas").write_bytes((study / "reference.atlas").read_bytes()[:-100])


def _another_atlas(study: Path) -> None:
    draft = (study / "study.toml").read_text()
    line = next(line for line in draft.splitlines() if line.startswith("sha256"))
    (study / "study.toml").write_text(draft.replace(line, f'sha256 = "{"f" * 64}"'))


def _no_draft(study: Path) -> None:
    (study / "study.toml").unlink()


def _misspelt_draft(study: Path) -> None:
    (study / "study.toml").write_text((study / "study.toml").read_text().replace("title =", "titel ="))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_no_atlas, "reference.atlas: expected the reference atlas, found no file"),
        (_damaged_atlas, "atlas"),
        (_another_atlas, "atlas"),
        (_no_draft, "study.toml: expected"),
        (_misspelt_draft, "titel: no such field"),
    ],
)
def test_a_study_without_sound_draft_or_atlas_is_refused(study: Path, harm: Callable[[Path], None], says: str) -> None:
    harm(study)
    for result in (check(study), run(study)):
        assert_refused(result, study, says)


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    assert_refused(run(tmp_path / "study"), tmp_path / "study", "study.toml")
    (tmp_path / "study").rmdir()
    result = run(tmp_path / "study")
    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "expected a study folder, found none" in result.stderr


def test_failures_with_json_are_one_document_on_stdout(study: Path) -> None:
    change_table(study, "potency.csv", put("unit", "ng/mL"))
    for result in (check(study, "--json"), run(study, "--json")):
        assert result.exit_code == 1
        document = json.loads(result.stdout)
        assert (document["success"], document["error"]["kind"]) == (False, "ProblemsError")
        assert "potency.csv, row 2, column 'unit'" in document["error"]["message"]
        assert document["error"]["hint"]


@pytest.mark.parametrize("arguments", [["run"], ["run", "x", "--out"], ["run", "x", "--out", "y", "--threads", "0"]])
def test_wrong_arguments_exit_with_two(arguments: list[str]) -> None:
    assert CliRunner().invoke(simulate_main, arguments).exit_code == 2


def test_the_installed_script_fails_as_the_function_does(study: Path) -> None:
    change_table(study, "potency.csv", put("unit", "ng/mL"))
    code = "import sys; from simulations.cli import main; main(sys.argv[1:], prog_name='crosslot-simulate')"
    command = [sys.executable, "-c", code, "run", str(study), "--out", str(study.parent / "out"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter, our own text
    assert done.returncode == 1
    assert json.loads(done.stdout)["success"] is False
    assert "error: " in done.stderr
    assert [path.name for path in study.parent.iterdir()] == ["study"]
