"""A folder of two small made-up data sets, laid out as the real ones."""

from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from benchmarks.mapping_folds import FILES, Fold, folds_of
from tests.shared.atlas.conftest import GENES, simulated

CELLS_PER_LOT = 100


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices this small take longer with two threads of linear algebra than with one."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heart: 4 samples of 2 donors; blood: 4 donors in 2 states; 4 classes of which all lots have some."""
    folder = tmp_path_factory.mktemp("data")
    designs = {
        "heart": [("2", f"2{name}", "none") for name in "ABC"] + [("3", "3A", "none")],
        "blood": [(donor, f"{donor}_{state}", state) for state in ("ctrl", "stim") for donor in "abcd"],
    }
    for seed, (data_set, lots) in enumerate(designs.items()):
        made = simulated(seed=seed, n_lots=len(lots), cells_per_lot=CELLS_PER_LOT)
        rows = [lot for lot in lots for _ in range(CELLS_PER_LOT)]
        obs = pd.DataFrame(rows, columns=["donor", "sample", "condition"]).assign(cell_type=made.labels)
        obs.index = pd.Index([f"cell{place}" for place in range(len(obs))])
        cells = anndata.AnnData(made.counts, obs=obs, var=pd.DataFrame(index=pd.Index(GENES)))
        cells.write_h5ad(folder / FILES[data_set])
    return folder


@pytest.fixture(scope="session")
def fold(made_data: Path) -> Fold:
    """The first sample of the made-up heart, left out."""
    return folds_of("heart", made_data)[0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
