"""What a mapping run leaves on the site's own disk: ``cells.parquet`` and ``summary.json``.

Rules:

1. Both are local: nothing here is meant to leave. They appear together and whole, or not at all.
2. What writing needs (the libraries, the cells' names) is made ready while cells are mapped, by ``keep_names``: on
   disk, in the folder that is to appear, so that memory does not grow with the names.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from protocol.cell_limits import CellLimits, PlainLimits
from shared.records import Record, Within
from shared.runtime.files import cannot_write
from site_agent.cells.allocation import give_back_memory
from site_agent.cells.diagnostics import LotDiagnostics
from site_agent.cells.lot_mapping import LotMapping
from site_agent.cells.mapping import UNASSIGNED_NAME, CellMapping

CELLS_FILE = "cells.parquet"
SUMMARY_FILE = "summary.json"

_NAMES_FILE = "names.arrows"
_CELLS_PER_GROUP = 2**14

_Share = Annotated[float, Within(ge=0, le=1)]


class ClusterShare(Record):
    """One cluster's cells, and its share of all cells after QC; null where no cell remains.

    ``low`` and ``high`` bound the share with the summary's confidence; null where the atlas could not calibrate them.
    ``em_share`` is the share of assigned cells by EM, and ``shift`` the distance from the atlas's cells.
    """

    cluster: str
    cells: int
    share: _Share | None
    low: _Share | None = None
    high: _Share | None = None
    em_share: _Share | None = None
    shift: Annotated[float, Within(ge=0)] | None = None


class RemovedSummary(Record):
    """Cells removed, by the first limit that each broke."""

    no_counts: int
    few_counts: int
    few_genes: int
    high_mitochondrial_share: int


class CellsSummary(Record):
    """Where the lot's cells went."""

    in_file: int
    of_lot: int
    after_qc: int
    removed: RemovedSummary


class QualitySummary(Record):
    """Medians over cells after QC, null where not known, and the share of the atlas's genes that the file has."""

    median_counts: float | None
    median_genes: float | None
    median_mitochondrial_share: float | None
    gene_coverage: _Share


class WarningSummary(Record):
    """One reason to doubt the lot's composition."""

    code: str
    sentence: str


class TrustSummary(Record):
    """How far the composition may be trusted (``site_agent.cells.diagnostics``); null where it cannot be said."""

    interval_confidence: float
    unassigned_expected: _Share | None
    unassigned_p_value: _Share | None
    em_gap: _Share | None
    cells_diagnosed: int
    warnings: tuple[WarningSummary, ...]


class MappingSummary(Record):
    """What ``summary.json`` holds."""

    RENAMED: ClassVar[Mapping[str, str]] = {"schema_id": "schema"}

    schema_id: Literal["crosslot.mapping-summary/1"] = "crosslot.mapping-summary/1"
    atlas: str
    atlas_sha256: str
    file: str
    matrix: str
    where: tuple[str, ...]
    cells: CellsSummary
    clusters: tuple[ClusterShare, ...]
    unassigned: ClusterShare
    quality: QualitySummary
    trust: TrustSummary
    limits: PlainLimits
    withheld: tuple[str, ...]


def summary_of(
    lot: LotMapping,
    found: LotDiagnostics,
    limits: CellLimits,
    *,
    atlas_sha256: str,
    where: tuple[str, ...] = (),
) -> MappingSummary:
    """Return the summary of one lot.

    Parameters
    ----------
    lot, found : LotMapping, LotDiagnostics
        The lot, and how far it may be trusted.
    limits : CellLimits
        That it was held to.
    atlas_sha256 : str
        Of the atlas's exact bytes.
    where : tuple of str
        The filters, as ``column=value``.
    """
    removed, quality = lot.removed, lot.medians

    def share(cells: int) -> float | None:
        return cells / lot.cells_after_qc if lot.cells_after_qc else None

    columns = (
        lot.counts.tolist(),
        _nullable(found.composition.low),
        _nullable(found.composition.high),
        _nullable(np.clip(found.em_shares, 0.0, 1.0)),
        _nullable(found.shifts),
    )
    return MappingSummary(
        atlas=lot.mapping.atlas_name,
        atlas_sha256=atlas_sha256,
        file=lot.mapping.path.name,
        matrix=lot.mapping.matrix_name,
        where=where,
        cells=CellsSummary(
            in_file=lot.mapping.n_cells_in_file,
            of_lot=lot.cells,
            after_qc=lot.cells_after_qc,
            removed=RemovedSummary(
                no_counts=removed.no_counts,
                few_counts=removed.few_counts,
                few_genes=removed.few_genes,
                high_mitochondrial_share=removed.high_mitochondrial_share,
            ),
        ),
        clusters=tuple(
            ClusterShare(cluster=name, cells=cells, share=share(cells), low=low, high=high, em_share=em, shift=shift)
            for name, cells, low, high, em, shift in zip(lot.clusters, *columns, strict=True)
        ),
        unassigned=ClusterShare(cluster=UNASSIGNED_NAME, cells=lot.unassigned, share=share(lot.unassigned)),
        quality=QualitySummary(
            median_counts=quality.counts,
            median_genes=quality.genes,
            median_mitochondrial_share=quality.mitochondrial_share,
            gene_coverage=lot.gene_coverage,
        ),
        trust=TrustSummary(
            interval_confidence=found.composition.confidence,
            unassigned_expected=found.excess.expected_share,
            unassigned_p_value=found.excess.p_value,
            em_gap=found.em_gap,
            cells_diagnosed=found.cells,
            warnings=tuple(WarningSummary(code=each.code.value, sentence=each.sentence) for each in found.warnings),
        ),
        limits=PlainLimits(
            minimum_cells_per_lot=limits.minimum_cells_per_lot,
            minimum_counts_per_cell=limits.minimum_counts_per_cell,
            minimum_genes_per_cell=limits.minimum_genes_per_cell,
            maximum_mitochondrial_share=limits.maximum_mitochondrial_share,
            minimum_gene_coverage=limits.minimum_gene_coverage,
        ),
        withheld=tuple(reason.value for reason in lot.withheld(limits)),
    )


def _nullable(values: NDArray[np.float64]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


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
        (folder / SUMMARY_FILE).write_bytes(load_json()(summary.to_fields(), indent=2) + b"\n")


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
