"""What the atlas says of the cells of one file, cell by cell."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from site_agent.cells.quality import CellQuality

if TYPE_CHECKING:
    import pandas as pd

UNASSIGNED_NAME: Final = "unassigned"


@dataclass(frozen=True, kw_only=True, eq=False)
class CellMapping:
    """What the atlas says of each cell. n cells, in the order of the file.

    Attributes
    ----------
    rows : ndarray of int64, ``(n,)``, or None
        Rows of the file; None where every cell was mapped.
    label : ndarray of int16, ``(n,)``
        Index into ``clusters``; -1 unassigned.
    best : ndarray of int16, ``(n,)``
        The best cluster even of an unassigned cell; -1 only without counts.
    confidence, energy : ndarray of float32, ``(n,)``
        Calibrated probability of the best cluster; novelty (higher is stranger).
    quality : CellQuality
        Counts, genes and mitochondrial counts of each cell.
    gene_coverage : float
        Share of the atlas's genes that the file has.
    latent : ndarray of float32, ``(m, d)``, or None
        Points in the atlas's space, of the cells for which they were asked for.
    latent_cells : ndarray of bool, ``(n,)``, or None
        Which m of the mapped cells those are; None where it is all of them, or none.
    """

    path: Path
    matrix_name: str
    atlas_name: str
    clusters: tuple[str, ...]
    n_cells_in_file: int
    rows: NDArray[np.int64] | None
    label: NDArray[np.int16]
    best: NDArray[np.int16]
    confidence: NDArray[np.float32]
    energy: NDArray[np.float32]
    quality: CellQuality
    gene_coverage: float
    latent: NDArray[np.float32] | None = None
    latent_cells: NDArray[np.bool_] | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells mapped."""
        return self.label.size

    def counts(self, keep: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], int]:
        """Return cells per cluster ``(n_clusters,)`` and cells unassigned, over all cells or the kept ``(n,)``."""
        label = self.label if keep is None else self.label[keep]
        # One comparison a cluster: bincount would first make 64-bit copies of all labels.
        counts = [np.count_nonzero(label == cluster) for cluster in range(len(self.clusters))]
        return np.array(counts, dtype=np.int64), int(np.count_nonzero(label < 0))

    def without_quality(self) -> "CellMapping":
        """Return the mapping with empty ``quality`` and no points: 20 bytes a cell that writing it does not need."""
        none = np.zeros(self.n_cells, dtype=np.bool_)
        return replace(self, quality=self.quality.only(none), latent=None, latent_cells=None)

    def to_frame(self) -> "pd.DataFrame":
        """Return obs columns, one row a mapped cell in the file's order: cluster, confidence, energy."""
        import pandas as pd  # noqa: PLC0415 - slow to import, and not needed to map

        names = (*self.clusters, UNASSIGNED_NAME)
        codes = np.where(self.label < 0, len(self.clusters), self.label)
        return pd.DataFrame(
            {
                "atlas_cluster": pd.Categorical.from_codes(codes.astype(np.int64), categories=pd.Index(names)),
                "atlas_confidence": self.confidence,
                "atlas_energy": self.energy,
            }
        )
