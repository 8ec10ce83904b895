"""``crosslot-site`` as it is called: what stdout holds, exit codes, and that nothing leaves."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protocol.policy import PolicyThresholds, read_policy, write_policy
from shared.atlas.artefact import from_bytes
from site_agent.cli import main
from tests.study_parts import KYOTO
from tests.study_with_cells import KINDS, LOT_NAMES, cell_study, write_study


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("site-cli") / "study")


@pytest.fixture
def study(tmp_path: Path, pristine: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "study")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def check(study: Path, *more: object) -> Result:
    options = ("--study", study / "study.toml", "--atlas", study / "reference.atlas", "--threads", 1)
    return run("check", study / "sites" / KYOTO, *options, *more)


def test_check_shows_lots_counts_and_every_field_and_says_that_nothing_left(study: Path) -> None:
    result = check(study)
    assert result.exit_code == 0, result.stderr
    for part in (*LOT_NAMES[0::2], *KINDS, "all cells after QC", "plan_sha256", "exact counts"):
        assert part in result.stdout
    assert "Nothing has left this machine." in result.stderr
    assert "examples" in result.stderr


def test_a_hash_is_never_cut_into_lines(study: Path) -> None:
    policy = read_policy((study / "sites" / KYOTO / "policy.toml").read_bytes())
    assert policy.sha256 in check(study).stdout


def test_check_as_json_is_one_document_with_the_exact_payloads(study: Path, tmp_path: Path) -> None:
    result = check(study, "--json", "--out", tmp_path / "payloads")
    document = json.loads(result.stdout)
    assert document["success"] is True
    assert [lot["lot"] for lot in document["lots"]] == list(LOT_NAMES[0::2])
    written = [path.read_text() for path in sorted((tmp_path / "payloads").iterdir())]
    assert [lot["payload"] for lot in document["lots"]] == written


def test_check_exits_with_one_where_a_lot_would_stay(study: Path) -> None:
    path = study / "sites" / KYOTO / "policy.toml"
    thresholds = PolicyThresholds(minimum_cells_per_lot=500)
    path.write_bytes(write_policy(read_policy(path.read_bytes()).model_copy(update={"thresholds": thresholds})))
    result = check(study, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["success"] is False
    assert all(lot["payload"] is None and lot["blocked_by"] for lot in document["lots"])


def test_a_check_that_cannot_be_made_exits_with_one_and_writes_nothing(study: Path, tmp_path: Path) -> None:
    (study / "sites" / KYOTO / "lots.csv").unlink()
    (study / "sites" / KYOTO / "policy.toml").unlink()
    result = check(study, "--json", "--out", tmp_path / "payloads")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["error"]["kind"] == "ProblemsError"
    for name in ("lots.csv", "policy.toml"):
        assert name in document["error"]["message"]
    assert not (tmp_path / "payloads").exists()


@pytest.mark.parametrize("arguments", [("check",), ("check", "x"), ("map", "x", "--atlas", "y"), ("atlas", "build")])
def test_wrong_arguments_exit_with_two(arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["kind"] == "usage"


def test_an_atlas_is_built_by_labels_and_the_file_says_so(tmp_path: Path) -> None:
    cell_study().cells.write_h5ad(tmp_path / "all.h5ad")
    options = ("--lot", "lot", "--labels", "kind", "--name", "of kinds", "--out", tmp_path / "a.atlas")
    result = run("atlas", "build", tmp_path / "all.h5ad", *options, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    atlas = from_bytes((tmp_path / "a.atlas").read_bytes())
    assert document["clusters"] == list(atlas.clusters) == list(KINDS)
    assert atlas.name == "of kinds"


@pytest.mark.parametrize("choice", [(), ("--labels", "kind", "--cluster")])
def test_an_atlas_needs_either_labels_or_clustering(tmp_path: Path, choice: tuple[str, ...]) -> None:
    result = run("atlas", "build", tmp_path / "x.h5ad", "--lot", "lot", *choice, "--out", tmp_path / "a.atlas")
    assert result.exit_code == 1
    assert "either --labels COL or --cluster" in result.stderr


@pytest.mark.parametrize("options", [("--lot", "batch", "--labels", "kind"), ("--lot", "lot", "--labels", "type")])
def test_a_column_that_is_not_there_is_named_and_no_atlas_is_written(tmp_path: Path, options: tuple[str, ...]) -> None:
    cell_study().cells.write_h5ad(tmp_path / "all.h5ad")
    result = run("atlas", "build", tmp_path / "all.h5ad", *options, "--out", tmp_path / "a.atlas")
    assert result.exit_code == 1
    assert "'batch'" in result.stderr or "'type'" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["all.h5ad"]
