"""Cells of an HDF5 file: AnnData's ``.h5ad`` directly, 10x's ``.h5`` by its own layout.

The file is read by h5py alone: importing anndata would cost more time than mapping a lot. The encodings are those of
anndata's on-disk format 0.1 and 0.2, and of the h5sparse groups before them.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.anndata_layout import open_anndata
from site_agent.cells.bounds import damaged, naming_damage
from site_agent.cells.cell_source import CellSource
from site_agent.cells.chunks import Vector, checked_dataset, open_vector
from site_agent.cells.frames import child
from site_agent.cells.matrices import DenseRows


def open_hdf5(path: Path, layer: str | None = None) -> CellSource:
    """Return the cells of an ``.h5ad`` or of a 10x ``.h5``.

    Raises
    ------
    InputError
        Truncated, damaged, neither format, or breaking a bound.
    """
    import h5py  # noqa: PLC0415 - only where an HDF5 file is opened

    try:
        file = h5py.File(path, "r", locking="best-effort")
    except _OPENING_FAULTS as error:
        if "truncated" in str(error):
            hint = "the copy was cut short: copy it again from its source"
            raise InputError(f"{path}: the HDF5 file is truncated", hint=hint) from error
        raise damaged(path, "the HDF5 file", str(error).splitlines()[0][:200]) from error
    descriptor = os.open(path, os.O_RDONLY)

    def close() -> None:
        file.close()
        os.close(descriptor)

    try:
        store = Hdf5Store(path, descriptor)
        with naming_damage(path, "the HDF5 file"):
            is_anndata = "obs" in file and "var" in file
        if is_anndata:
            return open_anndata(path, file, layer, store, (close,))
        from site_agent.cells.sources_10x import open_10x_hdf5  # noqa: PLC0415 - loaded where it is needed

        return open_10x_hdf5(path, file, layer, store, (close,))
    except BaseException:
        close()
        raise


_OPENING_FAULTS = (OSError, RuntimeError, ValueError, KeyError, MemoryError)


class Hdf5Store:
    """Opens the vectors and dense matrices of one HDF5 file.

    Parameters
    ----------
    path : Path
        For messages.
    descriptor : int
        An open file descriptor, for reading past the HDF5 library.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor

    def vector(self, group: Any, name: str, part: str) -> Vector:  # noqa: ANN401 - h5py ships no types
        """Return the vector ``group[name]``."""
        dataset = child(group, name, self._path, part)
        return open_vector(dataset, self._path, part, self._descriptor)

    def dense(self, dataset: Any, part: str) -> DenseRows:  # noqa: ANN401 - h5py ships no types
        """Return a two-dimensional dataset as rows."""
        path = self._path
        checked_dataset(dataset, path, part)
        with naming_damage(path, part):
            if len(dataset.shape) != 2 or dataset.dtype.kind not in "biuf":  # noqa: PLR2004 - cells by genes
                raise damaged(path, part, f"expected cells by genes, found shape {dataset.shape} of {dataset.dtype}")
            chunks = dataset.chunks
            if chunks is not None:
                expected = int(np.prod([-(-n // c) for n, c in zip(dataset.shape, chunks, strict=True)], dtype=object))
                if int(dataset.id.get_num_chunks()) != expected:
                    raise damaged(path, part, f"expected {expected:,} chunks, found {dataset.id.get_num_chunks():,}")
            elif dataset.id.get_storage_size() < int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize:
                raise damaged(path, part, "its values were never written")
        shape = (int(dataset.shape[0]), int(dataset.shape[1]))

        def slab(start: int, stop: int) -> NDArray[Any]:
            with naming_damage(path, part):
                return np.asarray(dataset[start:stop])

        return DenseRows(path, part, shape, slab, dataset.dtype.itemsize, 1 if chunks is None else int(chunks[0]))
