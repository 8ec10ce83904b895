"""Reading one h5ad into lots: which cells belong to which lot, and what each lot is."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import anndata
import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError, ProblemsError
from simulations.split_request import SplitRequest, parse_label
from site_agent.cells.lot_files import require_sound_files

NOT_STATED = "not stated"
_RAW = "raw"


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitLot:
    """One lot of the h5ad: its rows, and what is known of it."""

    name: str
    donor: str
    tissue: str
    rows: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitCells:
    """The whole h5ad and its lots, sorted by name."""

    cells: anndata.AnnData
    lots: tuple[SplitLot, ...]


def read_cells(request: SplitRequest) -> SplitCells:
    """Read the h5ad and divide it into lots.

    Raises
    ------
    InputError
        The file is missing or no h5ad; an obs column is absent; no cell meets the conditions; a lot has cells of
        several donors or tissues.
    """
    cells = _read(request)
    obs = cells.obs
    columns = [request.lot_column, *(condition.column for condition in request.where)]
    columns += [name for name in (request.labels_column, request.donor_column, request.tissue_column) if name]
    problems = [
        InputError(
            f"{request.cells}: expected a column {name!r} in obs, found {', '.join(map(str, obs.columns)) or 'none'}"
        )
        for name in dict.fromkeys(columns)
        if name not in obs.columns
    ]
    if problems:
        raise ProblemsError(str(request.cells), problems)
    _require_names(request, cells)
    keep = np.ones(cells.n_obs, dtype=bool)
    for condition in request.where:
        values = obs[condition.column].astype(str).to_numpy()
        if not (values == condition.value).any():
            raise InputError(
                f"{request.cells}: expected cells with {condition.column}={condition.value}, found the values "
                f"{', '.join(sorted(set(values))[:12])}",
                hint="values are compared as text, to the letter",
            )
        keep &= values == condition.value
    if not keep.any():
        raise InputError(f"{request.cells}: no cell meets all --where conditions at once")
    column = {
        name: obs[name].astype(str).to_numpy()
        for name in (request.lot_column, request.donor_column, request.tissue_column)
        if name
    }
    missing = obs[request.lot_column].isna().to_numpy() & keep
    if missing.any():
        raise InputError(
            f"{request.cells}: {int(missing.sum())} cells have no value in {request.lot_column!r}",
            hint="give every cell a lot, or leave those cells out with --where",
        )
    names = column[request.lot_column]
    lots = []
    for name in sorted(set(names[keep])):
        rows = np.flatnonzero(keep & (names == name))
        lots.append(
            SplitLot(
                name=name,
                donor=_single(request, column, request.donor_column, rows, name) or name,
                tissue=_single(request, column, request.tissue_column, rows, name) or NOT_STATED,
                rows=rows,
            )
        )
    return SplitCells(cells=cells, lots=tuple(lots))


def _require_names(request: SplitRequest, cells: anndata.AnnData) -> None:
    """Raise unless every lot, donor, tissue and label may be a name in a site's tables and in an atlas."""
    problems = []
    for column in (request.lot_column, request.donor_column, request.tissue_column, request.labels_column):
        for name in sorted(set(cells.obs[column].dropna().astype(str))) if column else ():
            try:
                parse_label(f"{request.cells}: obs[{column!r}]", name)
            except InputError as error:
                problems.append(InputError(str(error), hint="rename it in the file"))
    if problems:
        raise ProblemsError(str(request.cells), problems)


def _read(request: SplitRequest) -> anndata.AnnData:
    if not request.cells.is_file():
        raise InputError(f"{request.cells}: expected an h5ad file, found no file", hint="check the path")
    if request.control is None:
        require_sound_files([request.cells], request.layer)  # counts
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Variable names are not unique")  # identifiers may tell them apart
            return _with_layer_as_x(request, anndata.read_h5ad(request.cells))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{request.cells}: expected an h5ad file, cannot read it: {type(error).__name__}: {error}",
            hint="is it an AnnData file written by anndata or scanpy?",
        ) from error


def _with_layer_as_x(request: SplitRequest, cells: anndata.AnnData) -> anndata.AnnData:
    """Return the cells with the chosen matrix as X: the sites' files hold that one, and need not name it."""
    if request.layer is None:
        return cells
    if request.layer == _RAW and _RAW not in cells.layers and cells.raw is not None:
        raw = cells.raw
        return anndata.AnnData(raw.X, obs=cells.obs, var=raw.var)
    if request.layer not in cells.layers:
        there = ", ".join(cells.layers) or "none"
        raise InputError(f"{request.cells}: expected a layer {request.layer!r}, found: {there}")
    return anndata.AnnData(cells.layers[request.layer], obs=cells.obs, var=cells.var)


def _single(
    request: SplitRequest, column: Mapping[str, NDArray[np.str_]], name: str | None, rows: NDArray[np.int64], lot: str
) -> str | None:
    if name is None:
        return None
    values = sorted(set(column[name][rows]))
    if len(values) != 1:
        raise InputError(
            f"{request.cells}: lot {lot!r} has cells with several values of {name!r}: {', '.join(values[:6])}",
            hint="a lot has one donor and one tissue",
        )
    return str(values[0])
