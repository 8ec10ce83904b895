"""What ``crosslot-site map`` does: one file, one atlas, one folder of results. All of it stays at the site.

The scout is started before anything else is loaded, so that both processes load at once.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from protocol.plan import QualityLimits
from shared.atlas.artefact import MAXIMUM_BYTES, Atlas, from_bytes, sha256
from shared.runtime.files import appearing_whole, read_bounded
from site_agent.cells.allocation import give_back_memory, keep_memory
from site_agent.cells.scout import SCOUT

if TYPE_CHECKING:
    from site_agent.cells.lots import CellFilter
    from site_agent.cells.mapping import Progress
    from site_agent.cells.mapping_files import MappingSummary


def read_atlas(path: Path) -> tuple[Atlas, str]:
    """Return an atlas and the SHA-256 of its bytes.

    Raises
    ------
    InputError
        The file is missing, too large, or no atlas.
    """
    data = read_bounded(path, limit=MAXIMUM_BYTES, what="an atlas")
    return from_bytes(data), sha256(data)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles still: what loading libraries makes lives on, and every pass would visit it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_uncollected()
def map_file(
    cells: Path,
    atlas: Path,
    out: Path,
    *,
    where: "Sequence[CellFilter]" = (),
    layer: str | None = None,
    limits: QualityLimits | None = None,
    annotate: bool = False,
    threads: int | None = None,
    progress: "Progress | None" = None,
) -> "MappingSummary":
    """Map one file and write ``cells.parquet`` and ``summary.json`` into ``out``, whole or not at all.

    Parameters
    ----------
    cells, atlas, out : Path
        The cells, the atlas, and a folder that is new, empty, or an earlier output of this command.
    where, layer : optional
        Which cells; which matrix.
    limits : QualityLimits, optional
        Of a study plan; by default every cell with counts remains.
    annotate : bool
        Write the result into the file's obs too, at the end.
    threads, progress : optional
        As ``map_cells``.

    Returns
    -------
    MappingSummary

    Raises
    ------
    InputError
        As ``map_cells``; ``out`` cannot be written; the file cannot be annotated.
    """
    SCOUT.start()
    keep_memory()
    from site_agent.cells.annotation import annotate_file  # noqa: PLC0415 - while the scout starts
    from site_agent.cells.diagnostics import diagnose  # noqa: PLC0415 - the same
    from site_agent.cells.lot_mapping import diagnosed_cells, summarise_lot  # noqa: PLC0415 - the same
    from site_agent.cells.mapping import map_source  # noqa: PLC0415 - the same
    from site_agent.cells.mapping_files import (  # noqa: PLC0415 - the same
        SUMMARY_FILE,
        load_arrow,
        summary_of,
        write_mapping,
    )
    from site_agent.cells.reading import open_cells  # noqa: PLC0415 - the same

    reference, digest = read_atlas(atlas)
    used = limits or QualityLimits()
    with appearing_whole(out, replaces=SUMMARY_FILE) as folder:
        with open_cells(cells, layer) as source:
            source.require_distinct_cells()
            rows = source.rows_where([(each.column, each.value) for each in where])
            owner = np.zeros(source.n_cells, dtype=np.int32) if rows is None else rows.astype(np.int32) - 1
            latent_rows = diagnosed_cells(owner, 1)
            del owner
            give_back_memory()  # of the names
            loading = Thread(target=load_arrow, name="crosslot-arrow")
            loading.start()  # while cells are mapped: nothing else would be done at the end
            mapping = map_source(
                source,
                reference,
                rows=rows,
                latent_rows=latent_rows,
                threads=threads,
                progress=progress,
            )
            loading.join()
            lot = summarise_lot(mapping, used)
            found = diagnose(reference, lot)
            summary = summary_of(lot, found, used, atlas_sha256=digest, where=tuple(map(str, where)))
            mapping = mapping.without_quality()
            lot = replace(lot, mapping=mapping)
            write_mapping(folder, lot, summary, source.cell_names)
        if annotate:
            annotate_file(cells, mapping)
    return summary
