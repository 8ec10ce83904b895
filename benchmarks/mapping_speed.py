"""How fast, and in how much memory, a lot is mapped: beside h5py's own read of the same file.

    python -m benchmarks.mapping_speed [--cells 10000,100000] [--storage gzip,uncompressed] [--repeats 3] [--others]

The lots are synthetic and made in a temporary folder: 33,538 genes and 3,042 stored values a cell on average, in chunks
of 15,210 values where they are compressed: about what h5py chooses by default (14,854 for 100,000 cells). Each
measurement is a process of its own; the methods take turns, and the best of the repeats counts, since other work on the
machine only ever adds time. Files lie in the page cache.

Columns: seconds of the process from start to end, and relative to h5py's sequential read; seconds of the work alone
(loading its libraries included); processor seconds of all threads, which tell more where other work competes; peak
resident memory. With ``--others`` scanpy's ingest (mended) and symphonypy run once each: they hold the whole file.
"""

# ruff: noqa: PLC0415 - a measuring process loads what it measures, and nothing else

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.symphony import ROOT, SPEED, symphony_python

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


def read_by_h5py(file: Path, _atlas: Path) -> None:
    """Read X in order, in blocks of 2 million values, through h5py."""
    import h5py
    import hdf5plugin  # noqa: F401 - registers zstd

    with h5py.File(file) as opened:
        group = opened["X"]
        for begin in range(0, group["data"].shape[0], 2_000_000):
            group["data"][begin : begin + 2_000_000]
            group["indices"][begin : begin + 2_000_000]


def read_by_us(file: Path, _atlas: Path) -> None:
    """Read X as mapping does, in threads, and drop it."""
    from concurrent.futures import ThreadPoolExecutor

    from site_agent.cells.mapping import thread_count
    from site_agent.cells.reading import open_cells

    with open_cells(file) as source, ThreadPoolExecutor(thread_count(None)) as pool:
        for _done in pool.map(lambda span: source.matrix.read(*span).n_cells, source.spans()):
            pass


def map_by_us(file: Path, atlas: Path) -> None:
    """Map every cell and write both output files."""
    from site_agent.cells.map_command import map_file

    with tempfile.TemporaryDirectory() as folder:
        map_file(file, atlas, Path(folder) / "out")


def first_cell(file: Path, atlas: Path) -> None:
    """Map until the first block is done."""
    from site_agent.cells.map_command import read_atlas
    from site_agent.cells.scout import SCOUT

    SCOUT.start()
    from site_agent.cells.mapping import map_source
    from site_agent.cells.reading import open_cells

    reference, _ = read_atlas(atlas)
    with open_cells(file) as source:
        rows = np.zeros(source.n_cells, dtype=np.bool_)
        rows[:1] = True
        map_source(source, reference, rows=rows)


def map_by_ingest(file: Path, _atlas: Path) -> None:
    """Read and normalise by scanpy, and label by ingest's method onto 2,000 reference cells.

    scanpy's own ``ingest`` does not run with the pynndescent of the lock, and centres on the query; so components are
    the reference's and the 15 neighbours exact, as in ``mapping_accuracy.py``.
    """
    import anndata as ad
    import scanpy as sc
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    query = ad.read_h5ad(file)
    sc.pp.normalize_total(query, target_sum=1e4)
    sc.pp.log1p(query)
    reference = query[:CELLS_PER_TILE].copy()
    sc.pp.highly_variable_genes(reference, n_top_genes=2_000, subset=True)
    query = query[:, reference.var_names].copy()
    pca = PCA(50, svd_solver="arpack", random_state=0).fit(reference.X)
    kinds = np.arange(reference.n_obs) % N_KINDS  # which labels they are makes no difference to the time
    neighbours = KNeighborsClassifier(15).fit(pca.transform(reference.X), kinds)
    neighbours.predict(pca.transform(query.X))


METHODS: dict[str, Callable[[Path, Path], None]] = {
    "h5py read": read_by_h5py,
    "our read": read_by_us,
    "map": map_by_us,
    "first cell": first_cell,
    "ingest, mended": map_by_ingest,
}
SYMPHONY = "symphonypy"
OTHERS = ("ingest, mended", SYMPHONY)


def measure(method: str, file: Path, atlas: Path, symphony: Path | None) -> dict[str, float]:
    """Run one method in a process of its own and return what it took."""
    command = [sys.executable, __file__, "--measure", method, "--file", str(file), "--atlas", str(atlas)]
    if method == SYMPHONY:
        reference = atlas.with_name("reference.h5ad")
        command = [str(symphony), "-c", SPEED, str(reference), str(file), str(atlas.with_name("labels.txt"))]
    begin = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} if method != SYMPHONY else dict(os.environ)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603 - this very file, or our text
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["process"] = time.perf_counter() - begin
    return found


def run_one(method: str, file: Path, atlas: Path) -> None:
    """Do the work of a measuring process."""
    begin, cpu = time.perf_counter(), time.process_time()
    METHODS[method](file, atlas)
    seconds = time.perf_counter() - begin
    # VmHWM, not ru_maxrss: the latter survives exec, and would show the parent's peak.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "cpu": time.process_time() - cpu, "peak": peak}))


def compare(file: Path, atlas: Path, methods: list[str], repeats: int, symphony: Path | None) -> None:
    """Print one table."""
    runs: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    file.read_bytes() if file.stat().st_size < 2**31 else None  # into the page cache
    for repeat in range(repeats):
        for method in methods:
            if repeat == 0 or method not in OTHERS:
                runs[method].append(measure(method, file, atlas, symphony))
    best = {m: {key: min(run[key] for run in found) for key in found[0]} for m, found in runs.items()}
    for method, found in best.items():
        ratio = found["process"] / best["h5py read"]["process"]
        print(
            f"  {method:<14}{found['process']:>9.2f} s{ratio:>8.2f} x h5py read{found['seconds']:>9.2f} s work"
            f"{found['cpu']:>9.2f} s processor{found['peak']:>8.0f} MiB"
        )


def main() -> None:
    """Make the lots, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", default="10000,100000")
    parser.add_argument("--storage", default="gzip,uncompressed", help=", ".join(STORAGES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--others", action="store_true", help="ingest and symphonypy too, which hold the whole file")
    parser.add_argument("--measure", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--atlas", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        run_one(arguments.measure, arguments.file, arguments.atlas)
        return
    symphony = symphony_python() if arguments.others else None
    if arguments.others and symphony is None:
        print("symphonypy could not be installed: left out")
    methods = ["h5py read", "our read", "map", "first cell"]
    methods += [each for each in OTHERS if arguments.others and (each != SYMPHONY or symphony is not None)]
    with tempfile.TemporaryDirectory(prefix="crosslot-speed-") as folder:
        tile = make_tile(seed=5)
        atlas = Path(folder) / "speed.atlas"
        make_atlas(atlas, tile)
        make_reference(atlas.with_name("reference.h5ad"), tile)
        for n_cells in (int(text) for text in arguments.cells.split(",")):
            for storage in arguments.storage.split(","):
                file = Path(folder) / "lot.h5ad"
                make_lot(file, tile, n_cells, STORAGES[storage])
                print(f"{n_cells:,} cells, {storage}, {file.stat().st_size / 2**20:,.0f} MiB, {os.cpu_count()} cores")
                compare(file, atlas, methods, arguments.repeats, symphony)
                file.unlink()


if __name__ == "__main__":
    main()
