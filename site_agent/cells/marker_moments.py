"""Moments of the plan's genes in every cluster of every lot of a file: a second pass, in constant memory.

Rules:

1. Only cells after QC count, each with the label of the mapping. Library sizes are over all genes of the file.
2. Moments are the same to the last bit whatever the order of the cells, the blocks and the threads: cells add integers
   (``marker_kernel``), and the centred sum of squares is formed from whole numbers without rounding.
3. Genes are found as the mapper finds them: by Ensembl id without version first, by symbol otherwise; a plan's symbol
   is found by the atlas's id for it too, and the reverse. A gene that the file names twice counts as missing.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from protocol.modules.markers import MarkersPlan
from shared.atlas.artefact import Atlas
from shared.atlas.genes import ensembl_id
from shared.errors import InputError
from shared.statistics.moments import TARGET_SUM, Moments
from site_agent.cells.bounds import VALUES_PER_BLOCK
from site_agent.cells.cell_source import CellSource
from site_agent.cells.gene_names import GeneNames
from site_agent.cells.marker_kernel import (
    HALF_BITS,
    HIGH,
    HIGH_SQUARE,
    LOG_GRID,
    LOW_SQUARE,
    MIXED,
    N_SUMS,
    NONZERO,
    SCALED,
    SCALED_GRID,
    SUM,
    add_cells,
)
from site_agent.cells.matrices import Span

MOST_CELLS = 2**25
"""Of one lot's cluster: beyond it a sum could pass 64 bits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LotMoments:
    """One lot's moments, exactly: they stay at the site until the release rules have seen them.

    Attributes
    ----------
    moments : Moments
        K = C clusters; genes that the file lacks are NaN.
    high_cells : (C + 1, G) int
        Cells at or above the plan's threshold of that cluster and gene, cells of no cluster last.
    """

    moments: Moments
    high_cells: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LotCells:
    """Which of a file's cells are a lot's after QC: their rows, labels (-1: none) and library sizes, all ``(n,)``."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int16]
    libraries: NDArray[np.float64]


def find_genes(names: Sequence[str], file: GeneNames, atlas: Atlas) -> NDArray[np.int32]:
    """Return for each of the file's genes its place in ``names``, -1 for none, ``(n_file_genes,)``.

    Raises
    ------
    InputError
        If two of the names are one gene of the file.
    """
    ids, symbols = _places([ensembl_id(each) for each in file.identifiers]), _places(file.symbols)
    symbol_of = {ensembl_id(i): s for i, s in zip(atlas.gene_ids, atlas.gene_symbols, strict=True) if i and s}
    id_of = {s: ensembl_id(i) for i, s in zip(atlas.gene_ids, atlas.gene_symbols, strict=True) if i and s}
    slots = np.full(len(file.index), -1, dtype=np.int32)
    for number, name in enumerate(names):
        bare = ensembl_id(name)
        tries = (
            ((ids, bare), (symbols, symbol_of.get(bare, ""))) if bare else ((ids, id_of.get(name, "")), (symbols, name))
        )
        found = next((where[wanted] for where, wanted in tries if wanted and wanted in where), [])
        if len(found) != 1:
            continue
        if slots[found[0]] >= 0:
            raise InputError(
                f"genes: {names[slots[found[0]]]} and {name} are one gene of the file",
                hint="the plan should name each gene once, by its symbol or by its Ensembl id",
            )
        slots[found[0]] = number
    return slots


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name:
            places.setdefault(name, []).append(place)
    return places


def marker_moments(
    source: CellSource,
    atlas: Atlas,
    plan: MarkersPlan,
    lots: Sequence[LotCells],
    *,
    threads: int = 1,
    values_per_block: int = VALUES_PER_BLOCK,
) -> tuple[LotMoments, ...]:
    """Return the moments of each lot of an open source.

    Parameters
    ----------
    source : CellSource
        The cells; they were mapped before, so its values are counts.
    atlas : Atlas
        Its clusters, and which id is which symbol.
    plan : MarkersPlan
        Genes and thresholds.
    lots : sequence of LotCells
        No cell belongs to two.
    threads, values_per_block : int
        They do not show in the result.

    Raises
    ------
    InputError
        Two of the plan's genes are one of the file, or a cluster has more cells than sums have room for.
    """
    n_states = len(atlas.clusters) + 1
    states = np.full(source.n_cells, -1, dtype=np.int32)
    libraries = np.ones(source.n_cells)
    for number, lot in enumerate(lots):
        states[lot.rows] = number * n_states + np.where(lot.labels < 0, n_states - 1, lot.labels)
        libraries[lot.rows] = lot.libraries
    cells = np.bincount(states[states >= 0], minlength=len(lots) * n_states)
    if cells.max(initial=0) > MOST_CELLS:
        raise InputError(f"{source.path}: expected at most {MOST_CELLS:,} cells of one lot in a cluster, found more")
    slots = find_genes(plan.genes, source.genes, atlas)
    thresholds = np.tile(_thresholds(plan, atlas.clusters), (len(lots), 1))
    sums = _summed(source, states, libraries, slots, thresholds, threads, values_per_block)
    present = np.isin(np.arange(len(plan.genes)), slots)
    return tuple(
        _lot_moments(sums[first : first + n_states], cells[first : first + n_states], present)
        for first in range(0, len(lots) * n_states, n_states)
    )


def _thresholds(plan: MarkersPlan, clusters: Sequence[str]) -> NDArray[np.float64]:
    result = np.full((len(clusters) + 1, len(plan.genes)), np.inf)
    for each in plan.predictors:
        where = slice(None) if each.cluster is None else clusters.index(each.cluster)
        result[where, plan.genes.index(each.gene)] = each.threshold
    return result


def _summed(
    source: CellSource,
    states: NDArray[np.int32],
    libraries: NDArray[np.float64],
    slots: NDArray[np.int32],
    thresholds: NDArray[np.float64],
    threads: int,
    values_per_block: int,
) -> NDArray[np.int64]:
    own: SimpleQueue[NDArray[np.int64]] = SimpleQueue()
    for _ in range(threads):
        own.put(np.zeros((*thresholds.shape, N_SUMS), dtype=np.int64))

    def add(span: Span) -> None:
        block, at = source.read(span), slice(*span)
        sums = own.get()
        try:
            add_cells(block, states[at], libraries[at], slots, TARGET_SUM, thresholds, sums)
        finally:
            own.put(sums)

    spans = source.spans(values_per_block, states >= 0)
    if threads == 1:
        for span in spans:
            add(span)
    else:
        with ThreadPoolExecutor(threads, thread_name_prefix="crosslot-moments") as pool:
            for _ in pool.map(add, spans):
                pass
    total = own.get()
    while not own.empty():
        total += own.get()
    return total


def _lot_moments(sums: NDArray[np.int64], cells: NDArray[np.int64], present: NDArray[np.bool_]) -> LotMoments:
    groups, n = sums[:-1], cells[:-1].astype(np.float64)[:, None]
    mean = np.divide(groups[..., SUM] / LOG_GRID, n, out=np.zeros(groups.shape[:2]), where=n > 0)
    missing = np.where(present, 0.0, np.nan)
    return LotMoments(
        moments=Moments(
            cells=n[:, 0],
            mean=mean + missing,
            m2=_centred(groups, cells[:-1]) + missing,
            sum_expm1=groups[..., SCALED] / SCALED_GRID + missing,
            nonzero=groups[..., NONZERO].astype(np.float64) + missing,
        ),
        high_cells=np.where(present, sums[..., HIGH], -1),
    )


def _centred(groups: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return n sum q^2 - (sum q)^2, over n and the grid squared: in whole numbers of any size, rounded once."""
    result = np.zeros(groups.shape[:2])
    for k in np.flatnonzero(cells):
        n = int(cells[k])
        for g in np.flatnonzero(groups[k, :, NONZERO]):
            row = [int(value) for value in groups[k, g]]
            squares = (row[HIGH_SQUARE] << 2 * HALF_BITS) + (row[MIXED] << HALF_BITS + 1) + row[LOW_SQUARE]
            result[k, g] = (n * squares - row[SUM] ** 2) / (n * LOG_GRID**2)
    return result
