"""Damaged and hostile cell files: a named error, never a crash, a hang or unbounded memory."""

import resource
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import InputError, InternalError
from site_agent.cells import scout
from site_agent.cells.mapping import map_cells
from site_agent.cells.reading import open_cells
from site_agent.cells.scouting import Task
from tests.site_agent.cells.conftest import SmallStudy


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scout.SCOUT, "patience_seconds", 8.0)


@pytest.fixture
def h5ad(tmp_path: Path, small_study: SmallStudy) -> Path:
    return small_study.write(tmp_path / "a.h5ad")


def read_all(path: Path) -> None:
    """Read all there is."""
    with open_cells(path) as source:
        source.require_distinct_cells()
        source.require_counts()
        for name in source.columns:
            source.column(name)
        for _block in source.blocks(10_000):
            pass


def outcome(path: Path) -> str:
    """Read all there is; return "read" or the error's text, which names the file and says what to do."""
    try:
        read_all(path)
    except InputError as error:
        found = error
    else:
        return "read"
    assert str(path) in str(found)
    assert found.hint
    return str(found)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"PK\x03\x04", "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"%%MatrixMarket matrix", "a matrix.mtx"),
        (b"lot,donor\n", "another format"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "is damaged"),
    ],
)
def test_what_is_no_cell_file_is_said_by_its_content(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.h5ad").write_bytes(content)
    assert found in outcome(tmp_path / "a.h5ad")


def test_missing_file_and_folder_without_cells_are_named(tmp_path: Path) -> None:
    assert "found none" in outcome(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match=r"expected matrix.mtx.gz or matrix.mtx"):
        open_cells(tmp_path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_truncated_file_is_named(h5ad: Path, share: float) -> None:
    data = h5ad.read_bytes()
    h5ad.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in outcome(h5ad)


def set_dataset(name: str, make: Callable[[h5py.Dataset], dict[str, object]]) -> Callable[[h5py.File], None]:
    """Return a change that writes a dataset anew."""

    def change(file: h5py.File) -> None:
        arguments = make(file[name])
        del file[name]
        file.create_dataset(name, **arguments)

    return change


def with_value(name: str, at: int, value: float) -> Callable[[h5py.File], None]:
    """Return a change of one value."""

    def change(file: h5py.File) -> None:
        file[name][at] = value

    return change


def _no_obs(file: h5py.File) -> None:
    del file["obs"]


def _no_x(file: h5py.File) -> None:
    del file["X"]


def _wrong_shape(file: h5py.File) -> None:
    file["X"].attrs["shape"] = np.array([10**12, 120])


def _other_shape(file: h5py.File) -> None:
    file["X"].attrs["shape"] = np.array([360, 119])


def _unknown_encoding(file: h5py.File) -> None:
    file["X"].attrs["encoding-type"] = "dream"


def _external_link(file: h5py.File) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink("/etc/passwd", "/X")


def _group_for_dataset(file: h5py.File) -> None:
    del file["X/data"]
    file.create_group("X/data")


def _lying_chunk(file: h5py.File) -> None:
    dataset = file["X/data"]
    raw = dataset.id.read_direct_chunk((0,))[1]
    dataset.id.write_direct_chunk((0,), raw[: len(raw) // 2])


def bomb(n_bytes: int) -> Callable[[h5py.File], None]:
    """Return a change that puts a chunk in the file that inflates to far more than it declares."""
    return lambda file: file["X/data"].id.write_direct_chunk((0,), zlib.compress(bytes(n_bytes), 9))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_no_obs, "expected AnnData's obs and var"),
        (_no_x, "found no X"),
        (_wrong_shape, "expected at most"),
        (_other_shape, "its shape is"),
        (_unknown_encoding, "found 'dream'"),
        (_external_link, "lies in another file"),
        (_group_for_dataset, "expected a dataset, found a group"),
        (_lying_chunk, "does not decode"),
        (bomb(5 * 2**20), "does not decode"),
        (bomb(50 * 2**20), "is stored in"),
        (with_value("X/indptr", 5, 10**9), "indptr falls"),
        (with_value("X/indptr", 5, -1), "indptr falls"),
        (with_value("X/indptr", 360, 1), "expected an indptr from 0 to"),
        (with_value("X/indices", 77, 120), "outside the 120 columns"),
        (with_value("X/indices", 77, -1), "outside the 120 columns"),
        (with_value("X/data", 77, np.nan), "NaN or infinite"),
        (with_value("X/data", 77, -3), "negative values, such as -3"),
        (with_value("X/data", 77, 0.25), "not whole, such as 0.25"),
        (with_value("obs/lot/codes", 3, 99), "a code lies outside its categories"),
        (set_dataset("X/data", lambda old: {"data": old[:-1]}), "as many indices as values"),
        (set_dataset("X/data", lambda old: {"data": old[:].astype("S3")}), "expected one row of numbers"),
        (set_dataset("X/data", lambda old: {"data": old[:].astype("c8")}), "expected one row of numbers"),
        (set_dataset("X/indices", lambda old: {"data": old[:].astype("f4")}), "expected indices of whole numbers"),
        (set_dataset("X/indptr", lambda _: {"shape": (10**10,), "chunks": (10**6,), "dtype": "i8"}), "is damaged"),
        (set_dataset("X/data", lambda old: {"shape": old.shape, "chunks": (99,), "dtype": "f4"}), "chunks, found 0"),
        (
            set_dataset("X/data", lambda old: {"data": old[:], "chunks": (2**25,), "maxshape": (None,)}),
            "chunks of 128 MiB; expected at most 64",
        ),
        (set_dataset("obs/_index", lambda old: {"data": old[:0]}), "X has 0 cells and 120 genes"),
        (set_dataset("var/_index", lambda old: {"data": old[:-1]}), "of obs and var (360, 119)"),
        (set_dataset("var/_index", lambda old: {"data": np.array(["G"] * old.size, "O")}), "expected each gene once"),
        (set_dataset("obs/_index", lambda old: {"data": np.array(["c"] * old.size, "O")}), "expected each cell once"),
        (set_dataset("obs/_index", lambda old: {"data": np.array(["c" * 2_000] * old.size, "O")}), "longer than 1024"),
        (set_dataset("obs/_index", lambda old: {"data": np.zeros(old.size, "S9000")}), "items of at most 1024 bytes"),
    ],
)
def test_each_lie_of_a_file_is_named(h5ad: Path, change: Callable[[h5py.File], None], found: str) -> None:
    with h5py.File(h5ad, "r+") as file:
        change(file)
    assert found in outcome(h5ad)


def test_dense_file_that_was_never_written_is_refused(h5ad: Path) -> None:
    with h5py.File(h5ad, "r+") as file:
        del file["X"]
        file.create_dataset("X", shape=(360, 120), chunks=(10, 120), dtype="f4", compression="gzip")
    assert "chunks, found 0" in outcome(h5ad)
    with h5py.File(h5ad, "r+") as file:
        del file["X"]
        file.create_dataset("X", shape=(360, 120), dtype="f4")
    assert "never written" in outcome(h5ad)


def test_no_gene_in_common_is_named(h5ad: Path, small_study: SmallStudy) -> None:
    with h5py.File(h5ad, "r+") as file:
        size = file["var/_index"].size
        del file["var/_index"]
        file["var/_index"] = [f"other{i}" for i in range(size)]
    with pytest.raises(InputError, match="not one of the atlas's"):
        map_cells(h5ad, small_study.atlas)


def test_hanging_scout_is_ended_and_the_next_file_is_read(h5ad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scout.SCOUT.start()
    process = scout.SCOUT._process
    assert process is not None
    assert outcome(h5ad) == "read"
    monkeypatch.setattr(scout.SCOUT, "patience_seconds", -1.0)  # no answer is ever in time
    begin = time.monotonic()
    assert "the HDF5 library hangs or ends on it" in outcome(h5ad)
    assert time.monotonic() - begin < 5
    assert process.poll() is not None
    monkeypatch.setattr(scout.SCOUT, "patience_seconds", 30.0)
    assert outcome(h5ad) == "read"


def test_scout_that_dies_is_a_damaged_file_and_the_next_is_read(h5ad: Path) -> None:
    assert outcome(h5ad) == "read"
    process = scout.SCOUT._process
    assert process is not None
    process.kill()
    process.wait()
    assert outcome(h5ad) == "read"


@pytest.fixture
def ours() -> Iterator[scout.Scout]:
    own = scout.Scout(patience_seconds=20.0)
    yield own
    own.close()


def test_what_the_scout_looked_at_ahead_is_not_asked_again(h5ad: Path, ours: scout.Scout) -> None:
    ours.look_ahead(h5ad, None, (Task.OPEN, Task.NAMES))
    process = ours._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # nothing more can be asked
    ours.require(h5ad, None, Task.NAMES)
    ours.require(h5ad, None, Task.OPEN)


def test_an_answer_does_not_hold_for_a_file_that_has_changed(
    h5ad: Path, ours: scout.Scout, small_study: SmallStudy
) -> None:
    adata = small_study.adata()
    adata.obs_names = ["twin"] * adata.n_obs
    ours.look_ahead(h5ad, None, (Task.OPEN, Task.NAMES))
    while ours._sent:
        ours._receive()
    adata.write_h5ad(h5ad)  # it is open nowhere: the last answer comes when the scout has closed it
    with pytest.raises(InputError, match="expected each cell once"):
        ours.require(h5ad, None, Task.NAMES)


def test_a_scout_that_ended_on_another_errand_says_nothing_of_this_file(
    h5ad: Path, ours: scout.Scout, tmp_path: Path
) -> None:
    other = tmp_path / "other.h5ad"
    other.write_bytes(h5ad.read_bytes())
    ours.look_ahead(other, None, (Task.OPEN,))
    process = ours._process
    assert process is not None
    process.kill()
    ours._ready = True  # it ends in the midst of its errand, and not as it starts
    ours.require(h5ad, None, Task.OPEN)
    assert ours._process is not process


def test_a_scout_that_nobody_waits_for_is_ended(h5ad: Path, ours: scout.Scout) -> None:
    ours.look_ahead(h5ad, None, (Task.OPEN, Task.NAMES))
    ours.let_go()
    assert ours._process is None
    ours.require(h5ad, None, Task.OPEN)
    ours.let_go()
    assert ours._process is not None


def test_a_file_that_is_not_there_is_not_looked_at_ahead(tmp_path: Path, ours: scout.Scout) -> None:
    ours.look_ahead(tmp_path / "none.h5ad", None, (Task.OPEN,))
    ours.look_ahead(tmp_path, None, (Task.OPEN,))
    assert not ours._sent


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory, small_study: SmallStudy) -> list[bytes]:
    folder = tmp_path_factory.mktemp("small")
    adata = small_study.adata()[:40].copy()
    files = []
    for name, matrix, compression in (
        ("csr", adata.X, "gzip"),
        ("csc", adata.X.tocsc(), "lzf"),
        ("dense", adata.X.toarray(), None),
    ):
        adata.X = matrix
        adata.write_h5ad(folder / name, compression=compression)
        files.append((folder / name).read_bytes())
    return files


@given(data=st.data())
@settings(
    max_examples=60,
    derandomize=True,  # a mutation that hangs the library costs seconds: the set is fixed, and was tried
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_mutated_bytes_are_read_or_named(tmp_path: Path, small_files: list[bytes], data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(small_files)))
    edits = st.tuples(
        st.integers(0, len(content) - 1), st.sampled_from([b"\x00", b"\xff", b"\x80", b"\x01" * 8, b"\xff" * 16])
    )
    for at, patch in data.draw(st.lists(edits, min_size=1, max_size=4)):
        content[at : at + len(patch)] = patch
    path = tmp_path / "a.h5ad"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_scout_that_does_not_start_says_nothing_of_the_file(
    h5ad: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", str(broken))
        scout.SCOUT.close()
        with pytest.raises(InternalError, match="ended with code 3"), open_cells(h5ad):
            pass
    with open_cells(h5ad) as source:
        assert source.n_cells > 0
