"""What a mapping run leaves on the site's own disk: ``cells.parquet`` and ``summary.json``.

Rules:

1. Both are local: nothing here is meant to leave. They appear together and whole, or not at all.
2. What writing needs (the libraries, the cells' names) is made ready while cells are mapped, by ``keep_names``: on
   disk, in the folder that is to appear, so that memory does not grow with the names.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import to_builtins
from numpy.typing import NDArray

from shared.runtime.files import cannot_write
from site_agent.cells.allocation import give_back_memory
from site_agent.cells.cell_mapping import UNASSIGNED_NAME, CellMapping
from site_agent.cells.lot_mapping import LotMapping
from site_agent.cells.mapping_summary import MappingSummary

CELLS_FILE = "cells.parquet"
SUMMARY_FILE = "summary.json"

_NAMES_FILE = "names.arrows"
_CELLS_PER_GROUP = 2**14


def keep_names(
    folder: Path, rows: NDArray[np.int64] | None, n_cells: int, cell_names: Callable[[int, int], list[str]]
) -> None:
    """Keep the names of a file's cells, or of its ``rows``, in the folder until ``write_mapping`` takes them.

    Parameters
    ----------
    rows : ndarray of int64, or None
        Rising; None: all ``n_cells``.
    cell_names : callable
        As ``CellSource.cell_names``.

    Raises
    ------
    InputError
        The folder cannot be written; NoRoomError where the disk is full.
    """
    pa, _ = load_arrow()
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    schema = pa.schema([("cell", pa.string())])
    with (
        _telling_full_disk(folder),
        pa.OSFile(str(folder / _NAMES_FILE), "wb") as file,
        pa.ipc.new_stream(file, schema, options=options) as kept,
    ):
        for piece in _groups(n_cells if rows is None else rows.size):
            names = _text_array(pa, _names(rows, piece, cell_names))
            kept.write_batch(pa.RecordBatch.from_arrays([names], names=["cell"]))
    load_json()


def write_mapping(folder: Path, lot: LotMapping, summary: MappingSummary) -> None:
    """Write both files into the folder where ``keep_names`` kept the names of the mapped cells.

    Raises
    ------
    InputError
        As ``keep_names``.
    """
    with _telling_full_disk(folder):
        write_cells(folder, lot)
        (folder / SUMMARY_FILE).write_bytes(load_json()(to_builtins(summary), indent=2) + b"\n")


def write_cells(folder: Path, lot: LotMapping) -> None:
    """Write one row a mapped cell: name, cluster, confidence, energy, and whether QC kept it.

    In row groups, so that a million names are never held at once. The names that were kept are removed.
    """
    give_back_memory()
    pa, pq = load_arrow()
    mapping = lot.mapping
    schema = pa.schema(
        [
            ("cell", pa.string()),
            ("cluster", pa.dictionary(pa.int32(), pa.string())),
            ("confidence", pa.float32()),
            ("energy", pa.float32()),
            ("passed_qc", pa.bool_()),
        ]
    )
    with (
        pa.OSFile(str(folder / _NAMES_FILE)) as file,
        pa.ipc.open_stream(file) as kept,
        pq.ParquetWriter(folder / CELLS_FILE, schema, compression="zstd", use_dictionary=["cluster"]) as writer,
    ):
        for piece, named in zip(_groups(mapping.n_cells), kept, strict=True):
            n = piece.stop - piece.start
            passed = np.packbits(lot.kept[piece], bitorder="little")
            columns = [
                named.column(0),
                _clusters(pa, mapping, piece),
                pa.Array.from_buffers(pa.float32(), n, [None, pa.py_buffer(mapping.confidence[piece])]),
                pa.Array.from_buffers(pa.float32(), n, [None, pa.py_buffer(mapping.energy[piece])]),
                pa.Array.from_buffers(pa.bool_(), n, [None, pa.py_buffer(passed)]),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    (folder / _NAMES_FILE).unlink()


@contextmanager
def _telling_full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(folder.parent, error) from error


def _groups(n_cells: int) -> Iterator[slice]:
    for start in range(0, n_cells, _CELLS_PER_GROUP):
        yield slice(start, min(start + _CELLS_PER_GROUP, n_cells))


def load_arrow() -> tuple[Any, Any]:
    """Return pyarrow and its parquet module; loaded here only, since a run that writes no table needs neither."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read once: Arrow's own sets 10 MB aside as it loads
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    return pa, pq


def load_json() -> Callable[..., bytes]:
    """Return what writes JSON here: this library, because the text of a number is part of the format."""
    from pydantic_core import to_json  # noqa: PLC0415 - loaded where it is needed

    return to_json


def _names(rows: NDArray[np.int64] | None, piece: slice, cell_names: Callable[[int, int], list[str]]) -> list[str]:
    if rows is None:
        return cell_names(piece.start, piece.stop)
    wanted = rows[piece]
    names: list[str] = []
    # Rows rise: they are read in runs of the file, each no longer than a row group.
    for first in range(int(wanted[0]), int(wanted[-1]) + 1, _CELLS_PER_GROUP):
        last = min(first + _CELLS_PER_GROUP, int(wanted[-1]) + 1)
        here = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, last)]
        if here.size:
            read = cell_names(first, last)
            names.extend(read[row - first] for row in here.tolist())
    return names


def _clusters(pa: Any, mapping: CellMapping, piece: slice) -> Any:  # noqa: ANN401 - pyarrow ships no types
    names = (*mapping.clusters, UNASSIGNED_NAME)
    codes = np.where(mapping.label[piece] < 0, len(mapping.clusters), mapping.label[piece]).astype(np.int32)
    indices = pa.Array.from_buffers(pa.int32(), codes.size, [None, pa.py_buffer(codes)])
    return pa.DictionaryArray.from_arrays(indices, _text_array(pa, names))


def _text_array(pa: Any, texts: Sequence[str]) -> Any:  # noqa: ANN401 - pyarrow ships no types
    """Return texts as an Arrow array. From buffers: pyarrow's own conversion would import pandas, 60 MB of it."""
    encoded = [text.encode("utf-8") for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])
