"""A small study for the tests of reading and mapping: three kinds of cells, three lots, one atlas."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.model import FitParameters

N_CELLS, N_GENES = 360, 120


@dataclass(frozen=True, kw_only=True, eq=False)
class SmallStudy:
    """Counts with known kinds, and an atlas of them."""

    counts: sp.csr_matrix
    kinds: NDArray[Any]
    lots: NDArray[Any]
    atlas: Atlas

    def adata(self) -> ad.AnnData:
        """Return the cells as AnnData, with kind and lot in obs."""
        obs = pd.DataFrame(
            {"kind": pd.Categorical(self.kinds), "lot": pd.Categorical(self.lots)},
            index=[f"cell{i}" for i in range(N_CELLS)],
        )
        return ad.AnnData(self.counts.copy(), obs=obs, var=pd.DataFrame(index=gene_symbols()))

    def write(self, path: Path) -> Path:
        """Write them as an h5ad, and return its path."""
        self.adata().write_h5ad(path, compression="gzip")
        return path


def gene_symbols() -> list[str]:
    return [*(f"GENE{i}" for i in range(N_GENES - 5)), *(f"MT-{i}" for i in range(5))]


@pytest.fixture(scope="session")
def small_study() -> SmallStudy:
    rng = np.random.default_rng(20)
    kinds = np.array(["alpha", "beta", "gamma"])[rng.integers(0, 3, N_CELLS)]
    lots = np.array([f"L{i % 3}" for i in range(N_CELLS)])
    rates = rng.gamma(0.8, 2.0, (3, N_GENES))
    means = rates[np.searchsorted(["alpha", "beta", "gamma"], kinds)] * rng.uniform(0.5, 2.0, (N_CELLS, 1))
    counts = sp.csr_matrix(rng.poisson(means).astype(np.float32))
    atlas = fit_atlas(
        counts,
        kinds.tolist(),
        lots.tolist(),
        gene_ids=None,
        gene_symbols=gene_symbols(),
        origin=Origin(name="small"),
        seed=1,
        parameters=FitParameters(n_dimensions=8),
    )
    return SmallStudy(counts=counts, kinds=kinds, lots=lots, atlas=atlas)
