"""Cells to clusters of an atlas: a file of any size in one pass, in constant memory.

Rules:

1. A cell maps the same alone or with others, whatever the file's encoding, the cut into blocks and the number of
   threads, bit for bit: blocks share nothing but the atlas, and results are placed by row.
2. Reading and mapping of a block happen in one worker thread, outside the interpreter's lock. At most two blocks a
   thread are under way, so memory does not grow with the file; what grows is 32 bytes a cell of results, and
   where the file's rows and chunks lie.
3. Values that are no counts stop the run with an error that names the cell and says where counts are.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.genes import GeneMatch, match_genes
from shared.atlas.kernel import KernelTables, MappedBlock, Validity, map_block, prepare
from shared.errors import InputError
from site_agent.cells.bounds import VALUES_PER_BLOCK
from site_agent.cells.cell_mapping import CellMapping
from site_agent.cells.cell_source import CellSource
from site_agent.cells.matrices import Span
from site_agent.cells.morphology import control_cells, is_morphology, map_morphology
from site_agent.cells.quality import CellQuality
from site_agent.cells.reading import open_cells
from site_agent.cells.sources_memory import open_anndata_object
from site_agent.cells.stored_mapping import stored_rows

Progress = Callable[[int, int], None]
"""Called with the cells done and the cells in all."""

_MAXIMUM_THREADS = 8
_FAULTS = {
    Validity.NOT_FINITE: "NaN or an infinite value",
    Validity.NEGATIVE: "a negative value",
    Validity.NOT_INTEGER: "a value that is not whole",
    Validity.TOO_LARGE: "a value too large for a count",
    Validity.INDEX_OUT_OF_RANGE: "a gene outside the matrix",
}


def genes_of(source: CellSource, atlas: Atlas) -> GeneMatch:
    """Return which gene of a file is which gene of an atlas.

    Raises
    ------
    SpeciesError, NoGenesInCommonError
        As ``match_genes``, with the file's name.
    """
    try:
        return match_genes(atlas, source.genes.identifiers, source.genes.symbols)
    except InputError as error:
        raise type(error)(f"{source.path}: {error}", hint=error.hint) from None


def map_cells(
    cells: Any,  # noqa: ANN401 - a path, or an AnnData, which is not imported here
    atlas: Atlas,
    *,
    layer: str | None = None,
    where: Sequence[tuple[str, str]] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CellMapping:
    """Map the cells of a file, or of an AnnData in memory, onto an atlas.

    Parameters
    ----------
    cells : path or AnnData
        An AnnData gets ``obs['atlas_cluster']``, ``obs['atlas_confidence']``, ``obs['atlas_energy']`` and
        ``obsm['X_atlas']``, as scanpy's functions write into theirs; with ``where``, other cells get missing values.
    atlas : Atlas
        The reference.
    layer : str, optional
        Where the counts are; X where not given.
    where : sequence of (str, str), optional
        obs columns and the values that a cell must have in all of them.
    threads : int, optional
        Worker threads; as many as there are cores, at most 8, where not given.
    progress : callable, optional
        Called as the run goes.

    Returns
    -------
    CellMapping

    Raises
    ------
    InputError
        As ``open_cells``; no counts; no gene in common with the atlas.
    """
    if not hasattr(cells, "obs_names"):
        with open_cells(Path(cells), layer) as source:
            return map_source(source, atlas, where=where, threads=threads, progress=progress)
    with open_anndata_object(cells, layer) as source:
        mapping = map_source(source, atlas, where=where, threads=threads, progress=progress, with_latent=True)
    _annotate_object(cells, mapping)
    return mapping


def map_source(
    source: CellSource,
    atlas: Atlas,
    *,
    where: Sequence[tuple[str, str]] | None = None,
    rows: NDArray[np.bool_] | None = None,
    threads: int | None = None,
    values_per_block: int | None = None,
    with_latent: bool = False,
    latent_rows: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
) -> CellMapping:
    """Map the cells of an open source; ``rows`` ``(n_cells,)`` narrows them besides ``where``.

    Points in the atlas's space are kept of all cells (``with_latent``) or of ``latent_rows`` ``(n_cells,)``.

    Raises
    ------
    InputError
        As ``map_cells``.
    """
    chosen = source.rows_where(where or ())
    if rows is not None:
        chosen = rows if chosen is None else chosen & rows
    if is_morphology(atlas):
        per_block = values_per_block or VALUES_PER_BLOCK
        return _by_morphology(source, atlas, chosen, latent_rows, per_block, with_latent=with_latent)
    genes = genes_of(source, atlas)
    mitochondrial = source.genes.mitochondrial()
    tables = prepare(atlas, genes, mitochondrial)
    source.require_counts()
    n = source.n_cells if chosen is None else int(np.count_nonzero(chosen))
    latent_cells = latent_rows if latent_rows is None or chosen is None else latent_rows[chosen]
    with_latent = with_latent or latent_cells is not None
    n_points = n if latent_cells is None else int(np.count_nonzero(latent_cells))
    out = _Results(n, (n_points, tables.n_dimensions if with_latent else 0))
    run = _Run(source, tables, chosen, with_latent=with_latent)
    per_block = values_per_block or run.values_per_span or VALUES_PER_BLOCK
    done = 0
    for mapped in _in_order(run, source.spans(per_block, chosen), thread_count(threads)):
        out.place(mapped, done, latent_cells)
        done += mapped.label.size
        if progress is not None:
            progress(done, n)
    return CellMapping(
        path=source.path,
        matrix_name=source.matrix_name,
        atlas_name=atlas.name,
        clusters=atlas.clusters,
        n_cells_in_file=source.n_cells,
        rows=None if chosen is None else np.flatnonzero(chosen),
        label=out.label,
        best=out.best,
        confidence=out.confidence,
        energy=out.energy,
        quality=CellQuality(
            total_counts=out.total_counts,
            n_genes=out.n_genes,
            mitochondrial_counts=None if mitochondrial is None else out.mitochondrial_counts,
        ),
        gene_coverage=genes.coverage,
        latent=out.latent if with_latent else None,
        latent_cells=latent_cells,
    )


def _by_morphology(
    source: CellSource,
    atlas: Atlas,
    chosen: NDArray[np.bool_] | None,
    latent_rows: NDArray[np.bool_] | None,
    values_per_block: int,
    *,
    with_latent: bool,
) -> CellMapping:
    cells = ~control_cells(source, atlas)
    rows = cells if chosen is None else cells & chosen
    found = map_morphology(source, atlas, rows, values_per_block)
    latent_cells = None if latent_rows is None else latent_rows[rows]
    points = found.cells.latent if latent_cells is None else found.cells.latent[latent_cells]
    return CellMapping(
        path=source.path,
        matrix_name=source.matrix_name,
        atlas_name=atlas.name,
        clusters=atlas.clusters,
        n_cells_in_file=source.n_cells,
        rows=np.flatnonzero(rows),
        label=found.cells.label.astype(np.int16),
        best=found.cells.best.astype(np.int16),
        confidence=found.cells.confidence,
        energy=found.cells.energy,
        quality=found.quality,
        gene_coverage=found.coverage,
        latent=points if with_latent or latent_cells is not None else None,
        latent_cells=latent_cells,
    )


def thread_count(threads: int | None) -> int:
    """Return how many worker threads to use.

    Raises
    ------
    InputError
        Fewer than one was asked for.
    """
    if threads is None:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(available, _MAXIMUM_THREADS)
    if threads < 1:
        raise InputError(f"threads: expected at least 1, found {threads}", hint="leave it out to use every core")
    return threads


class _Results:
    """The arrays that grow with the number of cells."""

    def __init__(self, n: int, latent_shape: tuple[int, int]) -> None:
        self.label, self.best = (np.empty(n, dtype=np.int16) for _ in range(2))
        self.confidence, self.energy = (np.empty(n, dtype=np.float32) for _ in range(2))
        self.total_counts, self.mitochondrial_counts = (np.empty(n, dtype=np.float64) for _ in range(2))
        self.n_genes = np.empty(n, dtype=np.int32)
        self.latent = np.empty(latent_shape, dtype=np.float32)
        self._n_points = 0

    def place(self, mapped: MappedBlock, start: int, latent_cells: NDArray[np.bool_] | None) -> None:
        to = slice(start, start + mapped.label.size)
        self.label[to], self.best[to] = mapped.label, mapped.best
        self.confidence[to], self.energy[to] = mapped.confidence, mapped.energy
        self.total_counts[to], self.mitochondrial_counts[to] = mapped.total_counts, mapped.mito_counts
        self.n_genes[to] = mapped.n_genes
        if mapped.latent is not None:
            points = mapped.latent if latent_cells is None else mapped.latent[latent_cells[to]]
            self.latent[self._n_points : self._n_points + len(points)] = points
            self._n_points += len(points)


class _Run:
    """Reads and maps one block; called from worker threads."""

    def __init__(
        self, source: CellSource, tables: KernelTables, rows: NDArray[np.bool_] | None, *, with_latent: bool
    ) -> None:
        self._source, self._tables, self._rows, self._with_latent = source, tables, rows, with_latent
        self._stored = stored_rows(source.matrix)

    @property
    def values_per_span(self) -> int | None:
        """Stored values of a span that suits how the matrix is read; None where any does."""
        return None if self._stored is None else self._stored.values_per_span

    def __call__(self, span: Span) -> MappedBlock:
        if self._stored is not None:
            mapped = self._stored.map(self._tables, span, self._rows, with_latent=self._with_latent)
        else:
            block = self._source.read(span, self._rows)
            mapped = map_block(self._tables, block.indptr, block.indices, block.data, with_latent=self._with_latent)
        if mapped.validity is not Validity.VALID:
            raise self._source.no_counts(f"{_FAULTS[mapped.validity]} in {self._name(span, mapped.first_bad_row)}")
        return mapped

    def _name(self, span: Span, row: int) -> str:
        if self._rows is not None:
            row = int(np.flatnonzero(self._rows[span[0] :])[row])
        number = span[0] + row
        return f"cell {self._source.cell_names(number, number + 1)[0]!r} (row {number})"


def _in_order(run: _Run, spans: Any, threads: int) -> Any:  # noqa: ANN401 - iterators of spans and of mapped blocks
    """Yield mapped blocks in the order of the spans, with at most two under way for each thread."""
    if threads == 1:
        yield from map(run, spans)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="crosslot-map") as pool:
        under_way: deque[Future[MappedBlock]] = deque()
        try:
            for span in spans:
                under_way.append(pool.submit(run, span))
                if len(under_way) >= 2 * threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def _annotate_object(adata: Any, mapping: CellMapping) -> None:  # noqa: ANN401 - anndata is not imported here
    frame = mapping.to_frame()
    latent = mapping.latent
    if mapping.rows is None:
        frame.index = adata.obs_names
    else:
        frame.index = adata.obs_names[mapping.rows]
        frame = frame.reindex(adata.obs_names)
        if latent is not None:
            spread = np.full((adata.n_obs, latent.shape[1]), np.nan, dtype=np.float32)
            spread[mapping.rows] = latent
            latent = spread
    for name in frame.columns:
        adata.obs[name] = frame[name]
    if latent is not None:
        adata.obsm["X_atlas"] = latent
