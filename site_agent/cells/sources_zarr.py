"""Cells of an AnnData that was written as zarr (format 2 or 3)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.anndata_layout import open_anndata
from site_agent.cells.bounds import MAXIMUM_CHUNK_BYTES, damaged, naming_damage
from site_agent.cells.cell_source import CellSource
from site_agent.cells.chunks import LibraryVector, Vector
from site_agent.cells.frames import child
from site_agent.cells.matrices import DenseRows


def open_zarr(path: Path, layer: str | None = None) -> CellSource:
    """Return the cells of a zarr folder.

    Raises
    ------
    InputError
        It is no AnnData, is damaged, or breaks a bound.
    """
    import zarr  # noqa: PLC0415 - slow to import, and only for this format

    with naming_damage(path, "the zarr store"):
        root = zarr.open_group(str(path), mode="r")
    return open_anndata(path, root, layer, ZarrStore(path), ())


class ZarrStore:
    """Opens the vectors and dense matrices of one zarr store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def vector(self, group: Any, name: str, part: str) -> Vector:  # noqa: ANN401 - h5py and zarr ship no common type
        """Return the vector ``group[name]``."""
        dataset = self._checked(child(group, name, self._path, part), part, 1)
        return LibraryVector(dataset, self._path, part)

    def dense(self, dataset: Any, part: str) -> DenseRows:  # noqa: ANN401 - h5py and zarr ship no common type
        """Return a two-dimensional array as rows."""
        path = self._path
        self._checked(dataset, part, 2)

        def slab(start: int, stop: int) -> NDArray[Any]:
            with naming_damage(path, part):
                return np.asarray(dataset[start:stop])

        shape = (int(dataset.shape[0]), int(dataset.shape[1]))
        return DenseRows(path, part, shape, slab, dataset.dtype.itemsize, int(dataset.chunks[0]))

    def _checked(self, dataset: Any, part: str, dimensions: int) -> Any:  # noqa: ANN401 - zarr's types are not read here
        with naming_damage(self._path, part):
            if len(dataset.shape) != dimensions or dataset.dtype.kind not in "biuf":
                raise damaged(self._path, part, f"expected numbers, found shape {dataset.shape} of {dataset.dtype}")
            shard = getattr(dataset, "shards", None) or dataset.chunks
            n_bytes = int(np.prod(shard, dtype=object)) * dataset.dtype.itemsize
            if n_bytes > MAXIMUM_CHUNK_BYTES:
                raise InputError(
                    f"{self._path}: {part} is stored in chunks of {n_bytes / 2**20:,.0f} MiB; "
                    f"expected at most {MAXIMUM_CHUNK_BYTES // 2**20}",
                    hint="write it again with smaller chunks",
                )
            present = int(dataset.nchunks_initialized) if dimensions == 1 else -1
            expected = int(
                np.prod([-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)], dtype=object)
            )
            if present not in {-1, expected} and not getattr(dataset, "shards", None):
                raise damaged(self._path, part, f"expected {expected:,} chunks, found {present:,}")
        return dataset
