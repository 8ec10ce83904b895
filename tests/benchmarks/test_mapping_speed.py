"""The aims are judged from what was measured, and a small run prints them."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks import mapping_lots, mapping_speed
from benchmarks.mapping_lots import make_lot, make_tile
from benchmarks.mapping_speed import aim_lines, memory_lines


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 400 cells of 8,000 genes."""
    sizes = {"N_GENES": 8_000, "VALUES_PER_CELL": 1_000, "CELLS_PER_TILE": 400, "CHUNK_ITEMS": 4_000}
    for name, size in sizes.items():
        monkeypatch.setattr(mapping_lots, name, size)


def test_an_aim_is_judged_by_the_clock_and_by_processor_seconds() -> None:
    best = {
        "h5py read": {"process": 10.0, "cpu": 10.0},
        "our read": {"process": 2.0, "cpu": 4.0},
        "map": {"process": 3.0, "cpu": 5.0},
        "ingest, mended": {"process": 30.0, "cpu": 100.0},
        "first cell": {"process": 1.6, "cpu": 1.0},
    }
    assert aim_lines("gzip", best) == [
        "aim, gzip: at most 0.30 of h5py read: 0.30 (0.50): met (NOT MET)",
        "aim, gzip: at most 1.30 of our read: 1.50 (1.25): NOT MET (met)",
        "aim, gzip: 11 times ingest, mended: 10.0 (20.0): NOT MET (met)",
        "aim, gzip: first cell within 1.5 s: 1.60: NOT MET",
    ]
    assert aim_lines("lzf", {"map": best["map"]}) == []


def test_memory_is_told_as_a_curve_and_300_mb_are_286_mib() -> None:
    peaks = {("gzip", 1_000_000): 287.0, ("gzip", 100_000): 187.0, ("lzf", 1_000_000): 286.0, ("zstd", 100_000): 1.0}
    aim = "aim, 300 MB at a million cells"
    assert memory_lines(peaks) == [
        f"memory of map, gzip: 100,000 cells 187 MiB, 1,000,000 cells 287 MiB; 117 bytes a cell; {aim}: NOT MET",
        f"memory of map, lzf: 1,000,000 cells 286 MiB; {aim}: met",
        f"memory of map, zstd: 100,000 cells 1 MiB; {aim}: not asked for",
    ]


@pytest.mark.usefixtures("small_tiles")
def test_a_lot_of_repeated_tiles_reads_as_its_cells(tmp_path: Path) -> None:
    """Chunks are copied compressed: what is read must be the tile, over and over."""
    tile = make_tile(seed=1)
    lengths, indices, data, _kinds = tile
    make_lot(tmp_path / "lot.h5ad", tile, 1_000, {"compression": "gzip", "compression_opts": 1})
    with h5py.File(tmp_path / "lot.h5ad") as file:
        group = file["X"]
        assert tuple(group.attrs["shape"]) == (1_200, 8_000)  # whole tiles
        np.testing.assert_array_equal(group["indptr"][:], np.concatenate(([0], np.cumsum(np.tile(lengths, 3)))))
        np.testing.assert_array_equal(group["data"][:], np.tile(data, 3))
        np.testing.assert_array_equal(group["indices"][:], np.tile(indices, 3))


@pytest.mark.usefixtures("small_tiles")
def test_a_small_run_measures_every_method_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["mapping_speed", "--cells", "400", "--storage", "uncompressed", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", command)
    mapping_speed.main()
    printed = capsys.readouterr().out
    for method in mapping_speed.OURS:
        assert f"  {method:<18}" in printed
    assert "memory of map, uncompressed: 400 cells" in printed
