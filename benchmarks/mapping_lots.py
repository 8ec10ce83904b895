"""Synthetic lots of any size, for measuring speed: a tile of 2,000 cells is drawn once and repeated.

33,538 genes and 3,042 stored values a cell on average. A repeated chunk is compressed once and copied, so that a lot of
a million cells is made in a minute; the file is as long, and is read as long, as if all its cells differed.
"""

# ruff: noqa: PLC0415 - a measuring process loads what it measures, and nothing else

from pathlib import Path
from typing import Any

import numpy as np

N_GENES, VALUES_PER_CELL, CELLS_PER_TILE = 33_538, 3_042, 2_000
CHUNK_ITEMS = VALUES_PER_CELL * CELLS_PER_TILE // 400  # a tile is a whole number of chunks, so each is packed once
N_KINDS = 12
STORAGES: dict[str, dict[str, Any]] = {
    "gzip": {"compression": "gzip", "compression_opts": 4},
    "uncompressed": {},
    "lzf": {"compression": "lzf"},
    "zstd": {"compression": 32_015, "compression_opts": (3,)},
    "gzip+shuffle": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
}


def make_tile(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return lengths, indices, data and kinds of 2,000 cells whose kinds differ in every gene's rate."""
    rng = np.random.default_rng(seed)
    base = rng.gamma(0.25, 1.0, N_GENES)
    kinds = rng.integers(0, N_KINDS, CELLS_PER_TILE)
    tilts = rng.lognormal(0.0, 0.5, (N_KINDS, N_GENES))
    lengths = np.clip(rng.normal(VALUES_PER_CELL, 600, CELLS_PER_TILE), 800, 6_000).astype(np.int64)
    missing = VALUES_PER_CELL * CELLS_PER_TILE - int(lengths.sum())  # a tile has a round number of values
    lengths += missing // CELLS_PER_TILE
    lengths[: missing % CELLS_PER_TILE] += 1
    indices = np.empty(lengths.sum(), dtype=np.int32)
    data = np.empty(lengths.sum(), dtype=np.float32)
    at = 0
    for cell, length in enumerate(lengths.tolist()):
        # The most pressing genes of a cell, by exponential races: a draw without replacement in proportion to rates.
        keys = rng.exponential(1.0, N_GENES) / (base * tilts[kinds[cell]] + 1e-9)
        chosen = np.sort(np.argpartition(keys, length)[:length])
        indices[at : at + length] = chosen
        data[at : at + length] = 1 + rng.poisson(np.minimum(2.0 * base[chosen], 50.0))
        at += length
    return lengths, indices, data, kinds


def make_lot(path: Path, tile: tuple[np.ndarray, ...], n_cells: int, options: dict[str, Any]) -> None:
    """Write an h5ad of ``n_cells`` by repeating the tile; the file is as long as if all cells differed."""
    import h5py
    import hdf5plugin  # noqa: F401 - registers zstd

    lengths, indices, data, _kinds = tile
    n_tiles = -(-n_cells // CELLS_PER_TILE)
    n_values = n_tiles * len(data)
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = np.array([n_tiles * CELLS_PER_TILE, N_GENES])
        group["indptr"] = np.concatenate(([0], np.cumsum(np.tile(lengths, n_tiles))))
        for name, values in (("data", data), ("indices", indices)):
            chunks = (CHUNK_ITEMS,) if options else None
            dataset = group.create_dataset(name, shape=(n_values,), dtype=values.dtype, chunks=chunks, **options)
            if dataset.chunks is None:
                for t in range(n_tiles):
                    dataset[t * len(values) : (t + 1) * len(values)] = values
            else:
                _write_chunks(dataset, values, n_values)
        for name, size, prefix in (("obs", n_tiles * CELLS_PER_TILE, "cell"), ("var", N_GENES, "GENE")):
            frame = file.create_group(name)
            frame.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
            frame.attrs["column-order"] = np.array([], dtype=h5py.string_dtype())
            frame.create_dataset("_index", data=[f"{prefix}{i}" for i in range(size)], compression="gzip")


def _write_chunks(dataset: Any, values: np.ndarray, n_values: int) -> None:  # noqa: ANN401 - h5py ships no types
    """Write chunk by chunk; a chunk that begins at the same place of the tile is compressed once and copied."""
    per = dataset.chunks[0]
    ring = np.concatenate((values, values[:per]))
    known: dict[int, int] = {}
    for number in range(-(-n_values // per)):
        begin = number * per
        whole = begin + per <= n_values
        place = begin % len(values)
        if whole and place in known:
            mask, raw = dataset.id.read_direct_chunk((known[place] * per,))
            dataset.id.write_direct_chunk((begin,), raw, mask)
        else:
            dataset[begin : min(begin + per, n_values)] = ring[place : place + min(per, n_values - begin)]
            known[place] = number


def make_atlas(path: Path, tile: tuple[np.ndarray, ...]) -> None:
    """Fit an atlas of the tile's kinds and write it."""
    import scipy.sparse as sp

    from shared.atlas.artefact import to_bytes
    from shared.atlas.fit import Origin, fit_atlas

    lengths, indices, data, kinds = tile
    matrix = sp.csr_matrix((data, indices, np.concatenate(([0], np.cumsum(lengths)))), shape=(len(lengths), N_GENES))
    lots = [f"lot{i % 3}" for i in range(len(lengths))]
    names = [f"kind {kind}" for kind in kinds]
    symbols = [f"GENE{i}" for i in range(N_GENES)]
    atlas = fit_atlas(matrix, names, lots, gene_ids=None, gene_symbols=symbols, origin=Origin(name="speed"), seed=1)
    path.write_bytes(to_bytes(atlas))


def make_reference(path: Path, tile: tuple[np.ndarray, ...]) -> None:
    """Write the tile's cells with their kinds and lots, as symphonypy takes a reference."""
    import anndata as ad
    import pandas as pd
    import scipy.sparse as sp

    lengths, indices, data, kinds = tile
    matrix = sp.csr_matrix((data, indices, np.concatenate(([0], np.cumsum(lengths)))), shape=(len(lengths), N_GENES))
    labels, lots = [f"kind {kind}" for kind in kinds], [f"lot{i % 3}" for i in range(len(lengths))]
    obs = pd.DataFrame({"label": labels, "lot": lots}, index=[f"reference{i}" for i in range(len(lengths))])
    ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=[f"GENE{i}" for i in range(N_GENES)])).write_h5ad(path)
