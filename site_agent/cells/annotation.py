"""Writes a mapping into the obs of an existing h5ad, so that no failure can lose the file.

The file is copied beside itself, the copy gets the columns, is read back, and takes the original's place in one step.
Nothing else in it changes. A file that changed meanwhile is left alone.
"""

import os
import shutil
import tempfile
from pathlib import Path

from shared.errors import InputError
from site_agent.cells.cell_mapping import CellMapping
from site_agent.cells.reading import open_cells

COLUMNS = ("atlas_cluster", "atlas_confidence", "atlas_energy")


def annotate_file(path: Path, mapping: CellMapping) -> None:
    """Write ``atlas_cluster``, ``atlas_confidence`` and ``atlas_energy`` into ``obs`` of ``path``.

    Cells that were not mapped get missing values. Columns of these names are replaced.

    Raises
    ------
    InputError
        The file is no h5ad, cannot be written, has no room beside it, or changed since it was mapped.
    """
    target = path.resolve()
    if not target.is_file() or mapping.matrix_name == "matrix":
        hint = "leave --annotate out: cells.parquet holds the same"
        raise InputError(f"{path}: only an .h5ad can be annotated", hint=hint)
    before = _stamp(target)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(handle)
    copy = Path(name)
    try:
        shutil.copyfile(target, copy)
        shutil.copymode(target, copy)
        _write_columns(copy, mapping)
        _require_columns(copy, mapping)
        if _stamp(target) != before:
            raise InputError(f"{path}: changed while it was annotated", hint="run the command again")
        copy.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        copy.unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _unwritable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or str(error).splitlines()[0]
    return InputError(
        f"{path}: cannot be annotated: {reason}", hint="it needs room for a copy, in a folder to write in"
    )


def _write_columns(copy: Path, mapping: CellMapping) -> None:
    import h5py  # noqa: PLC0415 - only where a file is annotated
    import numpy as np  # noqa: PLC0415 - only where a file is annotated
    from anndata.io import write_elem  # noqa: PLC0415 - a second to import; it knows the encodings

    frame = mapping.to_frame()
    if mapping.rows is not None:
        frame.index = mapping.rows
        frame = frame.reindex(range(mapping.n_cells_in_file))
    with h5py.File(copy, "r+") as file:
        obs = file["obs"]
        order = [str(name) for name in obs.attrs["column-order"] if name not in COLUMNS]
        for name in COLUMNS:
            if name in obs:
                del obs[name]
            column = frame[name]
            write_elem(obs, name, column.array if name == COLUMNS[0] else column.to_numpy())
        obs.attrs["column-order"] = np.array([*order, *COLUMNS], dtype=h5py.string_dtype())
        file.flush()
    with copy.open("rb") as written:
        os.fsync(written.fileno())


def _require_columns(copy: Path, mapping: CellMapping) -> None:
    with open_cells(copy, None if mapping.matrix_name == "X" else mapping.matrix_name.rpartition("/")[2]) as source:
        column = source.column(COLUMNS[0])
    if int((column.codes >= 0).sum()) != mapping.n_cells:
        raise OSError("the copy does not read back")
