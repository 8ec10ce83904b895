"""Damaged and hostile folders of cells, 10x and zarr: a named error each."""

import gzip
import json
import warnings
from pathlib import Path

import pytest

from shared.errors import InputError
from site_agent.cells.reading import open_cells
from tests.site_agent.cells.conftest import SmallStudy

HEAD = "%%MatrixMarket matrix coordinate integer general\n%\n"


def read_all(path: Path) -> None:
    with open_cells(path) as source:
        source.require_counts()
        source.require_distinct_cells()
        for _block in source.blocks():
            pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "matrix.mtx").write_text(f"{HEAD}3 2 3\n1 1 5\n3 1 1\n2 2 7\n")
    (tmp_path / "barcodes.tsv").write_text("a\nb\n")
    (tmp_path / "features.tsv").write_text("".join(f"ENSG0000000000{i}\tG{i}\tGene Expression\n" for i in range(3)))
    return tmp_path


def test_sound_folder_is_read(folder: Path) -> None:
    read_all(folder)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("%%MatrixMarket", "%%Matrix", "expected a general coordinate matrix"),
        ("integer", "complex", "expected integer or real values"),
        ("3 2 3\n", "3 3 3\n", "its shape is 3 by 3, of 3 features and 2 barcodes"),
        ("3 2 3\n", "3 2 4\n", "expected 4 values, found 3"),
        ("3 2 3\n", "3 2 2\n", "expected 2 values, found more"),
        ("3 2 3\n", "three 2 3\n", "is damaged"),
        ("3 1 1", "4 1 1", "outside the 3 columns"),
        ("3 1 1", "0 1 1", "outside the 3 columns"),
        ("3 1 1", "3 9 1", "outside the 2 columns"),
        ("3 1 1", "3 1 many", "is damaged"),
        ("3 1 1", "3 1 -1", "negative values, such as -1"),
        ("3 1 1", "3 1", "is damaged"),
        ("3 1 1", "3 1 1.5", "is damaged"),
    ],
)
def test_each_lie_of_a_matrix_is_named(folder: Path, old: str, new: str, found: str) -> None:
    text = (folder / "matrix.mtx").read_text()
    assert old in text
    (folder / "matrix.mtx").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=found):
        read_all(folder)


def test_truncated_archive_and_missing_names_are_named(folder: Path) -> None:
    whole = gzip.compress((folder / "matrix.mtx").read_bytes() * 1_000)
    (folder / "matrix.mtx.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged"):
        read_all(folder)
    (folder / "matrix.mtx.gz").unlink()
    (folder / "features.tsv").unlink()
    with pytest.raises(InputError, match=r"expected features.tsv.gz or"):
        read_all(folder)


def test_line_without_end_is_refused_before_it_fills_the_memory(folder: Path) -> None:
    (folder / "barcodes.tsv").unlink()
    (folder / "barcodes.tsv.gz").write_bytes(gzip.compress(b"a" * 50_000_000, 9))
    with pytest.raises(InputError, match="short lines"):
        read_all(folder)


@pytest.fixture
def zarr_folder(tmp_path: Path, small_study: SmallStudy) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata announces its next defaults
        small_study.adata().write_zarr(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / ".zmetadata").unlink()  # the copy of all descriptions: the tests change single ones
    return tmp_path / "a.zarr"


def test_missing_chunk_of_a_store_is_named(zarr_folder: Path) -> None:
    read_all(zarr_folder)
    (zarr_folder / "X" / "data" / "0").unlink()
    with pytest.raises(InputError, match="expected 1 chunks, found 0"):
        read_all(zarr_folder)


def test_damaged_chunk_of_a_store_is_named(zarr_folder: Path) -> None:
    chunk = zarr_folder / "X" / "data" / "0"
    chunk.write_bytes(b"\x00\xff" * 40)
    with pytest.raises(InputError, match="is damaged"):
        read_all(zarr_folder)


def test_gigantic_chunk_of_a_store_is_refused(zarr_folder: Path) -> None:
    about = zarr_folder / "X" / "data" / ".zarray"
    document = json.loads(about.read_text())
    document["chunks"] = [10**11]
    about.write_text(json.dumps(document))
    with pytest.raises(InputError, match="expected at most 64"):
        read_all(zarr_folder)


def test_garbled_description_of_a_store_is_named(zarr_folder: Path) -> None:
    (zarr_folder / "X" / "data" / ".zarray").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        read_all(zarr_folder)
