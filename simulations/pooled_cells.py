"""Reading all lots' cells into one AnnData, for the oracle: by anndata and scanpy, not by the sites' own reader.

A fault of the sites' reader must show as a difference between pooled and federated, so nothing of it is used here but
the names of the columns in which tools keep gene identifiers.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd

from site_agent.cells.gene_names import IDENTIFIER_COLUMNS
from site_agent.cells.lots import Lot

LOT_COLUMN = "pooled_lot"
_RAW = "raw"


def concatenated(lots: Sequence[Lot]) -> anndata.AnnData:
    """Return the cells of all lots; ``obs["pooled_lot"]`` is the lot's position."""
    parts = []
    for number, lot in enumerate(lots):
        cells = _read(lot.file)
        for each in lot.where:
            cells = cells[cells.obs[each.column].astype(str) == each.value]
        if lot.layer == _RAW and _RAW not in cells.layers:
            cells = cells.raw.to_adata()
        elif lot.layer is not None:
            cells = anndata.AnnData(cells.layers[lot.layer], obs=cells.obs, var=cells.var)
        cells = _with_distinct_genes(cells)
        part = anndata.AnnData(cells.X, obs=cells.obs[[]].copy(), var=cells.var)
        part.obs[LOT_COLUMN] = np.full(part.n_obs, number)
        parts.append(part)
    # outer: a gene that one lot's file lacks still counts towards the library size of the others' cells
    return anndata.concat(parts, join="outer", merge="same", index_unique="-", fill_value=0)


def _read(path: Path) -> anndata.AnnData:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ames are not unique")  # identifiers tell genes apart, lots tell cells
        if path.is_dir():
            if any((path / name).exists() for name in ("zarr.json", ".zgroup")):
                return anndata.read_zarr(path)
            import scanpy  # noqa: PLC0415 - seconds to load, for this format only

            return scanpy.read_10x_mtx(path, make_unique=False, gex_only=False)
        with h5py.File(path, "r") as file:
            is_10x = "X" not in file and "obs" not in file
        if not is_10x:
            return anndata.read_h5ad(path)
        import scanpy  # noqa: PLC0415 - the same

        return scanpy.read_10x_h5(path, gex_only=False)


def _with_distinct_genes(cells: anndata.AnnData) -> anndata.AnnData:
    """Return cells whose genes can be aligned by name: where symbols repeat, by their identifiers."""
    if cells.var_names.is_unique:
        return cells
    column = next(name for name in IDENTIFIER_COLUMNS if name in cells.var and cells.var[name].is_unique)
    symbols = cells.var_names.astype(str).to_numpy()
    var = pd.DataFrame({"gene_symbols": symbols}, index=cells.var[column].astype(str).to_numpy())
    return anndata.AnnData(cells.X, obs=cells.obs, var=var)
