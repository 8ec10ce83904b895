"""Cells of several reference lots to an atlas: read, label or cluster, find markers, fit, leave lots out.

Rules.
1. Counts only: values that are negative or not whole are refused, and where counts may hide is said.
2. Labels come from the owner's column, or from clustering the pooled lots (``site_agent.cells.clustering``).
3. Nothing that names a lot or a file enters the atlas.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from protocol.identifiers import Label
from shared.atlas.artefact import Atlas
from shared.atlas.card import Marker
from shared.atlas.features import Counts
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.genes import ensembl_id
from shared.atlas.model import FitParameters
from shared.errors import InputError
from site_agent.cells.clustering import cluster_cells

_MARKERS: Final = 20
_LABEL: Final[TypeAdapter[str]] = TypeAdapter(Label)
_SYMBOL_COLUMNS: Final = ("gene_symbols", "feature_name", "gene_symbol", "symbol", "gene_name", "gene_short_name")
_ID_COLUMNS: Final = ("gene_ids", "gene_id", "ensembl_id", "feature_id", "ensembl")


def build_atlas(
    source: Any,  # noqa: ANN401 - an AnnData, which ships no types, or paths
    *,
    lot: str,
    name: str,
    seed: int,
    labels: str | None = None,
    cluster: bool = False,
    resolution: float = 1.0,
    cells_per_lot: int | None = None,
    reference_lots: Sequence[str] | None = None,
    where: Sequence[tuple[str, str]] = (),
    layer: str | None = None,
    tissue: str | None = None,
    species: str | None = None,
    parameters: FitParameters | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Return an atlas of reference lots.

    Parameters
    ----------
    source : AnnData, path, or sequence of paths
        h5ad files of the same genes.
    lot : str
        The obs column that names the lot.
    labels, cluster : str, bool
        Exactly one of the two: the obs column of the owner's labels, or whether to cluster the pooled cells.
    resolution, cells_per_lot : float, int
        For clustering only.
    reference_lots : sequence of str, optional
        Only these lots; all of them without.
    where : sequence of (column, value)
        Only cells for which every column holds its value.
    layer : str, optional
        Where the counts are, if not in X.
    progress : callable, optional
        Called with the number of lots left out so far and of all.

    Raises
    ------
    InputError
        A file cannot be read, a column, lot or layer is missing, or the values are no counts.
    DesignError
        Too few clusters have enough cells.
    """
    if (labels is None) == (not cluster):
        raise InputError(
            "atlas: expected either a column of labels or clustering", hint="give labels=COLUMN or cluster=True"
        )
    cells = _selected(read_cells(source), lot, reference_lots, where)
    counts = _counts(cells, layer)
    lots = column_of(cells, lot)
    ids, symbols = _gene_names(cells)
    notes: list[str] = []
    settings: list[tuple[str, str]] = []
    stability: Sequence[float] | None = None
    if labels is not None:
        names = column_of(cells, labels)
        require_cluster_names(names, labels)
    else:
        found = cluster_cells(counts, lots, resolution=resolution, seed=seed, cells_per_lot=cells_per_lot)
        counts, lots, names = counts[found.cells], lots[found.cells], np.asarray(found.labels)
        stability = found.stability
        settings = [("leiden_resolution", f"{resolution:g}"), ("leiden_modularity", f"{found.modularity:.6f}")]
        notes.append(f"clustered without labels, at most {found.cells_per_lot} cells of each lot")
    return fit_atlas(
        counts,
        names.tolist(),
        lots.tolist(),
        gene_ids=ids,
        gene_symbols=symbols,
        origin=Origin(
            name=name,
            labels="owner" if labels is not None else "leiden",
            tissue=tissue,
            species=species,
            notes=tuple(notes),
            settings=tuple(settings),
        ),
        seed=seed,
        parameters=parameters,
        markers=lambda kept, codes, clusters: find_markers(kept, codes, clusters, symbols or ids or ()),
        stability=stability,
        progress=progress,
    )


def read_cells(source: Any) -> Any:  # noqa: ANN401 - AnnData
    """Return the cells of an AnnData, or of h5ad files of the same genes, joined."""
    import anndata  # noqa: PLC0415 - seconds to load, for building only

    if isinstance(source, anndata.AnnData):
        return source
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    if not paths:
        raise InputError("atlas: expected at least one file")
    parts = []
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Variable names are not unique")  # ids may tell them apart
                parts.append(anndata.read_h5ad(path))
        except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: expected an h5ad file: {error}", hint="check the path and the file") from error
    if any(list(part.var_names) != list(parts[0].var_names) for part in parts):
        raise InputError("atlas: expected the same genes in the same order in every reference file")
    return parts[0] if len(parts) == 1 else anndata.concat(parts, merge="same", index_unique="-")


def column_of(cells: Any, name: str) -> NDArray[np.str_]:  # noqa: ANN401 - AnnData
    """Return an obs column as text; every cell must have a value."""
    if name not in cells.obs.columns:
        known = ", ".join(map(str, cells.obs.columns[:20]))
        raise InputError(f"atlas: expected a column {name!r} in obs, found: {known}")
    column = cells.obs[name]
    if column.isna().any():
        raise InputError(
            f"atlas: column {name!r}: {int(column.isna().sum())} cells have no value", hint="drop or fill them"
        )
    return np.asarray(column.astype(str), dtype=np.str_)


