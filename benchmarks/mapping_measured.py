"""One way of reading or mapping a lot, alone in its process: what ``mapping_speed`` starts and times.

    python benchmarks/mapping_measured.py METHOD FILE ATLAS

Nothing is imported before the method's own imports but what the interpreter has anyway. Prints a line of JSON: seconds
of the work, peak resident memory in MiB of this process, and of those that it has started.
"""

# ruff: noqa: PLC0415 - a measuring process loads what it measures, and nothing else

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


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
    from site_agent.cells.scout import SCOUT
    from site_agent.cells.scouting import Task

    SCOUT.look_ahead(file, None, (Task.OPEN,))
    import numpy as np

    from site_agent.cells.map_command import read_atlas
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
    import numpy as np
    import scanpy as sc
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    from benchmarks.mapping_lots import CELLS_PER_TILE, N_KINDS

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


def run_one(method: str, file: Path, atlas: Path) -> None:
    """Do the work of a measuring process."""
    begin = time.perf_counter()
    METHODS[method](file, atlas)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "peak": _peak("self"), "beside": sum(map(_peak, _children()))}))


def _children() -> list[str]:
    """Return the processes that this one's threads started and that still run."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended since
            found += (task / "children").read_text(encoding="ascii").split()
    return found


def _peak(process: str) -> float:
    """Return the peak of a process in MiB."""
    # VmHWM, not ru_maxrss: the latter survives exec, and would show the parent's peak.
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    run_one(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
