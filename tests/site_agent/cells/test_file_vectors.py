"""Vectors read past the HDF5 library: the same items as through it, and damage named, never a wrong item."""

import os
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.errors import InputError, InternalError
from site_agent.cells import decoders
from site_agent.cells.chunks import LibraryVector, Vector, open_vector
from site_agent.cells.file_vectors import FileVector

PIPELINES: dict[str, dict[str, Any]] = {
    "one run": {},
    "chunks": {"chunks": True},
    "gzip": {"compression": "gzip"},
    "gzip, shuffled": {"compression": "gzip", "shuffle": True},
    "shuffled": {"shuffle": True},
    "lzf": {"compression": "lzf"},
    "lzf, shuffled": {"compression": "lzf", "shuffle": True},
    "zstd": dict(hdf5plugin.Zstd()),
    "zstd, shuffled": {**hdf5plugin.Zstd(), "shuffle": True},
}
KINDS = ("i4", "i8", "u2", "f4", "f8", "u1")


@contextmanager
def opened(path: Path) -> Iterator[Vector]:
    descriptor = os.open(path, os.O_RDONLY)
    with h5py.File(path) as file:
        yield open_vector(file["vector"], path, "vector", descriptor)
    os.close(descriptor)


def write(path: Path, values: NDArray[Any], pipeline: str, per: int) -> NDArray[Any]:
    options = dict(PIPELINES[pipeline])
    if options:
        options["chunks"] = (min(per, values.size),)
    with h5py.File(path, "w") as file:
        file.create_dataset("vector", data=values, **options)
    return values


def counts(n: int, kind: str) -> NDArray[Any]:
    return np.random.default_rng(n).poisson(3.0, n).astype(kind)


@pytest.mark.parametrize("pipeline", PIPELINES)
@given(n=st.integers(1, 3_000), per=st.integers(1, 700), kind=st.sampled_from(KINDS), data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_part_of_any_vector_is_what_the_library_reads(
    tmp_path: Path, pipeline: str, n: int, per: int, kind: str, data: st.DataObject
) -> None:
    values = write(tmp_path / "a.h5", counts(n, kind), pipeline, per)
    with opened(tmp_path / "a.h5") as vector:
        assert isinstance(vector, FileVector)
        for _part in range(4):
            start = data.draw(st.integers(0, n))
            stop = data.draw(st.integers(start, n))
            found = vector.read(start, stop)
            assert found.dtype == values.dtype
            assert np.array_equal(found, values[start:stop])


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_threads_read_one_vector_at_once(tmp_path: Path, pipeline: str) -> None:
    values = write(tmp_path / "a.h5", counts(50_000, "f4"), pipeline, 999)
    parts = [(start, min(start + 1_234, values.size)) for start in range(0, values.size, 1_234)]
    with opened(tmp_path / "a.h5") as vector, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: vector.read(*part), parts * 3))
    assert all(np.array_equal(each, values[slice(*part)]) for each, part in zip(found, parts * 3, strict=True))


@pytest.mark.parametrize("skipped", [0b01, 0b10, 0b11])
def test_a_chunk_that_skipped_filters_is_read_as_the_library_reads_it(tmp_path: Path, skipped: int) -> None:
    values = write(tmp_path / "a.h5", counts(300, "i4"), "gzip, shuffled", 100)  # filter 0 shuffles, filter 1 deflates
    plain = values[100:200].tobytes()
    planes = values[100:200].view("u1").reshape(100, 4).T.tobytes()
    stored = {0b01: zlib.compress(plain), 0b10: planes, 0b11: plain}[skipped]
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["vector"].id.write_direct_chunk((100,), stored, skipped)
        assert np.array_equal(file["vector"][:], values)
    with opened(tmp_path / "a.h5") as vector:
        assert isinstance(vector, FileVector)
        assert np.array_equal(vector.read(50, 250), values[50:250])


