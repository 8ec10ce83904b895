"""What bad cells of a study get from check and run: a clear error, exit code 1, nothing half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import pytest
from click.testing import CliRunner

from site_agent.cli import main as site_main
from tests.simulations.bad_input.conftest import LOTS, assert_refused, cells_of, change_cells, change_table, check, run
from tests.simulations.bad_input.faults import (
    BAD_CELLS,
    cut_short,
    make_folder,
    no_common_genes,
    normalised,
    remove,
    write_text,
)
from tests.study_with_cells import IDENTIFIERS, SITES


def _late_half(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data[-1] += 0.5


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


@pytest.mark.parametrize("harm", [remove, write_text, cut_short, make_folder])
def test_a_missing_or_unreadable_cell_file_is_named_with_its_row(study: Path, harm: Callable[[Path], None]) -> None:
    harm(cells_of(study))
    for result in (check(study), run(study)):
        assert_refused(result, study, f"{LOTS[1]}.h5ad", "lots.csv, row 3")


def test_all_cell_files_that_are_at_fault_are_listed_at_once(study: Path) -> None:
    change_cells(study, normalised, LOTS[0])
    change_cells(study, no_common_genes, LOTS[1])
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


def test_map_names_the_file_whose_genes_the_atlas_does_not_know(study: Path) -> None:
    change_cells(study, no_common_genes)
    arguments = ["map", str(cells_of(study)), "--atlas", str(study / "reference.atlas")]
    result = CliRunner().invoke(site_main, [*arguments, "--out", str(study.parent / "out")])
    assert_refused(result, study, f"{LOTS[1]}.h5ad: genes: not one of the atlas's", "probe_0")
