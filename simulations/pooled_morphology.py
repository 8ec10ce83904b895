"""The oracle of morphology: every lot's file read by anndata, scored and mapped by plain arithmetic of its own.

Nothing of the sites' reader or kernel is used: scores by NumPy's median over the file's control wells, points and
logits by matrix products in float64, unassigned by the atlas's own numbers.
"""

from collections.abc import Sequence

import anndata
import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from shared.atlas.artefact import Atlas
from shared.errors import InternalError
from site_agent.cells.lots import Lot

_MAD_TO_SD = 1.4826
FloatArray = NDArray[np.float64]


def morphology_tables(lots: Sequence[Lot], atlas: Atlas) -> list[tuple[NDArray[np.int64], int]]:
    """Return for each lot its cells in each cluster ``(n_clusters,)`` and those unassigned."""
    return [_counted(_labels(lot, atlas), len(atlas.clusters)) for lot in lots]


def _labels(lot: Lot, atlas: Atlas) -> NDArray[np.int64]:
    control = atlas.card.control
    if control is None:
        raise InternalError("expected an atlas of morphology")
    cells = anndata.read_h5ad(lot.file)
    is_control = (cells.obs[control.column].astype(str) == control.value).to_numpy()
    chosen = ~is_control
    for each in lot.where:
        chosen &= (cells.obs[each.column].astype(str) == each.value).to_numpy()
    names = list(atlas.card.gene_symbols)
    values = np.asarray(cells[:, names].X if lot.layer is None else cells[:, names].layers[lot.layer], dtype=np.float64)
    controls = values[is_control]
    centre = np.median(controls, axis=0)
    spread = _MAD_TO_SD * np.median(np.abs(controls - centre), axis=0)
    caps = atlas.caps.astype(np.float64)
    scores = np.clip((values[chosen] - centre) / spread, -caps, caps)
    z = (scores - atlas.gene_means) @ atlas.weights.astype(np.float64)
    points = np.sqrt(z.shape[1]) * z / np.linalg.norm(z, axis=1, keepdims=True)
    logits = points @ atlas.coefficients.astype(np.float64) + atlas.intercepts
    best = logits.argmax(axis=1)
    novelty = atlas.card.novelty
    energy = -novelty.temperature * logsumexp(logits / novelty.temperature, axis=1)
    distance = (((points - atlas.class_means[best]) / atlas.class_spreads[best]) ** 2).mean(axis=1)
    novel = novelty.energy_weight * energy + novelty.distance_weight * distance > atlas.novelty_thresholds[best]
    heated = logits / atlas.card.temperature
    confidence = np.exp(heated.max(axis=1) - logsumexp(heated, axis=1))
    return np.where(novel & (confidence < novelty.confidence), -1, best)


def _counted(labels: NDArray[np.int64], n_clusters: int) -> tuple[NDArray[np.int64], int]:
    return np.bincount(labels[labels >= 0], minlength=n_clusters).astype(np.int64), int((labels < 0).sum())
