"""One-dimensional HDF5 datasets, read by many threads at once.

The HDF5 library reads one call at a time. Where a dataset's bytes lie open (contiguous, or in chunks whose filters we
can undo), they are read by position and decoded in the calling thread; everything else goes through the library.

Rules:

1. Nothing is allocated by a size that the file merely claims: chunks are bounded, and all of them must exist.
2. ``read`` is safe from any thread and gives the same values by either way.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.bounds import MAXIMUM_CHUNK_BYTES, MAXIMUM_TEXT_BYTES, damaged, naming_damage
from site_agent.cells.decoders import Codecs, codecs_for
from site_agent.cells.file_vectors import Chunks, FileVector

Array = NDArray[Any]

_FIRST_PLUGIN_FILTER = 256

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
            return FileVector(descriptor, int(dataset.shape[0]), dataset.dtype, path, part, offset=int(offset))
        codecs = codecs_for(_filter_codes(dataset))
        if codecs is None:
            return library
        chunks = _chunks_of(dataset, path, part, descriptor, codecs)
        return FileVector(descriptor, int(dataset.shape[0]), dataset.dtype, path, part, chunks=chunks)


def _filter_codes(dataset: Any) -> list[int]:  # noqa: ANN401 - h5py ships no types
    properties = dataset.id.get_create_plist()
    return [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]


def _require_all_chunks(dataset: Any, path: Path, part: str) -> None:  # noqa: ANN401 - h5py ships no types
    """Raise unless every chunk exists: absent ones read as zeros, so a tiny file could claim any size."""
    expected = -(-int(dataset.shape[0]) // int(dataset.chunks[0]))
    found = int(dataset.id.get_num_chunks())
    if found != expected:
        raise damaged(path, part, f"expected {expected:,} chunks, found {found:,}")


def _chunks_of(dataset: Any, path: Path, part: str, descriptor: int, codecs: Codecs) -> Chunks:  # noqa: ANN401 - h5py ships no types
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
    return Chunks(per, offsets, sizes, masks, tuple(_filter_codes(dataset)), codecs)


def _hold_little_metadata(file: Any) -> None:  # noqa: ANN401 - h5py ships no types
    """Let the library keep a megabyte of a file's inner tables: those of all chunks are walked once, and fill 20 MB."""
    config = file.id.get_mdc_config()
    config.set_initial_size = True
    config.initial_size = config.min_size = _METADATA_BYTES // 4
    config.max_size = _METADATA_BYTES
    file.id.set_mdc_config(config)
