"""Opens every cell file of a site folder before any is mapped, so that all that is wrong is said at once."""

from collections.abc import Sequence
from pathlib import Path

from shared.atlas.artefact import Atlas
from shared.errors import InputError, ProblemsError
from site_agent.cells.lot_mapping import cell_owners
from site_agent.cells.lots import Lot, SiteLots
from site_agent.cells.mapping import genes_of
from site_agent.cells.morphology import is_morphology, require_morphology
from site_agent.cells.reading import open_cells


def require_readable_files(site: SiteLots, atlas: Atlas | None = None) -> None:
    """Raise unless each lot's file opens, holds counts and distinct cells, and has cells of the lot.

    Values beyond the first are checked when they are mapped.

    Parameters
    ----------
    site : SiteLots
        The folder's lots.
    atlas : Atlas, optional
        Where given, a file without one of its genes, or of another species, is at fault too.

    Raises
    ------
    ProblemsError
        With one problem a file that is at fault, naming the rows of ``lots.csv`` that use it.
    """
    files: dict[tuple[Path, str | None], list[Lot]] = {}
    for lot in site.lots:
        files.setdefault((lot.file, lot.layer), []).append(lot)
    problems = [
        problem
        for (file, layer), lots in files.items()
        if (problem := _problem_of(file, layer, lots, atlas)) is not None
    ]
    if problems:
        raise ProblemsError(f"site folder {site.folder}", problems)


def require_sound_files(files: Sequence[Path], layer: str | None = None) -> None:
    """Raise unless each file opens and holds counts, distinct cells and genes that can be told apart.

    Raises
    ------
    ProblemsError
        With one problem a file that is at fault.
    """
    problems = []
    for file in files:
        try:
            with open_cells(file, layer) as source:
                source.require_counts()
                source.require_distinct_cells()
        except InputError as error:
            problems.append(error)
    if problems:
        raise ProblemsError("cell files", problems)


def _problem_of(file: Path, layer: str | None, lots: Sequence[Lot], atlas: Atlas | None) -> InputError | None:
    try:
        with open_cells(file, layer) as source:
            if atlas is not None and is_morphology(atlas):
                require_morphology(source, atlas)
            else:
                source.require_counts()
            source.require_distinct_cells()
            cell_owners(source, lots)
            if atlas is not None and not is_morphology(atlas):
                genes_of(source, atlas)
    except InputError as error:
        rows = ", ".join(str(lot.row) for lot in lots)
        where = f"lots.csv, row{'s' if len(lots) > 1 else ''} {rows}"
        return error if str(error).startswith("lots.csv") else InputError(f"{where}: {error}", hint=error.hint)
    return None
