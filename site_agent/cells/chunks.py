"""One-dimensional HDF5 datasets, read by many threads at once.

The HDF5 library reads one call at a time. Where a dataset's bytes lie open (contiguous, or in chunks whose filters we
can undo), they are read by position and decoded in the calling thread; everything else goes through the library.

Rules:

1. Nothing is allocated by a size that the file merely claims: chunks are bounded, and all of them must exist.
2. ``read`` is safe from any thread and gives the same values by either way.
"""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.bounds import MAXIMUM_CHUNK_BYTES, MAXIMUM_TEXT_BYTES, damaged, naming_damage
from site_agent.cells.decoders import Bytes, Step, decode_chunk, decoding_steps

Array = NDArray[Any]

_FIRST_PLUGIN_FILTER = 256
_EDGE_BYTES = 16 * 2**20
_MAXIMUM_EDGES = 16
"""Decoded chunks kept for the neighbours of running blocks, by number and by size."""

_METADATA_BYTES = 2**20


class Vector(Protocol):
    """A one-dimensional array in a file."""

    @property
    def size(self) -> int:
        """Number of items."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the items."""
        ...

    def read(self, start: int, stop: int) -> Array:
        """Return the items of ``start..stop``, from any thread."""
        ...


@dataclass(frozen=True, eq=False)
class LibraryVector:
    """A vector that its own library reads: h5py or zarr, by slicing."""

    dataset: Any
    path: Path
    part: str

    @property
    def size(self) -> int:
        """Number of items."""
        return int(self.dataset.shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the items."""
        dtype: np.dtype[Any] = np.dtype(self.dataset.dtype)
        return dtype

    def read(self, start: int, stop: int) -> Array:
        """Return the items of ``start..stop``."""
        with naming_damage(self.path, self.part):
            return np.asarray(self.dataset[start:stop])


@dataclass(frozen=True, eq=False)
class ContiguousVector:
    """A vector whose bytes lie in one run of the file."""

    descriptor: int
    offset: int
    size: int
    dtype: np.dtype[Any]
    path: Path
    part: str

    def read(self, start: int, stop: int) -> Array:
        """Return the items of ``start..stop``."""
        out = np.empty(stop - start, dtype=self.dtype)
        _read_into(self.descriptor, out.view(np.uint8), self.offset + start * self.dtype.itemsize, self.path, self.part)
        return out


class _EdgeChunk:
    """A chunk that neighbouring blocks share: the first to ask decodes it, the others wait for that."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: Array | None = None


@dataclass(frozen=True, eq=False)
class ChunkedVector:
    """A vector in chunks that are decoded here.

    Attributes
    ----------
    offsets, sizes, masks : ndarray, ``(n_chunks,)``
        Where each chunk lies, its stored bytes, and which filters it skipped.
    """

    descriptor: int
    size: int
    dtype: np.dtype[Any]
    items_per_chunk: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    masks: NDArray[np.uint32]
    steps: tuple[Step, ...]
    path: Path
    part: str
    _edges: dict[int, _EdgeChunk] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, start: int, stop: int) -> Array:
        """Return the items of ``start..stop``."""
        out = np.empty(stop - start, dtype=self.dtype)
        if stop <= start:
            return out
        per, items = self.items_per_chunk, out.data.cast("B")
        n_bytes = per * self.dtype.itemsize
        for number in range(start // per, (stop - 1) // per + 1):
            first, last = max(start, number * per), min(stop, (number + 1) * per)
            if last - first == per:
                at = (first - start) * self.dtype.itemsize
                decoded = self._decoded(number)
                items[at : at + n_bytes] = decoded.data if isinstance(decoded, np.ndarray) else decoded
            else:
                out[first - start : last - start] = self._edge(number)[first - number * per : last - number * per]
        return out

    def _edge(self, number: int) -> Array:
        with self._lock:
            edge = self._edges.setdefault(number, _EdgeChunk())
            allowed = _EDGE_BYTES // (self.items_per_chunk * self.dtype.itemsize)
            while len(self._edges) > min(max(allowed, 2), _MAXIMUM_EDGES):
                self._edges.pop(next(iter(self._edges)))
        with edge.lock:
            if edge.values is None:
                edge.values = np.frombuffer(self._decoded(number), dtype=self.dtype)
            return edge.values

    def _decoded(self, number: int) -> Bytes:
        size = int(self.sizes[number])
        with naming_damage(self.path, self.part):
            stored = os.pread(self.descriptor, size, int(self.offsets[number]))
        if len(stored) != size:
            raise damaged(self.path, self.part, "the file ends before its data")
        n_bytes = self.items_per_chunk * self.dtype.itemsize
        try:
            return decode_chunk(stored, self.steps, int(self.masks[number]), n_bytes, self.dtype.itemsize)
        except ValueError as error:
            raise damaged(self.path, self.part, str(error)) from error


def checked_dataset(dataset: Any, path: Path, part: str) -> Any:  # noqa: ANN401 - h5py ships no types
    """Return an HDF5 dataset whose bytes lie in this file and whose chunks can be held.

    Raises
    ------
    InputError
        It is no dataset, its bytes lie elsewhere, or a chunk or an item is larger than the bounds.
    """
    with naming_damage(path, part):
        if not hasattr(dataset, "id") or not hasattr(dataset, "chunks"):
            raise damaged(path, part, "expected a dataset, found a group")
        if dataset.is_virtual or dataset.external:
            raise InputError(f"{path}: {part} lies in another file", hint="copy it into one file: read it, write it")
        if dataset.dtype.itemsize > MAXIMUM_TEXT_BYTES and dataset.dtype.names is None:
            message = f"expected items of at most {MAXIMUM_TEXT_BYTES} bytes, found {dataset.dtype.itemsize}"
            raise InputError(f"{path}: {part}: {message}", hint="shorten the names")
        if dataset.chunks is not None:
            n_bytes = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
            if n_bytes > MAXIMUM_CHUNK_BYTES:
                raise InputError(
                    f"{path}: {part} is stored in chunks of {n_bytes / 2**20:,.0f} MiB; "
                    f"expected at most {MAXIMUM_CHUNK_BYTES // 2**20}",
                    hint="write it again with smaller chunks: in Python, anndata's write_h5ad(compression='gzip')",
                )
            codes = _filter_codes(dataset)
            if any(code >= _FIRST_PLUGIN_FILTER for code in codes):
                import hdf5plugin  # noqa: F401, PLC0415 - registers its filters with the HDF5 library
        return dataset


def open_vector(dataset: Any, path: Path, part: str, descriptor: int | None) -> Vector:  # noqa: ANN401 - h5py ships no types
    """Return the fastest reader of a one-dimensional HDF5 dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
        The dataset.
    path, part : Path, str
        For messages.
    descriptor : int or None
        An open file descriptor for reading by position; None reads through the HDF5 library.

    Raises
    ------
    InputError
        The dataset is not one-dimensional, is not numeric, or breaks a bound.
    """
    checked_dataset(dataset, path, part)
    with naming_damage(path, part):
        if len(dataset.shape) != 1 or dataset.dtype.kind not in "biuf":
            raise damaged(path, part, f"expected one row of numbers, found shape {dataset.shape} of {dataset.dtype}")
        library = LibraryVector(dataset, path, part)
        native = dataset.dtype.isnative and dataset.dtype.kind in "iuf" and dataset.file.userblock_size == 0
        if dataset.chunks is not None:
            _require_all_chunks(dataset, path, part)
        if dataset.shape[0] == 0 or descriptor is None or not native or not hasattr(os, "preadv"):
            return library
        if dataset.chunks is None:
            offset = dataset.id.get_offset()
            if offset is None:  # compact: a few bytes within the object's header
                return library
            return ContiguousVector(descriptor, int(offset), int(dataset.shape[0]), dataset.dtype, path, part)
        steps = decoding_steps(_filter_codes(dataset))
        return library if steps is None else _chunked(dataset, path, part, descriptor, steps)


def _filter_codes(dataset: Any) -> list[int]:  # noqa: ANN401 - h5py ships no types
    properties = dataset.id.get_create_plist()
    return [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]


def _require_all_chunks(dataset: Any, path: Path, part: str) -> None:  # noqa: ANN401 - h5py ships no types
    """Raise unless every chunk exists: absent ones read as zeros, so a tiny file could claim any size."""
    expected = -(-int(dataset.shape[0]) // int(dataset.chunks[0]))
    found = int(dataset.id.get_num_chunks())
    if found != expected:
        raise damaged(path, part, f"expected {expected:,} chunks, found {found:,}")


def _chunked(dataset: Any, path: Path, part: str, descriptor: int, steps: tuple[Step, ...]) -> Vector:  # noqa: ANN401 - h5py ships no types
    per = int(dataset.chunks[0])
    n_chunks = -(-int(dataset.shape[0]) // per)
    offsets = np.full(n_chunks, -1, dtype=np.int64)
    sizes = np.zeros(n_chunks, dtype=np.int64)
    masks = np.zeros(n_chunks, dtype=np.uint32)

    def note(chunk: Any) -> None:  # noqa: ANN401 - h5py ships no types
        number = int(chunk.chunk_offset[0]) // per
        if 0 <= number < n_chunks:
            offsets[number], sizes[number], masks[number] = chunk.byte_offset, chunk.size, chunk.filter_mask

    _hold_little_metadata(dataset.file)
    dataset.id.chunk_iter(note)
    file_size = os.fstat(descriptor).st_size
    if (offsets < 0).any() or (sizes < 0).any() or (offsets + sizes > file_size).any():
        raise damaged(path, part, "a chunk lies outside the file")
    # Compression may lengthen noise a little; far beyond, the size is a lie.
    if int(sizes.max()) > per * dataset.dtype.itemsize * 2 + 4_096:
        raise damaged(path, part, f"a chunk of {per * dataset.dtype.itemsize:,} bytes is stored in {sizes.max():,}")
    return ChunkedVector(
        descriptor, int(dataset.shape[0]), dataset.dtype, per, offsets, sizes, masks, steps, path, part
    )


def _hold_little_metadata(file: Any) -> None:  # noqa: ANN401 - h5py ships no types
    """Let the library keep a megabyte of a file's inner tables: those of all chunks are walked once, and fill 20 MB."""
    config = file.id.get_mdc_config()
    config.set_initial_size = True
    config.initial_size = config.min_size = _METADATA_BYTES // 4
    config.max_size = _METADATA_BYTES
    file.id.set_mdc_config(config)


def _read_into(descriptor: int, out: NDArray[np.uint8], offset: int, path: Path, part: str) -> None:
    view = out.data
    done = 0
    with naming_damage(path, part):
        while done < len(view):  # one call reads at most 2 GiB
            count = os.preadv(descriptor, [view[done:]], offset + done)
            if count == 0:
                raise damaged(path, part, "the file ends before its data")
            done += count