def require_cluster_names(names: NDArray[np.str_], column: str) -> None:
    """Raise unless every label may name a cluster."""
    for name in sorted(set(names.tolist())):
        try:
            _LABEL.validate_python(name)
        except ValidationError:
            raise InputError(
                f"atlas: column {column!r}: expected labels of 1 to 64 printable characters without space around "
                f"them, found {name[:80]!r}",
                hint="rename the label; it becomes a cluster's name in every report",
            ) from None


def _selected(
    cells: Any,  # noqa: ANN401 - AnnData
    lot: str,
    reference_lots: Sequence[str] | None,
    where: Sequence[tuple[str, str]],
) -> Any:  # noqa: ANN401 - AnnData
    keep = np.ones(cells.n_obs, dtype=np.bool_)
    for column, value in where:
        keep &= column_of(cells, column) == value
    lots = column_of(cells, lot)
    if reference_lots is not None:
        missing = sorted(set(reference_lots) - set(lots[keep].tolist()))
        if missing:
            raise InputError(f"atlas: no cells of the reference lots {', '.join(missing)} in column {lot!r}")
        keep &= np.isin(lots, list(reference_lots))
    if not keep.any():
        raise InputError("atlas: no cell is left after selecting lots and conditions")
    return cells if keep.all() else cells[keep]


def _counts(cells: Any, layer: str | None) -> Counts:  # noqa: ANN401 - AnnData
    if layer is not None and layer not in cells.layers:
        raise InputError(f"atlas: expected a layer {layer!r}, found: {', '.join(cells.layers) or 'none'}")
    if layer is None and cells.X is None:
        there = ", ".join(cells.layers) or "none"
        raise InputError("atlas: expected counts in X, found no X", hint=f"name one of its layers: {there}")
    counts = sp.csr_matrix(cells.X if layer is None else cells.layers[layer])
    counts.sum_duplicates()
    values = counts.data
    if not (np.isfinite(values).all() and (values >= 0).all() and (values == np.floor(values)).all()):
        there = "layer 'counts' may hold them" if "counts" in cells.layers else "no layer 'counts' is there"
        raise InputError(
            f"atlas: expected counts in {'X' if layer is None else f'layer {layer!r}'}, found negative, fractional or "
            f"not finite values ({there})",
            hint="name the layer that holds raw counts",
        )
    if not counts.data.any():
        raise InputError("atlas: expected cells with counts, found none but zeros", hint="is it the right layer?")
    return counts


def _gene_names(cells: Any) -> tuple[list[str] | None, list[str] | None]:  # noqa: ANN401 - AnnData
    """Return the file's Ensembl ids and symbols, from var's index and its usual columns."""
    index = [str(gene) for gene in cells.var_names]
    has_ids = sum(bool(ensembl_id(gene)) for gene in index) > len(index) // 2

    def first(columns: Sequence[str]) -> list[str] | None:
        return next((cells.var[column].astype(str).tolist() for column in columns if column in cells.var.columns), None)

    ids, symbols = (index, first(_SYMBOL_COLUMNS)) if has_ids else (first(_ID_COLUMNS), index)
    if symbols is not None:
        # A symbol of two genes names neither: where ids tell them apart, they go without.
        times = Counter(symbols)
        repeated = sorted(name for name, count in times.items() if count > 1 and name)
        if repeated and ids is None:
            raise InputError(
                f"atlas: expected each gene once, found {', '.join(repeated[:5])} more than once",
                hint="keep Ensembl identifiers in var['gene_ids'], or sum the columns of one gene",
            )
        symbols = ["" if times[name] > 1 else name for name in symbols]
    return ids, symbols


def find_markers(
    counts: Counts, codes: NDArray[np.int64], clusters: Sequence[str], genes: Sequence[str]
) -> list[list[Marker]]:
    """Return for each cluster the 20 genes that tell it best from the rest, by Wilcoxon's rank sum (scanpy).

    Only genes that are higher in the cluster, and seen in a tenth of its cells or of the rest, are looked at.
    """
    import anndata  # noqa: PLC0415 - seconds to load, for building only
    import scanpy  # noqa: PLC0415 - the same

    cells = anndata.AnnData(sp.csr_matrix(counts, dtype=np.float32))
    cells.obs["cluster"] = [str(code) for code in codes]
    cells.obs["cluster"] = cells.obs["cluster"].astype("category")
    cells.var_names = [str(place) for place in range(cells.n_vars)]
    present = sp.csr_matrix((counts > 0), dtype=np.float64)
    shares = np.array([np.asarray(present[codes == code].mean(axis=0)).ravel() for code in range(len(clusters))])
    cells = cells[:, (shares > 0.1).any(axis=0)].copy()  # noqa: PLR2004 - the docstring's tenth
    if cells.n_vars == 0:
        return [[] for _ in clusters]
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    scanpy.tl.rank_genes_groups(cells, "cluster", method="wilcoxon", pts=True, n_genes=min(5 * _MARKERS, cells.n_vars))
    found: list[list[Marker]] = []
    for code in range(len(clusters)):
        table = scanpy.get.rank_genes_groups_df(cells, str(code))
        table = table[(table["logfoldchanges"] > 0) & (table["scores"] > 0)].head(_MARKERS)
        found.append(
            [
                Marker(
                    gene=str(genes[int(row.names)])[:64],
                    log2_fold_change=round(float(row.logfoldchanges), 4),
                    share_in=round(float(row.pct_nz_group), 4),
                    share_out=round(float(row.pct_nz_reference), 4),
                )
                for row in table.itertuples()
            ]
        )
    return found
