"""The methods that the mapper is compared with: scanpy's ingest, a logistic regression as CellTypist's, symphonypy.

All see the same reference cells. ``ingest`` is scanpy's method with the reference's mean for centring (neighbours
exact), ``logistic`` CellTypist's (scaled log counts, L2), both on 2,000 variable genes chosen by scanpy; ``symphony``
is the package itself (`benchmarks.symphony`).
"""

# ruff: noqa: PLC0415 - the methods load only what they need

import subprocess
import tempfile
from pathlib import Path

import anndata
import numpy as np
from numpy.typing import NDArray

from benchmarks.mapping_folds import SEED, Fold, Names
from benchmarks.symphony import MAPPING

_VARIABLE_GENES = 2_000
_COMPONENTS = 50
_NEIGHBOURS = 15


def _scanpy_features(fold: Fold) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return log-normalised values of 2,000 variable genes: reference and query."""
    import scanpy

    cells = anndata.AnnData(fold.cells.X.copy())
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    reference = cells[fold.reference].copy()
    scanpy.pp.highly_variable_genes(reference, n_top_genes=_VARIABLE_GENES)
    chosen = reference.var["highly_variable"].to_numpy()
    return reference.X[:, chosen].toarray(), cells.X[fold.query][:, chosen].toarray()


def ingest(fold: Fold) -> Names:
    """Return labels by scanpy ingest's method, centred on the reference: components and 15 neighbours."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    reference, query = _scanpy_features(fold)
    pca = PCA(_COMPONENTS, svd_solver="arpack", random_state=SEED).fit(reference)
    neighbours = KNeighborsClassifier(_NEIGHBOURS).fit(pca.transform(reference), fold.labels[fold.reference])
    return np.asarray(neighbours.predict(pca.transform(query)), dtype=str)


def logistic(fold: Fold) -> Names:
    """Return labels by CellTypist's method: logistic regression on scaled log counts."""
    import warnings

    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    reference, query = _scanpy_features(fold)
    scaler = StandardScaler().fit(reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops at its limit of iterations, as CellTypist's does
        model = LogisticRegression(C=1.0, max_iter=200).fit(
            np.minimum(scaler.transform(reference), 10), fold.labels[fold.reference]
        )
    return np.asarray(model.predict(np.minimum(scaler.transform(query), 10)), dtype=str)


def symphony(fold: Fold, python: Path) -> Names:
    """Return labels by symphonypy, which runs under an interpreter of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, rows in (("reference", fold.reference), ("query", fold.query)):
            part = anndata.AnnData(fold.cells.X[rows].astype(np.float32))
            part.var_names = fold.cells.var_names.astype(str)
            part.obs["lot"] = fold.lots[rows]
            if name == "reference":
                part.obs["label"] = fold.labels[rows]
            part.write_h5ad(place / f"{name}.h5ad")
        command = [str(python), "-c", MAPPING, *(str(place / name) for name in ("reference.h5ad", "query.h5ad"))]
        done = subprocess.run(  # noqa: S603 - our text
            [*command, str(place / "out.txt")], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"symphonypy on {fold.name}: {done.stderr}")
        return np.array((place / "out.txt").read_text(encoding="utf-8").splitlines())
