"""Single-cell morphology of a file to clusters of an atlas, scored against the file's own control wells.

Rules:

1. One file is one plate or batch: its cells are scored against its control wells and no others. A file without them, or
   with too few, is a named error. Control cells belong to no lot.
2. Features are known by their names in var, exactly as the atlas has them. What the file lacks, or what its controls
   cannot score because they do not vary, is missing, and coverage tells it.
3. A feature that is not a finite number stops the run with the cell's and the feature's name.
4. A cell maps the same alone or with others: the kernel's law (`shared.atlas.morphology_kernel`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.morphology import FEWEST_CONTROLS, ControlScale, control_scale
from shared.atlas.morphology_kernel import MappedCells, MorphologyTables, lay_out, map_features
from shared.errors import InputError
from site_agent.cells.cell_source import CellSource
from site_agent.cells.matrices import CellBlock
from site_agent.cells.quality import CellQuality

MOST_CONTROLS = 20_000
"""Of more control cells, so many are looked at, evenly spaced in the file."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class MorphologyMapping:
    """What the atlas says of the chosen cells of a file, in its order."""

    cells: MappedCells
    quality: CellQuality
    coverage: float  # of the atlas's features


def is_morphology(atlas: Atlas) -> bool:
    """Return whether an atlas is of morphology."""
    return atlas.card.modality == "morphology"


def control_cells(source: CellSource, atlas: Atlas) -> NDArray[np.bool_]:
    """Return which cells of a file are of control wells, ``(n_cells,)``.

    Raises
    ------
    InputError
        The file has no such column, or too few cells of control wells.
    """
    control = atlas.card.control
    if control is None:
        return np.zeros(source.n_cells, dtype=np.bool_)
    wanted = f"obs[{control.column!r}] = {control.value!r}"
    found = np.zeros(source.n_cells, dtype=np.bool_)
    if control.column in source.columns:
        column = source.column(control.column)
        if control.value in column.texts:
            found = column.equals(control.value)
    n = int(np.count_nonzero(found))
    if n < FEWEST_CONTROLS:
        raise InputError(
            f"{source.path}: expected at least {FEWEST_CONTROLS} cells of control wells ({wanted}), found {n}",
            hint="morphology is scored against the control wells of its own plate: keep their cells in the file",
        )
    return found


def require_morphology(source: CellSource, atlas: Atlas) -> None:
    """Raise unless a file has control wells and features of the atlas.

    Raises
    ------
    InputError
        As `control_cells`, or no feature in common.
    """
    control_cells(source, atlas)
    _places(source, atlas)


def map_morphology(source: CellSource, atlas: Atlas, rows: NDArray[np.bool_] | None, values: int) -> MorphologyMapping:
    """Map the cells of an open file, or those of ``rows`` ``(n_cells,)``, in blocks of about ``values`` values.

    Raises
    ------
    InputError
        As `require_morphology`; a feature that is not finite.
    """
    controls = control_cells(source, atlas)
    places, columns = _places(source, atlas)
    scale = _scale(source, controls, columns, values)
    tables = lay_out(atlas, places, columns, scale)
    parts: list[MappedCells] = []
    sums: list[FloatArray] = []
    for block in source.blocks(values, rows):
        dense = _dense(block, source)
        _require_finite(source, block, dense, tables, rows)
        parts.append(map_features(tables, np.ascontiguousarray(dense[:, tables.columns])))
        sums.append(dense[:, tables.columns].sum(axis=1))
    return MorphologyMapping(
        cells=MappedCells(
            label=np.concatenate([part.label for part in parts]),
            best=np.concatenate([part.best for part in parts]),
            confidence=np.concatenate([part.confidence for part in parts]),
            energy=np.concatenate([part.energy for part in parts]),
            latent=np.concatenate([part.latent for part in parts]),
        ),
        quality=CellQuality(
            total_counts=np.concatenate(sums),
            n_genes=np.zeros(sum(len(each) for each in sums), dtype=np.int32),
            mitochondrial_counts=None,
            counted=False,
        ),
        coverage=len(tables.columns) / len(atlas.card.gene_symbols),
    )


def _places(source: CellSource, atlas: Atlas) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the features of the atlas that the file has, and where the file has them."""
    where = {name: place for place, name in enumerate(source.genes.index)}
    found = [(place, where[name]) for place, name in enumerate(atlas.card.gene_symbols) if name in where]
    if not found:
        known = ", ".join(atlas.card.gene_symbols[:3])
        raise InputError(
            f"{source.path}: expected features of the atlas ({known}, ...) in var, found none of its "
            f"{len(atlas.card.gene_symbols)}",
            hint="the names must be the same: is it the same pipeline, and are features in var and not in obs?",
        )
    places, columns = zip(*found, strict=True)
    return np.array(places, dtype=np.int64), np.array(columns, dtype=np.int64)


def _scale(source: CellSource, controls: NDArray[np.bool_], columns: NDArray[np.int64], values: int) -> ControlScale:
    chosen = np.flatnonzero(controls)
    if len(chosen) > MOST_CONTROLS:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST_CONTROLS).astype(np.int64)]
    rows = np.zeros(source.n_cells, dtype=np.bool_)
    rows[chosen] = True
    dense = np.concatenate([_dense(block, source)[:, columns] for block in source.blocks(values, rows)])
    if not np.isfinite(dense).all():
        place = int(columns[np.flatnonzero(~np.isfinite(dense).all(axis=0))[0]])
        raise InputError(
            f"{source.path}: expected finite features of control wells, found NaN or infinity in "
            f"{source.genes.index[place]!r}",
            hint="drop the feature, or the cells in which it could not be measured",
        )
    return control_scale(dense)


def _dense(block: CellBlock, source: CellSource) -> FloatArray:
    import scipy.sparse as sp  # noqa: PLC0415 - slow to load, and not needed to map counts

    rows = sp.csr_matrix((block.data, block.indices, block.indptr), shape=(block.n_cells, source.n_genes))
    return np.asarray(rows.toarray(), dtype=np.float64)


def _require_finite(
    source: CellSource,
    block: CellBlock,
    dense: FloatArray,
    tables: MorphologyTables,
    rows: NDArray[np.bool_] | None,
) -> None:
    bad = ~np.isfinite(dense[:, tables.columns])
    if not bad.any():
        return
    row, column = (int(found[0]) for found in np.nonzero(bad))
    number = block.start + (row if rows is None else int(np.flatnonzero(rows[block.start :])[row]))
    name = source.cell_names(number, number + 1)[0]
    raise InputError(
        f"{source.path}: expected finite features, found NaN or infinity in "
        f"{source.genes.index[int(tables.columns[column])]!r} of cell {name!r} (row {number})",
        hint="drop the feature, or the cells in which it could not be measured",
    )
