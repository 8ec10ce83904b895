"""What bad input gets, through the command lines that people type: a clear error, exit code 1, nothing half-written."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from click.testing import CliRunner, Result

from shared.atlas.artefact import from_bytes
from simulations.cli import main as simulate_main
from site_agent.cli import main as site_main
from tests.study_with_cells import IDENTIFIERS, LOT_NAMES, SITES, cell_study, write_study

SITE = SITES[0]
LOTS = LOT_NAMES[0::2]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("bad-input") / "study")


@pytest.fixture
def study(tmp_path: Path, pristine: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "study")


def run(study: Path, *more: str) -> Result:
    out = study.parent / "out"
    return CliRunner().invoke(simulate_main, ["run", str(study), "--out", str(out), "--threads", "1", *more])


def check(study: Path, *more: str) -> Result:
    folder = study / "sites" / SITE
    options = ["--study", str(study / "study.toml"), "--atlas", str(study / "reference.atlas"), "--threads", "1"]
    out = ["--out", str(study.parent / "out")]
    return CliRunner().invoke(site_main, ["check", str(folder), *options, *out, *more])


def cells_of(study: Path, lot: str = LOTS[1]) -> Path:
    return study / "sites" / SITE / "cells" / f"{lot}.h5ad"


def change_cells(study: Path, change: Callable[[Any], Any], lot: str = LOTS[1]) -> None:
    cells = ad.read_h5ad(cells_of(study, lot))
    changed = change(cells)
    (cells if changed is None else changed).write_h5ad(cells_of(study, lot))


def change_table(study: Path, name: str, change: Callable[[list[list[str]]], object], site: str = SITE) -> None:
    path = study / "sites" / site / name
    rows = list(csv.reader(path.read_text().splitlines()))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _set(column: str, value: str, row: int = 2) -> Callable[[list[list[str]]], None]:
    """Return a change of one cell of a table; rows as a spreadsheet counts them."""

    def change(rows: list[list[str]]) -> None:
        rows[row - 1][rows[0].index(column)] = value

    return change


# ---- changes of cells


def _normalised(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data = np.log1p(cells.X.data)


def _negative(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data[3] = -2


def _halves(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data[5] += 0.5


def _late_half(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data[-1] += 0.5


def _not_finite(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data[7] = np.nan


def _same_genes(cells: Any) -> None:  # noqa: ANN401 - AnnData
    del cells.var["gene_ids"]
    cells.var_names = ["GENE0", "GENE0", *cells.var_names[2:]]


def _same_cells(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.obs_names = ["cell0", "cell0", *cells.obs_names[2:]]


def _no_common_genes(cells: Any) -> None:  # noqa: ANN401 - AnnData
    del cells.var["gene_ids"]
    cells.var_names = [f"probe_{place}" for place in range(cells.n_vars)]


def _mouse(cells: Any) -> None:  # noqa: ANN401 - AnnData
    del cells.var["gene_ids"]
    cells.var_names = [f"ENSMUSG{place:011d}" for place in range(cells.n_vars)]


def _no_cells(cells: Any) -> Any:  # noqa: ANN401 - AnnData
    return cells[:0].copy()


@dataclass(frozen=True)
class BadCells:
    """A change of one lot's file, and what the message must say besides the file's name."""

    change: Callable[[Any], Any]
    says: tuple[str, ...]


BAD_CELLS = {
    "normalised": BadCells(_normalised, ("expected counts", "not whole", "raw counts")),
    "negative": BadCells(_negative, ("expected counts", "negative values")),
    "not whole": BadCells(_halves, ("expected counts", "not whole")),
    "not finite": BadCells(_not_finite, ("expected counts", "NaN")),
    "a gene twice": BadCells(_same_genes, ("GENE0", "more than once")),
    "a cell twice": BadCells(_same_cells, ("cell0", "expected each cell once")),
    "no gene of the atlas": BadCells(_no_common_genes, ("not one of the atlas's", "probe_0")),
    "another species": BadCells(_mouse, ("mouse",)),
    "no cell": BadCells(_no_cells, ("cells",)),
}


def assert_refused(result: Result, study: Path, *says: str) -> None:
    """Assert an expected failure that says all of it, and that nothing but the study lies there afterwards."""
    assert result.exit_code == 1, result.output
    assert result.stderr.count("error: ") == 1
    assert "hint: " in result.stderr
    assert "Traceback" not in result.output
    for part in says:
        assert part in result.stderr, (part, result.stderr)
    assert [path.name for path in study.parent.iterdir()] == ["study"]


@pytest.mark.parametrize("name", BAD_CELLS)
def test_bad_cells_are_named_by_file_with_what_to_do(study: Path, name: str) -> None:
    bad = BAD_CELLS[name]
    change_cells(study, bad.change)
    for result in (check(study), run(study)):
        assert_refused(result, study, f"{LOTS[1]}.h5ad", "lots.csv, row 3", *bad.says)


def test_a_value_that_only_mapping_finds_is_named_too(study: Path) -> None:
    # The first 65,536 values are looked at beforehand; a file larger than that hides a fault further on.
    change_cells(study, lambda cells: ad.concat([cells] * 12, index_unique="-", merge="same"))
    change_cells(study, _late_half)
    for result in (check(study), run(study)):
        assert_refused(result, study, f"{LOTS[1]}.h5ad")


def _missing(path: Path) -> None:
    path.unlink()


def _text(path: Path) -> None:
    path.write_text("cell,gene\n")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [_missing, _text, _cut, _folder])
def test_a_missing_or_unreadable_cell_file_is_named_with_its_row(study: Path, harm: Callable[[Path], None]) -> None:
    harm(cells_of(study))
    for result in (check(study), run(study)):
        assert_refused(result, study, f"{LOTS[1]}.h5ad", "lots.csv, row 3")


BAD_TABLES: dict[str, tuple[str, Callable[[list[list[str]]], object], tuple[str, ...]]] = {
    "a lot without potency": ("potency.csv", lambda rows: rows.pop(1), ("lots.csv, row 2, column 'lot'", "no potency")),
    "potency without a lot": ("potency.csv", _set("lot", "Batch-Z"), ("potency.csv, row 2, column 'lot'", "'Batch-Z'")),
    "an unknown unit": ("potency.csv", _set("unit", "ng/mL"), ("potency.csv, row 2, column 'unit'", "'pg/mL'")),
    "an unknown assay": ("potency.csv", _set("assay", "Luminex"), ("potency.csv, row 2, column 'assay'",)),
    "an unknown endpoint": ("potency.csv", _set("endpoint", "hgf"), ("potency.csv, row 2, column 'endpoint'", "vegf")),
    "text in a number": ("potency.csv", _set("value", "high"), ("potency.csv, row 2, column 'value'", "'high'")),
    "a decimal comma": ("potency.csv", _set("value", "12,5"), ("potency.csv, row 2, column 'value'", "decimal point")),
    "a potency of zero": ("potency.csv", _set("value", "0"), ("potency.csv, row 2, column 'value'",)),
    "a lot twice": ("lots.csv", _set("lot", LOTS[0], 3), ("lots.csv, row 3, column 'lot'", "row 2 already")),
    "a path that leads out": ("lots.csv", _set("file", "../leiden/lots.csv"), ("lots.csv, row 2, column 'file'",)),
    "an unknown cohort": ("lots.csv", _set("cohort", "second"), ("lots.csv, row 2, column 'cohort'", "discovery")),
    "no such passage": ("lots.csv", _set("passage", "five"), ("lots.csv, row 2, column 'passage'", "'five'")),
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
        change_table(study, table, _set("lot", LOTS[0]), site=SITES[1])
    assert_refused(run(study), study, "leiden, lots.csv, row 2, column 'lot'", f"'{LOTS[0]}' is at kyoto too")


def test_all_problems_of_all_sites_are_listed_at_once(study: Path) -> None:
    change_table(study, "potency.csv", _set("unit", "ng/mL"))
    change_table(study, "potency.csv", _set("value", "high", 3))
    change_table(study, "lots.csv", _set("cohort", "second", 4), site=SITES[1])
    change_table(study, "lots.csv", _set("passage", "five", 5), site=SITES[1])
    says = (
        "4 problems",
        "kyoto: potency.csv, row 2, column 'unit'",
        "kyoto: potency.csv, row 3, column 'value'",
        "leiden: lots.csv, row 4, column 'cohort'",
        "leiden: lots.csv, row 5, column 'passage'",
    )
    assert_refused(run(study), study, *says)


def test_all_cell_files_that_are_at_fault_are_listed_at_once(study: Path) -> None:
    change_cells(study, _normalised, LOTS[0])
    change_cells(study, _no_common_genes, LOTS[1])
    cells_of(study, LOTS[2]).write_text("nothing")
    for result in (check(study), run(study)):
        assert_refused(result, study, "3 problems", *(f"{lot}.h5ad" for lot in LOTS[:3]))


def test_an_empty_lot_by_its_filter_is_named(study: Path) -> None:
    def add_filter(rows: list[list[str]]) -> None:
        rows[0].append("where")
        for row in rows[1:]:
            row.append("")
        rows[1][-1] = "condition=boiled"

    change_table(study, "lots.csv", add_filter)
    for result in (check(study), run(study)):
        assert_refused(result, study, "lots.csv, row 2", "'boiled'", "control")


def test_ensembl_identifiers_against_symbols_are_mapped_where_the_file_carries_both(study: Path) -> None:
    def by_identifier(cells: Any) -> None:  # noqa: ANN401 - AnnData
        cells.var["gene_symbols"] = list(cells.var_names)
        cells.var_names = cells.var["gene_ids"]
        del cells.var["gene_ids"]

    before = json.loads(check(study, "--json").stdout)
    shutil.rmtree(study.parent / "out")
    change_cells(study, by_identifier)
    after = json.loads(check(study, "--json").stdout)
    assert [lot["payload"] for lot in after["lots"]] == [lot["payload"] for lot in before["lots"]]


@pytest.mark.filterwarnings("ignore:Variable names are not unique")  # anndata's, of the test's own reading and writing
def test_a_file_whose_symbols_repeat_runs_by_its_identifiers_and_parity_holds(study: Path) -> None:
    def repeat(cells: Any) -> None:  # noqa: ANN401 - AnnData
        cells.var_names = ["GENE0", "GENE0", *cells.var_names[2:]]

    for site in SITES:
        for path in (study / "sites" / site / "cells").iterdir():
            cells = ad.read_h5ad(path)
            repeat(cells)
            cells.write_h5ad(path)
    result = run(study, "--json")
    assert result.exit_code == 0, result.stderr
    parity = json.loads(result.stdout)["parity"]
    assert (parity["max_abs_count_difference"], parity["same_ranking"]) == (0, True)


def test_identifiers_alone_are_enough_where_the_atlas_carries_both(study: Path) -> None:
    def only_identifiers(cells: Any) -> None:  # noqa: ANN401 - AnnData
        cells.var_names = list(IDENTIFIERS)
        del cells.var["gene_ids"]

    change_cells(study, only_identifiers)
    result = check(study, "--json")
    assert result.exit_code == 0, result.stderr
    assert {lot["gene_coverage"] for lot in json.loads(result.stdout)["lots"]} == {1.0}


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
    change_table(study, "potency.csv", _set("unit", "ng/mL"))
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
    change_table(study, "potency.csv", _set("unit", "ng/mL"))
    code = "import sys; from simulations.cli import main; main(sys.argv[1:], prog_name='crosslot-simulate')"
    command = [sys.executable, "-c", code, "run", str(study), "--out", str(study.parent / "out"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter, our own text
    assert done.returncode == 1
    assert json.loads(done.stdout)["success"] is False
    assert "error: " in done.stderr
    assert [path.name for path in study.parent.iterdir()] == ["study"]


# ---- the same cells, given to split and to atlas build


@pytest.mark.parametrize("name", ["normalised", "negative", "not whole", "not finite"])
def test_split_and_atlas_build_refuse_what_is_no_count(study: Path, name: str) -> None:
    change_cells(study, BAD_CELLS[name].change)
    out = str(study.parent / "out")
    potency = f"{study / 'sites' / SITE / 'potency.csv'}:lot:value"
    columns = ["--lot", "lot", "--labels", "kind"]
    split = ["split", str(cells_of(study)), *columns, "--potency", potency, "--unit", "pg/mL", "--assay", "VEGF"]
    rows = list(csv.reader((study / "sites" / SITE / "potency.csv").read_text().splitlines()))
    keep = [rows[0], *(row for row in rows[1:] if row[0] == LOTS[1])]
    (study / "sites" / SITE / "potency.csv").write_text("".join(",".join(row) + "\n" for row in keep))
    for main, arguments in (
        (simulate_main, [*split, "--reference-lots", "all", "--sites", "1", "--out", out]),
        (site_main, ["atlas", "build", str(cells_of(study)), *columns, "--out", out]),
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1, result.output
        assert "expected counts" in result.stderr
        assert [path.name for path in study.parent.iterdir()] == ["study"]


@pytest.mark.parametrize("harm", [_missing, _text, _cut])
def test_split_and_atlas_build_name_a_file_that_is_no_h5ad(study: Path, harm: Callable[[Path], None]) -> None:
    harm(cells_of(study))
    out = str(study.parent / "out")
    potency = f"{study / 'sites' / SITE / 'potency.csv'}:lot:value"
    split = ["split", str(cells_of(study)), "--lot", "lot", "--potency", potency, "--unit", "pg/mL", "--assay", "VEGF"]
    for main, arguments in (
        (simulate_main, [*split, "--reference-lots", "all", "--sites", "1", "--out", out]),
        (site_main, ["atlas", "build", str(cells_of(study)), "--lot", "lot", "--cluster", "--out", out]),
    ):
        result = CliRunner().invoke(main, arguments)
        assert_refused(result, study, f"{LOTS[1]}.h5ad", "h5ad")


def _long_label(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.obs["kind"] = cells.obs["kind"].astype(str).replace({"beta": "b" * 70})


def _label_in_spaces(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.obs["kind"] = cells.obs["kind"].astype(str).replace({"beta": " beta "})


def _one_label(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.obs["kind"] = "cell"


def _counts_in_a_layer(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.layers["counts"] = cells.X.copy()
    cells.X = None


def _all_zero(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X * 0


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_long_label, "'kind'"),
        (_label_in_spaces, "' beta '"),
        (_one_label, "at least 2 clusters"),
        (_counts_in_a_layer, "found no X"),
        (_all_zero, "none but zeros"),
        (_same_genes, "GENE0 more than once"),
        (_same_cells, "'cell0' in rows 0 and 1"),
        (_no_cells, "cells"),
    ],
)
def test_cells_that_no_atlas_can_be_made_of_are_refused_by_split_and_by_atlas_build(
    tmp_path: Path, harm: Callable[[Any], Any], says: str
) -> None:
    study = tmp_path / "study"
    study.mkdir()
    cells = cell_study().cells.copy()
    changed = harm(cells)
    (cells if changed is None else changed).write_h5ad(study / "all.h5ad")
    rows = "".join(f"{lot},{value}\n" for lot, value in cell_study().potency.items())
    (study / "vegf.csv").write_text("lot,vegf\n" + rows)
    columns = ["--lot", "lot", "--labels", "kind", "--out", str(tmp_path / "out")]
    potency = ["--potency", f"{study / 'vegf.csv'}:lot:vegf", "--unit", "pg/mL", "--assay", "VEGF"]
    for main, arguments in (
        (
            simulate_main,
            ["split", str(study / "all.h5ad"), *columns, *potency, "--reference-lots", "all", "--sites", "2"],
        ),
        (site_main, ["atlas", "build", str(study / "all.h5ad"), *columns]),
    ):
        assert_refused(CliRunner().invoke(main, arguments), study, says)


def test_map_names_the_file_whose_genes_the_atlas_does_not_know(study: Path) -> None:
    change_cells(study, _no_common_genes)
    arguments = ["map", str(cells_of(study)), "--atlas", str(study / "reference.atlas")]
    result = CliRunner().invoke(site_main, [*arguments, "--out", str(study.parent / "out")])
    assert_refused(result, study, f"{LOTS[1]}.h5ad: genes: not one of the atlas's", "probe_0")


@pytest.mark.filterwarnings("ignore:Variable names are not unique")  # anndata's, of the test's own writing
def test_symbols_that_repeat_are_told_apart_by_their_identifiers(tmp_path: Path) -> None:
    cells = cell_study().cells.copy()
    cells.var_names = ["GENE0", "GENE0", *cells.var_names[2:]]
    cells.write_h5ad(tmp_path / "all.h5ad")
    out = tmp_path / "a.atlas"
    arguments = ["atlas", "build", str(tmp_path / "all.h5ad"), "--lot", "lot", "--labels", "kind", "--out", str(out)]
    result = CliRunner().invoke(site_main, arguments)
    assert result.exit_code == 0, result.stderr
    atlas = from_bytes(out.read_bytes())
    assert "GENE0" not in atlas.gene_symbols
    assert set(IDENTIFIERS[:2]) <= set(atlas.gene_ids)
