"""A sound study that each test harms, the two commands that read it, and what a refusal must look like."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import pytest
from click.testing import CliRunner, Result

from simulations.cli import main as simulate_main
from site_agent.cli import main as site_main
from tests.study_with_cells import LOT_NAMES, SITES, write_study

SITE = SITES[0]
LOTS = LOT_NAMES[0::2]


@pytest.fixture(scope="session")
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


def put(column: str, value: str, row: int = 2) -> Callable[[list[list[str]]], None]:
    """Return a change of one cell of a table; rows as a spreadsheet counts them."""

    def change(rows: list[list[str]]) -> None:
        rows[row - 1][rows[0].index(column)] = value

    return change


def assert_refused(result: Result, study: Path, *says: str) -> None:
    """Assert an expected failure that says all of it, and that nothing but the study lies there afterwards."""
    assert result.exit_code == 1, result.output
    assert result.stderr.count("error: ") == 1
    assert "hint: " in result.stderr
    assert "Traceback" not in result.output
    for part in says:
        assert part in result.stderr, (part, result.stderr)
    assert [path.name for path in study.parent.iterdir()] == ["study"]
