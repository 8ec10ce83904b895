"""The folds of real data on which mapping is measured, and work on them in two processes.

Heart (2 donors, 7 samples, 12 types): each sample left out in turn, and donor 2 as the reference of donor 3. Blood
(8 donors, 13 types, each donor with a control and a stimulated aliquot): each donor's control left out of the controls,
and the controls as the reference of the stimulated aliquots. In the folds named with ``->`` the lots are of another
donor or state than the whole reference; no method that learns from lots promises to reach them.

Each process reads a data set once, and linear algebra has one thread there: two processes with a thread each take half
the processor time of one with two, and no figure depends on how many threads a machine has.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import anndata
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.genes import match_genes
from shared.atlas.kernel import MappedBlock, map_block, prepare
from shared.atlas.model import FitParameters

ROOT: Final = Path(__file__).resolve().parents[1]
SEED: Final = 1
FILES: Final = {"heart": "heart_scf.h5ad", "blood": "kang_ifnb.h5ad"}
_THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Names = NDArray[np.str_]
Mask = NDArray[np.bool_]
Task = TypeVar("Task")
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Fold:
    """Reference cells and cells to map, of one data set."""

    name: str  # the data set, and what is mapped
    cells: Any  # AnnData; counts are CSR
    labels: Names
    lots: Names
    reference: Mask
    query: Mask

    @property
    def data_set(self) -> str:
        """The first word of the name."""
        return self.name.split(maxsplit=1)[0]

    @property
    def is_shifted(self) -> bool:
        """Whether the lots are of another donor or state than the whole reference."""
        return "->" in self.name

    def without(self, label: str) -> "Fold":
        """Return the fold with a class left out of the reference."""
        return replace(self, reference=self.reference & (self.labels != label))


@lru_cache(maxsize=2)
def folds_of(data_set: str, folder: Path) -> tuple[Fold, ...]:
    """Return the folds of a data set, which is read once a process."""
    cells = anndata.read_h5ad(folder / FILES[data_set])
    cells.X = sp.csr_matrix(cells.X)
    labels, lots, donors, conditions = (
        np.asarray(cells.obs[column].astype(str), dtype=str) for column in ("cell_type", "sample", "donor", "condition")
    )
    found: list[Fold] = []
    if data_set == "heart":
        found += [Fold(f"heart {lot}", cells, labels, lots, lots != lot, lots == lot) for lot in np.unique(lots)]
        found.append(Fold("heart 2->3", cells, labels, lots, donors == "2", donors == "3"))
    else:
        control = conditions == "ctrl"
        for donor in np.unique(donors):
            out = donors == donor
            found.append(Fold(f"blood {donor}", cells, labels, lots, control & ~out, control & out))
        found.append(Fold("blood ctrl->stim", cells, labels, lots, control, ~control))
    return tuple(found)


def fold_named(name: str, folder: Path) -> Fold:
    """Return one fold."""
    return next(fold for fold in folds_of(name.split(maxsplit=1)[0], folder) if fold.name == name)


def build(fold: Fold, parameters: FitParameters | None = None) -> Atlas:
    """Return the atlas of the fold's reference, as the product builds it."""
    return fit_atlas(
        fold.cells.X[fold.reference],
        fold.labels[fold.reference].tolist(),
        fold.lots[fold.reference].tolist(),
        gene_ids=None,
        gene_symbols=fold.cells.var_names.astype(str).tolist(),
        origin=Origin(name="benchmark"),
        seed=SEED,
        parameters=parameters,
    )


def map_with(atlas: Atlas, fold: Fold, genes: NDArray[np.int64] | None = None) -> MappedBlock:
    """Map the fold's query cells, with all genes of the file or only some."""
    counts, symbols = fold.cells.X[fold.query], fold.cells.var_names.astype(str).to_numpy()
    if genes is not None:
        counts, symbols = counts[:, genes], symbols[genes]
    tables = prepare(atlas, match_genes(atlas, None, symbols.tolist()))
    return map_block(tables, counts.indptr.astype(np.int64), counts.indices, counts.data)


def is_novel(atlas: Atlas, mapped: MappedBlock) -> Mask:
    """Return which cells lie above the atlas's threshold of their best cluster."""
    novel: Mask = mapped.energy > atlas.novelty_thresholds[mapped.best]
    return novel


def in_processes(work: Callable[[Task], Found], tasks: Sequence[Task], what: str, processes: int) -> Iterator[Found]:
    """Yield what a module's function finds for each task, in order, and tell of progress on stderr.

    Parameters
    ----------
    work : callable
        Of the top of a module, as another process must find it.
    tasks : sequence
        Neighbours share a data set, so that a process reads few.
    what : str
        What a task is called in the line of progress.
    processes : int
        With 1 the work is done here, with as many threads of linear algebra as this process has.
    """
    begin = time.monotonic()

    def told(found: Iterator[Found]) -> Iterator[Found]:
        for done, each_found in enumerate(found, start=1):
            print(f"{done} of {len(tasks)} {what}, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
            yield each_found

    if processes == 1:
        yield from told(map(work, tasks))
        return
    with (
        _one_thread_each(),
        ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        yield from told(pool.map(work, tasks))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start now use one thread each: libraries read it as they load. This one is as before after."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def options(description: str | None) -> argparse.ArgumentParser:
    """Return the options that all runs on real data have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--data-sets", default=",".join(FILES), help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    return parser


def require_data(arguments: argparse.Namespace) -> list[str]:
    """Return the data sets asked for, or end the run where they are not to be had."""
    wanted = str(arguments.data_sets).split(",")
    if unknown := set(wanted) - set(FILES):
        sys.exit(f"--data-sets: expected some of {', '.join(FILES)}, found {', '.join(sorted(unknown))}")
    if missing := [FILES[name] for name in wanted if not (arguments.data / FILES[name]).is_file()]:
        sys.exit(f"{arguments.data}: expected {' and '.join(missing)}; give the folder of real data with --data")
    return wanted
