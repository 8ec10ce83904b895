"""``crosslot-site map``: two files that appear whole, and an h5ad that no failure can lose."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pyarrow.parquet as pq
import pytest

from protocol.plan import QualityLimits
from shared.atlas.artefact import sha256, to_bytes
from shared.errors import InputError
from site_agent.cells import mapping_files
from site_agent.cells.lots import CellFilter
from site_agent.cells.map_command import map_file
from site_agent.cells.mapping import map_cells
from tests.site_agent.cells.conftest import SmallStudy


@pytest.fixture
def files(tmp_path: Path, small_study: SmallStudy) -> tuple[Path, Path]:
    (tmp_path / "a.atlas").write_bytes(to_bytes(small_study.atlas))
    return small_study.write(tmp_path / "a.h5ad"), tmp_path / "a.atlas"


def test_both_files_hold_what_was_mapped(
    tmp_path: Path, files: tuple[Path, Path], small_study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping_files, "_CELLS_PER_GROUP", 100)
    cells, atlas = files
    summary = map_file(cells, atlas, tmp_path / "out", where=(CellFilter(column="lot", value="L1"),))
    mapping = map_cells(cells, small_study.atlas, where=[("lot", "L1")])
    table = pq.read_table(tmp_path / "out" / "cells.parquet").to_pydict()
    chosen = np.flatnonzero(small_study.lots == "L1")
    assert table["cell"] == [f"cell{i}" for i in chosen]
    names = (*mapping.clusters, "unassigned")
    assert table["cluster"] == [names[label] for label in mapping.label]
    assert table["energy"] == mapping.energy.tolist()
    assert all(table["passed_qc"])
    document = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert document["schema"] == "crosslot.mapping-summary/1"
    assert document["atlas_sha256"] == sha256(to_bytes(small_study.atlas))
    assert document["where"] == ["lot=L1"]
    assert document["cells"]["in_file"] == 360
    assert document["cells"]["after_qc"] == 120
    assert sum(row["cells"] for row in document["clusters"]) + document["unassigned"]["cells"] == 120
    assert all(row["low"] <= row["share"] <= row["high"] for row in document["clusters"])
    assert document["trust"]["cells_diagnosed"] == sum(row["cells"] for row in document["clusters"])
    assert document["withheld"] == ["too-few-cells"]
    assert summary.cells.of_lot == 120


def test_mapping_and_writing_load_no_heavy_library(files: tuple[Path, Path], tmp_path: Path) -> None:
    cells, atlas = files
    code = (
        "import sys; from pathlib import Path; from site_agent.cells.map_command import map_file;"
        f"map_file(Path({str(cells)!r}), Path({str(atlas)!r}), Path({str(tmp_path / 'out')!r}));"
        "heavy = {'anndata', 'numba', 'pandas', 'pydantic', 'scanpy', 'scipy', 'sklearn', 'zarr'};"
        "print(sorted(heavy & {*sys.modules}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)  # noqa: S603 - our own code
    assert done.stdout.strip() == "[]"


def test_the_scout_is_set_to_the_file_before_any_library_is_loaded(files: tuple[Path, Path], tmp_path: Path) -> None:
    cells, atlas = files
    code = (
        "import sys; from pathlib import Path; from site_agent.cells import scout;"
        "from site_agent.cells.map_command import map_file;"
        "ahead = scout.Scout.look_ahead; seen = []; loaded = lambda: {'h5py', 'numpy'} & {*sys.modules};"
        "scout.Scout.look_ahead = lambda *a: (seen.append(sorted(loaded())), ahead(*a));"
        f"map_file(Path({str(cells)!r}), Path({str(atlas)!r}), Path({str(tmp_path / 'out')!r}));"
        "print(seen)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)  # noqa: S603 - our own code
    assert done.stdout.strip() == "[[]]"


def test_cells_that_share_a_name_end_the_run_and_nothing_is_written(
    tmp_path: Path, files: tuple[Path, Path], small_study: SmallStudy
) -> None:
    adata = small_study.adata()
    adata.obs_names = ["twin", *adata.obs_names[1:-1], "twin"]
    adata.write_h5ad(tmp_path / "twins.h5ad")
    with pytest.raises(InputError, match="expected each cell once, found 'twin' in rows 0 and 359"):
        map_file(tmp_path / "twins.h5ad", files[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_second_run_gives_the_same_bytes_and_replaces_the_first(tmp_path: Path, files: tuple[Path, Path]) -> None:
    cells, atlas = files
    out = tmp_path / "out"
    map_file(cells, atlas, out, threads=1)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    map_file(cells, atlas, out, threads=3)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_failure_leaves_nothing_half_written(tmp_path: Path, files: tuple[Path, Path]) -> None:
    cells, atlas = files
    limits = QualityLimits(maximum_mitochondrial_share=0.5)
    map_file(cells, atlas, tmp_path / "out", limits=limits)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="no cell with 'L9'"):
        map_file(cells, atlas, tmp_path / "out", where=(CellFilter(column="lot", value="L9"),))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(InputError):
        map_file(cells, atlas, tmp_path / "new", layer="nowhere")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.atlas", "a.h5ad", "out"]


def test_folder_of_something_else_is_not_replaced(tmp_path: Path, files: tuple[Path, Path]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="expected a new or empty folder"):
        map_file(*files, tmp_path / "out")


def test_annotation_adds_columns_and_changes_nothing_else(
    tmp_path: Path, files: tuple[Path, Path], small_study: SmallStudy
) -> None:
    cells, atlas = files
    before = ad.read_h5ad(cells)
    for _ in range(2):  # a second time replaces the columns
        map_file(cells, atlas, tmp_path / "out", annotate=True, where=(CellFilter(column="lot", value="L0"),))
    after = ad.read_h5ad(cells)
    assert list(after.obs.columns) == [*before.obs.columns, "atlas_cluster", "atlas_confidence", "atlas_energy"]
    chosen = small_study.lots == "L0"
    assert after.obs["atlas_cluster"].notna().to_numpy().tolist() == chosen.tolist()
    mapping = map_cells(cells, small_study.atlas)
    names = np.array([*mapping.clusters, "unassigned"])
    assert (after.obs["atlas_cluster"][chosen].to_numpy() == names[mapping.label[chosen]]).all()
    assert (after.X != before.X).nnz == 0
    assert after.obs[["kind", "lot"]].equals(before.obs)


def test_failed_annotation_loses_nothing(
    tmp_path: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, atlas = files
    before = cells.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("site_agent.cells.annotation._write_columns", full)
    with pytest.raises(InputError, match="cannot be annotated: No space left on device"):
        map_file(cells, atlas, tmp_path / "out", annotate=True)
    assert cells.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.atlas", "a.h5ad"]


def test_a_full_disk_is_told_as_one_and_nothing_is_left(tmp_path: Path, files: tuple[Path, Path]) -> None:
    cells, atlas = files
    code = (
        "import resource; from pathlib import Path; from shared.errors import NoRoomError;"
        "from site_agent.cells.map_command import map_file;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"  # a file of more bytes is told as a full disk is
        f"try: map_file(Path({str(cells)!r}), Path({str(atlas)!r}), Path({str(tmp_path / 'made' / 'out')!r}))\n"
        "except NoRoomError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)  # noqa: S603 - our own code
    assert "disk-full: cannot write" in done.stdout
    assert not (tmp_path / "made").exists()


def test_the_interpreter_is_left_as_it_was(tmp_path: Path, files: tuple[Path, Path]) -> None:
    before = gc.isenabled(), sys.getswitchinterval()
    map_file(*files, tmp_path / "out")
    with pytest.raises(InputError):
        map_file(*files, tmp_path / "new", layer="nowhere")
    assert (gc.isenabled(), sys.getswitchinterval()) == before
