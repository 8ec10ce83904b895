"""Cells of a file, whatever its format: names, obs columns, and counts in blocks of constant memory.

Formats: AnnData as ``.h5ad`` and as zarr (CSR, CSC or dense; any compression), 10x ``.h5``, a 10x folder of
``matrix.mtx``, and an AnnData in memory.

Rules:

1. A file is opened by what it holds, not by its name.
2. Whatever a file holds, opening and reading end in values or in an ``InputError`` that names the file and the part.
3. Where the chosen matrix holds no counts, the error says which other matrix of the file does.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from shared.errors import InputError
from site_agent.cells.cell_source import CellSource
from site_agent.cells.chunks import Array
from site_agent.cells.frames import TextColumn
from site_agent.cells.scout import SCOUT
from site_agent.cells.scouting import Task

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def open_cells(path: Path, layer: str | None = None) -> CellSource:
    """Return the cells of a file or folder.

    Parameters
    ----------
    path : Path
        ``.h5ad``, 10x ``.h5``, a zarr folder, or a 10x folder of ``matrix.mtx``.
    layer : str, optional
        A named layer of an AnnData file, or ``raw`` for ``raw/X``; X where not given.

    Raises
    ------
    InputError
        The file is missing, of no known format, damaged, empty, or names a gene twice.
    """
    if path.is_dir():
        if any((path / name).exists() for name in ("zarr.json", ".zgroup")):
            from site_agent.cells.sources_zarr import open_zarr  # noqa: PLC0415 - zarr is slow to import

            return open_zarr(path, layer)
        from site_agent.cells.sources_10x import open_mtx_folder  # noqa: PLC0415 - loaded where it is needed

        _refuse_layer(path, layer)
        return open_mtx_folder(path)
    _require_hdf5(path)
    return _scouted(path, layer)


def _scouted(path: Path, layer: str | None) -> CellSource:
    """Return the cells of an HDF5 file; whatever its tables may do to a process happens to the scout first."""
    import h5py  # noqa: F401, PLC0415 - loaded where it is needed, and while the scout works

    from site_agent.cells.sources_h5ad import open_hdf5  # noqa: PLC0415 - the same

    SCOUT.require(path, layer, Task.OPEN)
    source = open_hdf5(path, layer)
    done: set[tuple[Task, str]] = set()

    def scout(task: Task, name: str = "") -> None:
        if (task, name) not in done:
            SCOUT.require(path, layer, task, name)
            done.add((task, name))

    def cell_names(start: int, stop: int) -> list[str]:
        scout(Task.NAMES)
        return source.cell_names(start, stop)

    def column(name: str) -> TextColumn:
        scout(Task.COLUMN, name)
        return source.column(name)

    def other_matrices() -> Iterator[tuple[str, Array]]:
        scout(Task.OTHER_MATRICES)
        yield from source.other_matrices()

    return replace(
        source,
        cell_names=cell_names,
        column=column,
        other_matrices=other_matrices,
        distinct_cells=lambda: scout(Task.NAMES),
    )


def _refuse_layer(path: Path, layer: str | None) -> None:
    if layer is not None:
        raise InputError(f"{path}: expected no layer for a 10x file, found {layer!r}", hint="leave the layer out")


def _require_hdf5(path: Path) -> None:
    """Raise unless a file begins as HDF5, with a word for what it is instead.

    Raises
    ------
    InputError
        Missing, unreadable, empty, or another format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a file of cells, found none", hint="check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", hint="check its type and permissions") from None
    if head.startswith(_HDF5_SIGNATURE):
        return
    kinds = {
        b"": "an empty file",
        b"\x1f\x8b": "a gzip archive: unpack it",
        b"PK\x03\x04": "a zip archive: unpack it",
        b"version https://git-lfs": "a Git LFS pointer: fetch the file itself",
        b"%%MatrixMarket": "a matrix.mtx: give its folder",
        b"RDX": "an R object: save it as .h5ad",
        b"PAR1": "a parquet table: cells come as .h5ad",
    }
    found = next((name for start, name in kinds.items() if start and head.startswith(start)), None)
    if not head:
        found = kinds[b""]
    raise InputError(
        f"{path}: expected an HDF5 file of cells (.h5ad or 10x .h5), found {found or 'another format'}",
        hint="give an .h5ad, a 10x .h5, a zarr folder, or a 10x folder with matrix.mtx",
    )