@pytest.mark.parametrize("options", [{"compression": "gzip", "fletcher32": True}, {"scaleoffset": 0}])
def test_a_filter_that_is_not_ours_is_left_to_the_library(tmp_path: Path, options: dict[str, Any]) -> None:
    values = counts(300, "i4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("vector", data=values, chunks=(50,), **options)
    with opened(tmp_path / "a.h5") as vector:
        assert isinstance(vector, LibraryVector)
        assert np.array_equal(vector.read(10, 290), values[10:290])


@pytest.mark.parametrize(
    ("codes", "known"), [([1], True), ([2, 1], True), ([1, 1], False), ([1, 2, 1], False), ([3], False)]
)
def test_which_pipelines_are_undone_here(codes: list[int], known: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert (decoders.codecs_for(codes) is not None) is known


@pytest.mark.parametrize("name", ["libdeflate_zlib_decompress", "ZSTD_decompress"])
def test_a_library_that_hides_its_functions_is_left_to_hdf5(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    code = decoders.DEFLATE if name.startswith("lib") else decoders.ZSTD
    assert decoders.codecs_for([code]) is not None
    decoders._inflating.cache_clear()
    decoders._unpacking_zstd.cache_clear()
    monkeypatch.setattr(decoders, "_functions", lambda _path, _names: None)
    assert decoders.codecs_for([code]) is None
    monkeypatch.undo()
    decoders._inflating.cache_clear()
    decoders._unpacking_zstd.cache_clear()


def test_a_wheel_that_is_built_otherwise_is_left_to_hdf5(monkeypatch: pytest.MonkeyPatch) -> None:
    decoders._inflating.cache_clear()
    monkeypatch.setitem(sys.modules, "deflate._deflate", None)
    assert decoders.codecs_for([decoders.DEFLATE]) is None
    decoders._inflating.cache_clear()


@pytest.mark.parametrize("pipeline", ["gzip", "gzip, shuffled", "lzf", "zstd"])
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_chunk_is_named_or_decodes_to_as_many_bytes(
    tmp_path: Path, pipeline: str, data: st.DataObject
) -> None:
    path = tmp_path / "a.h5"
    values = write(path, counts(400, "i4"), pipeline, 100)
    with h5py.File(path, "r+") as file:
        _mask, stored = file["vector"].id.read_direct_chunk((100,))
        damaged = bytearray(stored)
        for _change in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.one_of(st.just(len(damaged)), st.integers(1, len(damaged))))
        file["vector"].id.write_direct_chunk((100,), bytes(damaged[:cut]))
    with opened(path) as vector:
        try:
            found = vector.read(0, 400)
        except InputError:
            with pytest.raises(InputError, match="chunk 1 does not decode to 400 bytes"):
                vector.read(100, 200)
        else:
            assert found.size == values.size
            assert np.array_equal(found[:100], values[:100])
            assert np.array_equal(found[200:], values[200:])
            if pipeline.startswith("gzip"):  # which carries a checksum
                assert np.array_equal(found, values)


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, counts(40_000, "f4"), "one run", 0)
    with opened(path) as vector:
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(InputError, match="the file ends before its data"):
            vector.read(0, 40_000)


def test_a_part_beyond_the_vector_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", counts(10, "f4"), "one run", 0)
    with opened(tmp_path / "a.h5") as vector:
        assert vector.read(3, 3).size == 0
        for start, stop in ((-1, 3), (3, 11), (5, 4)):
            with pytest.raises(InternalError):
                vector.read(start, stop)


def test_what_the_system_says_of_a_read_that_fails_is_passed_on(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", counts(10, "f4"), "one run", 0)
    with opened(tmp_path / "a.h5") as vector:
        assert isinstance(vector, FileVector)
        closed = replace(vector, descriptor=-1)
        with pytest.raises(InputError, match="cannot be read: Bad file descriptor"):
            closed.read(0, 10)
