"""One h5ad into a study of several sites: every lot at one site, every cell in one lot, nothing else taken along."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import Any

import anndata as ad
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from protocol.plan import Profile
from protocol.policy import read_policy
from protocol.study_draft import read_study_draft
from shared.atlas.artefact import from_bytes, sha256
from shared.errors import InputError, ProblemsError
from simulations.cli import main
from simulations.split_request import (
    parse_condition,
    parse_label,
    parse_potency,
    parse_reference_lots,
    read_potency,
)
from simulations.study_folder import ATLAS_FILE
from tests.study_with_cells import KINDS, LOT_NAMES, cell_study


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all cells in one h5ad, a second condition among them, and potency of all lots but the last."""
    folder = tmp_path_factory.mktemp("split")
    cells = cell_study().cells.copy()
    cells.obs["condition"] = np.where(np.arange(cells.n_obs) % 8 == 0, "stressed", "control")
    cells.write_h5ad(folder / "all.h5ad")
    rows = [(lot, value) for lot, value in cell_study().potency.items() if lot != LOT_NAMES[-1]]
    (folder / "vegf.csv").write_text("batch,vegf\n" + "".join(f"{lot},{value}\n" for lot, value in rows))
    return folder


def split(source: Path, out: Path, *more: str, **changes: str) -> Result:
    options = {
        "lot": "lot",
        "labels": "kind",
        "donor": "donor",
        "where": "condition=control",
        "potency": f"{source / 'vegf.csv'}:batch:vegf",
        "unit": "pg/mL",
        "assay": "VEGF ELISA",
        "reference-lots": ",".join(LOT_NAMES[:3]),
        "sites": "3",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return CliRunner().invoke(main, ["split", str(source / "all.h5ad"), *arguments, "--out", str(out), *more])


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "Three Kinds"
    result = split(source, out)
    assert result.exit_code == 0, result.stderr
    return out


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def sites_in(study: Path) -> list[Path]:
    return sorted((study / "sites").iterdir())


def test_every_lot_with_potency_is_at_exactly_one_site_and_sites_have_about_as_many(made: Path) -> None:
    lots = [[row["lot"] for row in table(site / "lots.csv")] for site in sites_in(made)]
    assert sorted(lot for its_lots in lots for lot in its_lots) == list(LOT_NAMES[:-1])
    assert max(map(len, lots)) - min(map(len, lots)) <= 1
    assert all(
        len(list((site / "cells").iterdir())) == len(its_lots)
        for site, its_lots in zip(sites_in(made), lots, strict=True)
    )


def test_a_lots_file_holds_its_cells_of_the_condition_and_their_counts_unchanged(made: Path, source: Path) -> None:
    everything = ad.read_h5ad(source / "all.h5ad")
    for site in sites_in(made):
        for row in table(site / "lots.csv"):
            cells = ad.read_h5ad(site / row["file"])
            chosen = everything[(everything.obs["lot"] == row["lot"]) & (everything.obs["condition"] == "control")]
            assert list(cells.obs_names) == list(chosen.obs_names)
            assert (cells.X != chosen.X).nnz == 0


def test_potency_is_written_as_it_was_given(made: Path, source: Path) -> None:
    given_values = {row["batch"]: row["vegf"] for row in table(source / "vegf.csv")}
    for site in sites_in(made):
        for row in table(site / "potency.csv"):
            assert row["value"] == given_values[row["lot"]]
            assert (row["unit"], row["assay"], row["endpoint"]) == ("pg/mL", "VEGF ELISA", "vegf-elisa")


def test_the_plan_names_the_sites_the_endpoint_and_the_atlas_by_its_hash(made: Path) -> None:
    plan = read_study_draft((made / "study.toml").read_bytes())
    data = (made / "reference.atlas").read_bytes()
    assert plan.study == "three-kinds"
    assert plan.sites == tuple(site.name for site in sites_in(made))
    assert plan.atlas.sha256 == sha256(data)
    assert plan.atlas.clusters == from_bytes(data).clusters == KINDS
    assert plan.disclosure.profile is Profile.OPEN


def test_each_site_has_the_open_policy_for_this_study_only(made: Path) -> None:
    for site in sites_in(made):
        policy = read_policy((site / "policy.toml").read_bytes())
        assert (policy.site, policy.profile) == (site.name, Profile.OPEN)
        assert policy.allowed_studies == policy.auto_approve == ("three-kinds",)


def test_the_atlas_is_of_the_reference_lots_only_and_names_none(made: Path) -> None:
    data = (made / "reference.atlas").read_bytes()
    cells = cell_study().cells
    control = np.arange(cells.n_obs) % 8 != 0
    of_reference = cells.obs["lot"].isin(LOT_NAMES[:3]).to_numpy() & control
    provenance = from_bytes(data).card.provenance
    assert (provenance.cells, provenance.lots) == (int(of_reference.sum()), 3)
    assert not any(lot.encode() in data for lot in LOT_NAMES)


def test_splitting_again_gives_the_same_plan_and_tables(made: Path, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "Three Kinds"
    assert split(source, out).exit_code == 0
    for name in ("study.toml", "reference.atlas"):
        assert (out / name).read_bytes() == (made / name).read_bytes()
    for site in sites_in(made):
        for name in ("lots.csv", "potency.csv", "policy.toml"):
            assert (out / "sites" / site.name / name).read_bytes() == (site / name).read_bytes()


def test_as_json_the_lot_left_out_is_named(source: Path, tmp_path: Path) -> None:
    result = split(source, tmp_path / "out", "--json")
    document = json.loads(result.stdout)
    assert document["lots_without_potency"] == [LOT_NAMES[-1]]
    assert document["reference_lots"] == list(LOT_NAMES[:3])
    assert sorted(lot for lots in document["sites"].values() for lot in lots) == list(LOT_NAMES[:-1])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lot": "batch"}, ["all.h5ad: expected a column 'batch' in obs"]),
        ({"lot": "batch", "labels": "type", "donor": "who"}, ["'batch'", "'type'", "'who'"]),
        ({"where": "condition=boiled"}, ["condition=boiled", "control, stressed"]),
        ({"where": "condition"}, ["--where: expected COL=VALUE"]),
        ({"donor": "kind"}, ["several values of 'kind'"]),
        ({"potency": "vegf.csv"}, ["--potency: expected FILE.csv:KEYCOL:VALUECOL"]),
        ({"potency": "absent.csv:a:b"}, ["absent.csv: cannot read potency"]),
        ({"sites": "9", "reference_lots": "X,Y"}, ["--sites 9", "--reference-lots: not among the lots: X, Y"]),
        ({"reference_lots": "A,,B"}, ["--reference-lots: expected distinct lot names"]),
        ({"unit": " "}, ["--unit: expected 1 to 64 printable characters"]),
        ({"assay": "x" * 65}, ["--assay: expected 1 to 64 printable characters"]),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    source: Path, tmp_path: Path, changes: dict[str, str], named: list[str]
) -> None:
    result = split(source, tmp_path / "out", **changes)
    assert result.exit_code == 1, result.output
    for part in named:
        assert part in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_potency_of_lots_that_the_cells_lack_is_named_with_the_column(source: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("batch,vegf\nBatch-Z,3\n")
    result = split(source, tmp_path / "out", potency=f"{tmp_path / 'other.csv'}:batch:vegf")
    assert result.exit_code == 1
    assert "potency without a lot: Batch-Z" in result.stderr
    assert "'lot'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_all_values_that_are_no_potency_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "vegf.csv").write_text("lot,vegf\nA,12\nB,high\nC,-3\nD,\n,5\nE,0\nF,nan\nG,1e400\nH,1_000\n")
    with pytest.raises(ProblemsError) as caught:
        read_potency(parse_potency(f"{tmp_path / 'vegf.csv'}:lot:vegf"))
    lines = [str(problem).partition(", ")[2].partition(":")[0] for problem in caught.value.problems]
    assert lines == [f"line {number}, column {column!r}" for number, column in _expected_places()]


def _expected_places() -> list[tuple[int, str]]:
    return [(3, "vegf"), (4, "vegf"), (5, "vegf"), (6, "lot"), (7, "vegf"), (8, "vegf"), (9, "vegf"), (10, "vegf")]


@pytest.mark.parametrize("text", ["lot;vegf\nA;3\n", "lot,vegf\n", ""])
def test_a_table_without_the_columns_or_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "vegf.csv").write_text(text)
    with pytest.raises(InputError, match=r"vegf\.csv: "):
        read_potency(parse_potency(f"{tmp_path / 'vegf.csv'}:lot:vegf"))


_NAME = st.text(
    st.characters(codec="utf-8", exclude_characters=",:=\r\n\x00", exclude_categories=["C", "Z"]), min_size=1
)


@given(_NAME, _NAME, _NAME)
def test_a_potency_column_is_read_back_from_its_text(path: str, key: str, value: str) -> None:
    column = parse_potency(f"{path}:{key}:{value}")
    assert (str(column.path), column.key_column, column.value_column) == (str(Path(path)), key, value)


@given(_NAME, _NAME)
def test_a_condition_is_read_back_from_its_text(column: str, value: str) -> None:
    condition: Any = parse_condition(f"{column}={value}")
    assert (condition.column, condition.value) == (column, value)


@given(st.lists(_NAME, min_size=1, unique=True).filter(lambda names: names != ["all"]))
def test_reference_lots_are_read_back_from_their_text(names: list[str]) -> None:
    assert parse_reference_lots(",".join(names)) == tuple(names)


def test_all_stands_for_every_lot() -> None:
    assert parse_reference_lots("all") is None
    assert parse_label("--unit", "pg/mL") == "pg/mL"


def _in_a_layer(cells: ad.AnnData) -> ad.AnnData:
    cells.layers["counts"], cells.X = cells.X.copy(), cells.X * 0.5
    return cells


def _in_raw(cells: ad.AnnData) -> ad.AnnData:
    cells.raw = cells.copy()
    few = cells[:, : cells.n_vars // 2].copy()  # as when only variable genes are kept
    few.X = few.X * 0.5
    return few


def _rewritten(source: Path, folder: Path, rewrite: Callable[[ad.AnnData], ad.AnnData]) -> Path:
    copy(source / "vegf.csv", folder)
    rewrite(ad.read_h5ad(source / "all.h5ad")).write_h5ad(folder / "all.h5ad")
    return folder


@pytest.mark.parametrize(("rewrite", "layer"), [(_in_a_layer, "counts"), (_in_raw, "raw")])
def test_a_study_of_a_layer_is_the_study_of_the_same_counts_in_x(
    made: Path,
    source: Path,
    tmp_path: Path,
    rewrite: Callable[[ad.AnnData], ad.AnnData],
    layer: str,
) -> None:
    result = split(_rewritten(source, tmp_path, rewrite), tmp_path / "study", layer=layer)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "study" / ATLAS_FILE).read_bytes() == (made / ATLAS_FILE).read_bytes()
    for here, there in zip(sites_in(tmp_path / "study"), sites_in(made), strict=True):
        assert table(here / "lots.csv") == table(there / "lots.csv")
        for row in table(here / "lots.csv"):
            assert np.array_equal(
                ad.read_h5ad(here / row["file"]).X.toarray(), ad.read_h5ad(there / row["file"]).X.toarray()
            )


@pytest.mark.parametrize(
    ("rewrite", "options", "found"),
    [
        (_in_a_layer, {}, "layers['counts'] of this file looks like counts"),
        (_in_a_layer, {"layer": "count"}, "count"),
        (_in_a_layer, {"layer": "raw"}, "raw"),
    ],
)
def test_a_layer_that_is_not_named_or_not_there_is_an_error_before_anything_is_written(
    source: Path,
    tmp_path: Path,
    rewrite: Callable[[ad.AnnData], ad.AnnData],
    options: dict[str, str],
    found: str,
) -> None:
    result = split(_rewritten(source, tmp_path, rewrite), tmp_path / "study", **options)
    assert result.exit_code == 1
    assert found in result.stderr
    assert not (tmp_path / "study").exists()
