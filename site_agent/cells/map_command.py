"""What ``crosslot-site map`` does: one file, one atlas, one folder of results. All of it stays at the site.

The scout is set to the file before anything else is loaded, so that both processes load at once.
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.runtime.files import read_bounded
from site_agent.cells.allocation import keep_memory
from site_agent.cells.scout import SCOUT
from site_agent.cells.scouting import Task

if TYPE_CHECKING:
    from protocol.cell_limits import CellLimits
    from shared.atlas.artefact import Atlas
    from site_agent.cells.lots import CellFilter
    from site_agent.cells.mapping import Progress
    from site_agent.cells.mapping_summary import MappingSummary


def read_atlas(path: Path) -> "tuple[Atlas, str]":
    """Return an atlas and the SHA-256 of its bytes.

    Raises
    ------
    InputError
        The file is missing, too large, or no atlas.
    """
    from shared.atlas.artefact import MAXIMUM_BYTES, from_bytes, sha256  # noqa: PLC0415 - while the scout starts

    data = read_bounded(path, limit=MAXIMUM_BYTES, what="an atlas")
    return from_bytes(data), sha256(data)


_SWITCH_SECONDS = 0.0005


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the interpreter out of the way of a run.

    What loading libraries makes lives on, and every pass of the collector of cycles would visit it. And a thread that
    has mapped its block, in about a millisecond, would wait five for the interpreter while another reads names.
    """
    was_enabled, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(min(interval, _SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if was_enabled:
            gc.enable()


@_undisturbed()
def map_file(
    cells: Path,
    atlas: Path,
    out: Path,
    *,
    where: "Sequence[CellFilter]" = (),
    layer: str | None = None,
    limits: "CellLimits | None" = None,
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
    limits : CellLimits, optional
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
    SCOUT.look_ahead(cells, layer, (Task.OPEN, Task.NAMES))
    keep_memory()
    from site_agent.cells.file_mapping import map_scouted_file  # noqa: PLC0415 - while the scout works

    try:
        return map_scouted_file(
            cells,
            atlas,
            out,
            where=where,
            layer=layer,
            limits=limits,
            annotate=annotate,
            threads=threads,
            progress=progress,
        )
    finally:
        SCOUT.let_go()
