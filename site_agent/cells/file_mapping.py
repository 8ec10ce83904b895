"""One file mapped, summarised and written: the work of ``map_command``, which sets the scout to the file first.

Beside the mapping, in a thread, the cells' names are checked, read and kept on disk, and what writes is loaded.
Names that repeat end the run at the first block after that was found, and before anything is written.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocol.cell_limits import DEFAULT_LIMITS, CellLimits
from shared.runtime.files import appearing_whole
from site_agent.cells.allocation import give_back_memory
from site_agent.cells.annotation import annotate_file
from site_agent.cells.cell_source import CellSource
from site_agent.cells.diagnostics import diagnose
from site_agent.cells.lot_mapping import diagnosed_of_one_lot, summarise_lot
from site_agent.cells.map_command import read_atlas
from site_agent.cells.mapping import Progress, map_source
from site_agent.cells.mapping_files import SUMMARY_FILE, keep_names, write_mapping
from site_agent.cells.mapping_summary import MappingSummary, summary_of
from site_agent.cells.reading import open_cells

if TYPE_CHECKING:
    from site_agent.cells.lots import CellFilter


def map_scouted_file(
    cells: Path,
    atlas: Path,
    out: Path,
    *,
    where: "Sequence[CellFilter]",
    layer: str | None,
    limits: CellLimits | None,
    annotate: bool,
    threads: int | None,
    progress: Progress | None,
) -> MappingSummary:
    """Do what ``map_command.map_file`` says."""
    used = limits or DEFAULT_LIMITS
    reference, digest = read_atlas(atlas)
    with appearing_whole(out, replaces=SUMMARY_FILE) as folder:
        with open_cells(cells, layer) as source:
            rows = source.rows_where([(each.column, each.value) for each in where])
            give_back_memory()  # of opening
            with _beside(partial(_keep_names, folder, source, rows)) as names:
                mapping = map_source(
                    source,
                    reference,
                    rows=rows,
                    latent_rows=diagnosed_of_one_lot(source.n_cells, rows),
                    threads=threads,
                    progress=partial(_moved, names, progress),
                )
                names.result()
            if mapping.rows is not None and (rows is None or mapping.n_cells != np.count_nonzero(rows)):
                keep_names(folder, mapping.rows, source.n_cells, source.cell_names)  # control wells were left out
            give_back_memory()  # of the blocks
            lot = summarise_lot(mapping, used)
            found = diagnose(reference, lot)
            summary = summary_of(lot, found, used, atlas_sha256=digest, where=tuple(map(str, where)))
            mapping = mapping.without_quality()
            lot = replace(lot, mapping=mapping)
            write_mapping(folder, lot, summary)
        if annotate:
            annotate_file(cells, mapping)
    return summary


def _keep_names(folder: Path, source: CellSource, rows: NDArray[np.bool_] | None) -> None:
    """Keep the names of the cells to map for writing, after making sure that they are distinct."""
    source.require_distinct_cells()
    chosen = None if rows is None else np.flatnonzero(rows)
    keep_names(folder, chosen, source.n_cells, source.cell_names)


@contextmanager
def _beside(work: Callable[[], None]) -> Iterator[Future[None]]:
    """Do ``work`` in a thread while the block runs; the block ends after it."""
    with ThreadPoolExecutor(1, thread_name_prefix="crosslot-names") as pool:
        yield pool.submit(work)


def _moved(names: Future[None], progress: Progress | None, done: int, n: int) -> None:
    """Pass progress on; raise what was found in the names at the first block after it was found."""
    if names.done():
        names.result()
    if progress is not None:
        progress(done, n)
