"""The same bad cells, given to split and to atlas build: refused alike, with nothing half-written."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shared.atlas.artefact import from_bytes
from simulations.cli import main as simulate_main
from site_agent.cli import main as site_main
from tests.simulations.bad_input.conftest import LOTS, SITE, assert_refused, cells_of, change_cells
from tests.simulations.bad_input.faults import (
    BAD_CELLS,
    cut_short,
    no_cells,
    remove,
    same_cells,
    same_genes,
    write_text,
)
from tests.study_with_cells import IDENTIFIERS, cell_study


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


@pytest.mark.parametrize("harm", [remove, write_text, cut_short])
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
        (same_genes, "GENE0 more than once"),
        (same_cells, "'cell0' in rows 0 and 1"),
        (no_cells, "cells"),
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
