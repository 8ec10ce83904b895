"""A small synthetic reference: 3 lots, 4 clusters, 200 genes."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.model import FitParameters

GENES = tuple(f"GENE{place}" for place in range(200))
IDS = tuple(f"ENSG{place:011d}" for place in range(200))
SMALL = FitParameters(n_variable_genes=80, n_marker_genes=15, n_dimensions=10)


@dataclass(frozen=True)
class Reference:
    counts: sp.csr_matrix
    labels: NDArray[np.str_]
    lots: NDArray[np.str_]


def simulated(seed: int, n_lots: int, cells_per_lot: int, n_clusters: int = 4) -> Reference:
    """Return Poisson counts: each cluster raises 20 genes of its own fourfold, each lot shifts all genes a little."""
    base = np.random.default_rng(0).gamma(0.7, 2.0, len(GENES)) + 0.2
    rng = np.random.default_rng(seed)
    profiles = np.tile(base, (n_clusters, 1))
    for cluster in range(n_clusters):
        profiles[cluster, 20 * cluster : 20 * (cluster + 1)] *= 4
    labels = rng.integers(0, n_clusters, n_lots * cells_per_lot)
    lots = np.repeat(np.arange(n_lots), cells_per_lot)
    shift = np.exp(rng.normal(0, 0.1, (n_lots, len(GENES))))
    depth = rng.lognormal(0, 0.3, len(labels))
    counts = rng.poisson(profiles[labels] * shift[lots] * depth[:, None])
    names = np.array([f"cluster {label}" for label in labels])
    return Reference(sp.csr_matrix(counts.astype(np.float32)), names, np.array([f"lot {lot}" for lot in lots]))


@pytest.fixture(scope="session")
def reference() -> Reference:
    return simulated(seed=1, n_lots=3, cells_per_lot=150)


@pytest.fixture(scope="session")
def atlas(reference: Reference) -> Atlas:
    return fit_atlas(
        reference.counts,
        reference.labels.tolist(),
        reference.lots.tolist(),
        gene_ids=IDS,
        gene_symbols=GENES,
        origin=Origin(name="synthetic"),
        seed=0,
        parameters=SMALL,
    )


@pytest.fixture(scope="session")
def new_lot() -> Reference:
    return simulated(seed=2, n_lots=1, cells_per_lot=120)
