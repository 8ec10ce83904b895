"""How well the mapper transfers to lots it has not seen, beside the methods that the field uses.

    python -m benchmarks.mapping_accuracy [--data ../shared/data] [--folds heart,kang] [--symphonypy] [--skip-novelty]

Folds (real data, see the folder's README): heart, one sample left out at a time and donor 2 -> 3; blood, one donor's
control left out at a time and control -> stimulated. Every method sees the same reference cells and maps the same lots.

accuracy   share of a fold's cells that get the owner's label (before any is left unassigned)
TV         total variation of a lot's shares: half the summed absolute errors, mean over the fold's lots
coverage   share of (lot, cluster) pairs whose true share lies in the atlas's 90% interval
AUROC      novelty: a class is left out of the reference, its cells in the lot against all others

The others: ``ingest`` is scanpy's method with the reference's mean for centring (neighbours exact), ``logistic`` is
CellTypist's (scaled log counts, L2), both on 2,000 variable genes chosen by scanpy; ``symphonypy`` is the package
itself, in an environment of its own (``.venv-bench``), made when asked for.
"""

# ruff: noqa: PLC0415 - the methods load only what they need

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp

from benchmarks.symphony import MAPPING, symphony_python
from shared.atlas.artefact import Atlas
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.genes import match_genes
from shared.atlas.kernel import MappedBlock, map_block, prepare
from shared.atlas.model import FitParameters, fit_model
from shared.atlas.proportions import composition, excess_novel

ROOT = Path(__file__).resolve().parents[1]
SEED = 1
MISSING_SHARES = (0.05, 0.1, 0.2, 0.4)
SMALLEST_NEW_CLASS = 10


@dataclass(frozen=True)
class Fold:
    """Reference cells and cells to map, of one data set."""

    name: str
    cells: Any
    labels: np.ndarray
    lots: np.ndarray
    reference: np.ndarray
    query: np.ndarray


Prediction = np.ndarray  # (n_query,) names of clusters


def folds(data: Path, wanted: set[str]) -> Iterator[Fold]:
    """Yield the folds of the module's docstring."""
    for name, file in (("heart", "heart_scf.h5ad"), ("kang", "kang_ifnb.h5ad")):
        if name not in wanted:
            continue
        cells = anndata.read_h5ad(data / file)
        cells.X = sp.csr_matrix(cells.X)
        obs = {column: cells.obs[column].astype(str).to_numpy() for column in cells.obs.columns}
        labels, lots = obs["cell_type"], obs["sample"]
        if name == "heart":
            for lot in np.unique(lots):
                yield Fold(f"heart {lot}", cells, labels, lots, lots != lot, lots == lot)
            yield Fold("heart 2->3", cells, labels, lots, obs["donor"] == "2", obs["donor"] == "3")
        else:
            control = obs["condition"] == "ctrl"
            for donor in np.unique(obs["donor"]):
                out = obs["donor"] == donor
                yield Fold(f"kang {donor}", cells, labels, lots, control & ~out, control & out)
            yield Fold("kang ctrl->stim", cells, labels, lots, control, ~control)


def build(fold: Fold, reference: np.ndarray) -> Atlas:
    """Return the atlas of the reference cells."""
    return fit_atlas(
        fold.cells.X[reference],
        fold.labels[reference].tolist(),
        fold.lots[reference].tolist(),
        gene_ids=None,
        gene_symbols=fold.cells.var_names.astype(str).tolist(),
        origin=Origin(name="benchmark"),
        seed=SEED,
    )


def map_with(atlas: Atlas, fold: Fold, genes: np.ndarray | None = None) -> MappedBlock:
    """Map the fold's query cells, with all genes of the file or only some."""
    counts, symbols = fold.cells.X[fold.query], fold.cells.var_names.astype(str).to_numpy()
    if genes is not None:
        counts, symbols = counts[:, genes], symbols[genes]
    tables = prepare(atlas, match_genes(atlas, None, symbols.tolist()))
    return map_block(tables, counts.indptr.astype(np.int64), counts.indices, counts.data)


def score(fold: Fold, predicted: Prediction) -> tuple[float, float]:
    """Return accuracy and the mean over lots of the total variation of shares."""
    true, lots = fold.labels[fold.query], fold.lots[fold.query]
    names = np.union1d(true, predicted)
    variations = []
    for lot in np.unique(lots):
        here = lots == lot
        p, q = (np.array([(part[here] == name).mean() for name in names]) for part in (true, predicted))
        variations.append(0.5 * np.abs(p - q).sum())
    return float((true == predicted).mean()), float(np.mean(variations))


def coverage(fold: Fold, atlas: Atlas, mapped: MappedBlock) -> tuple[int, int]:
    """Return how many true shares lie in their 90% interval, and of how many."""
    true, lots = fold.labels[fold.query], fold.lots[fold.query]
    inside = total = 0
    for lot in np.unique(lots):
        here = lots == lot
        counts = np.bincount(mapped.label[here][mapped.label[here] >= 0], minlength=len(atlas.clusters))
        found = composition(atlas, counts.astype(np.int64), int((mapped.label[here] < 0).sum()))
        share = np.array([(true[here] == name).mean() for name in atlas.clusters])
        known = np.isfinite(found.low)
        inside += int(((found.low <= share) & (share <= found.high))[known].sum())
        total += int(known.sum())
    return inside, total


def _scanpy_features(fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """Return log-normalised values of 2,000 variable genes: reference and query."""
    import scanpy

    cells = anndata.AnnData(fold.cells.X.copy())
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    reference = cells[fold.reference].copy()
    scanpy.pp.highly_variable_genes(reference, n_top_genes=2_000)
    chosen = reference.var["highly_variable"].to_numpy()
    return reference.X[:, chosen].toarray(), cells.X[fold.query][:, chosen].toarray()


def ingest(fold: Fold) -> Prediction:
    """Return labels by scanpy ingest's method, centred on the reference: components and 15 neighbours."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    reference, query = _scanpy_features(fold)
    pca = PCA(50, svd_solver="arpack", random_state=SEED).fit(reference)
    neighbours = KNeighborsClassifier(15).fit(pca.transform(reference), fold.labels[fold.reference])
    return np.asarray(neighbours.predict(pca.transform(query)), dtype=str)


def logistic(fold: Fold) -> Prediction:
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


def symphony(python: Path) -> Callable[[Fold], Prediction]:
    """Return the method that maps with symphonypy in its own environment."""

    def run(fold: Fold) -> Prediction:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for name, rows in (("reference", fold.reference), ("query", fold.query)):
                part = anndata.AnnData(fold.cells.X[rows].astype(np.float32))
                part.var_names = fold.cells.var_names.astype(str)
                part.obs["label"], part.obs["lot"] = fold.labels[rows], fold.lots[rows]
                if name == "query":
                    del part.obs["label"]
                part.write_h5ad(place / f"{name}.h5ad")
            command = [str(python), "-c", MAPPING, *(str(place / name) for name in ("reference.h5ad", "query.h5ad"))]
            subprocess.run([*command, str(place / "out.txt")], check=True, capture_output=True)  # noqa: S603
            return np.array((place / "out.txt").read_text().splitlines())

    return run


def novelty(fold: Fold) -> dict[str, float]:
    """Return, for each class of at least 10 query cells, the AUROC of the energy when the class is left out."""
    from sklearn.metrics import roc_auc_score

    found = {}
    for name in np.unique(fold.labels[fold.query]):
        new = fold.labels[fold.query] == name
        if new.sum() >= SMALLEST_NEW_CLASS and not new.all():
            reference = fold.reference & (fold.labels != name)
            names, codes = np.unique(fold.labels[reference], return_inverse=True)
            lots = np.unique(fold.lots[reference], return_inverse=True)[1]
            model = fit_model(fold.cells.X[reference], codes, lots, FitParameters(), n_clusters=len(names), seed=SEED)
            found[str(name)] = float(roc_auc_score(new, model.judge(fold.cells.X[fold.query])[1]))
    return found


@dataclass
class Tally:
    """What the folds add up to."""

    scores: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    missing: dict[float, list[tuple[float, float]]] = field(default_factory=dict)
    novelties: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    covered: Counter[bool] = field(default_factory=Counter)
    intervals: Counter[bool] = field(default_factory=Counter)
    unassigned: list[float] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def add_atlas(self, fold: Fold, rng: np.random.Generator) -> Prediction:
        """Build the fold's atlas, take down all that only an atlas can say, and return its labels."""
        atlas = build(fold, fold.reference)
        mapped = map_with(atlas, fold)
        covered, intervals = coverage(fold, atlas, mapped)
        shifted = "->" in fold.name  # another donor or state altogether: what intervals do not promise to cover
        self.covered[shifted] += covered
        self.intervals[shifted] += intervals
        self.unassigned.append(float((mapped.label < 0).mean()))
        novel = int((mapped.energy > atlas.novelty_thresholds[mapped.best]).sum())
        p_value = excess_novel(atlas, novel, len(mapped.label)).p_value
        self.alarms.append(f"{fold.name} {'none' if p_value is None else f'{p_value:.3f}'}")
        known = np.isin(fold.cells.var_names.astype(str), atlas.gene_symbols)
        for share in MISSING_SHARES:
            genes = np.flatnonzero(~(known & (rng.random(len(known)) < share)))
            fewer = np.array(atlas.clusters)[map_with(atlas, fold, genes).best]
            self.missing.setdefault(share, []).append(score(fold, fewer))
        return np.array(atlas.clusters)[mapped.best]

    def add_novelty(self, fold: Fold) -> None:
        """Leave each class out in turn."""
        for name, area in novelty(fold).items():
            self.novelties.setdefault((fold.name.split()[0], name), []).append(area)

    def show(self) -> None:
        """Print the summary."""
        print(f"\n{'method':16s} {'accuracy':>9s} {'TV':>9s} {'worst acc':>9s} {'worst TV':>9s}")
        for method, found in self.scores.items():
            print(_row(method, found))
        for share, found in self.missing.items():
            print(_row(f"-{share:.0%} of genes", found))
        for shifted, what in ((False, "one lot left out"), (True, "->")):
            print(f"90% intervals, {what}: cover {self.covered[shifted]} of {self.intervals[shifted]}")
        print(f"unassigned in mapped lots: mean {np.mean(self.unassigned):.4f}, most {max(self.unassigned):.4f}")
        print("excess of novel cells, p by fold: " + "; ".join(self.alarms))
        if self.novelties:
            means = {key: float(np.mean(areas)) for key, areas in self.novelties.items()}
            print(f"\nnovelty, mean AUROC over {len(means)} classes left out: {np.mean(list(means.values())):.3f}")
            print(
                "; ".join(
                    f"{data} {name} {area:.2f}" for (data, name), area in sorted(means.items(), key=lambda m: m[1])
                )
            )


def _row(method: str, scores: list[tuple[float, float]]) -> str:
    accuracies, variations = zip(*scores, strict=True)
    return (
        f"{method:16s} {np.mean(accuracies):9.4f} {np.mean(variations):9.4f} "
        f"{min(accuracies):9.4f} {max(variations):9.4f}"
    )


def main() -> None:
    """Run and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--folds", default="heart,kang")
    parser.add_argument("--symphonypy", action="store_true")
    parser.add_argument("--skip-novelty", action="store_true")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        sys.exit(f"{arguments.data}: expected the folder of real data; give it with --data")
    tally, rng = Tally(), np.random.default_rng(SEED)
    methods: dict[str, Callable[[Fold], Prediction]] = {
        "crosslot": lambda fold: tally.add_atlas(fold, rng),
        "ingest, mended": ingest,
        "logistic": logistic,
    }
    python = symphony_python() if arguments.symphonypy else None
    if python is not None:
        methods["symphonypy"] = symphony(python)
    elif arguments.symphonypy:
        print("symphonypy could not be installed: left out")
    print(f"{'fold':16s} {'method':16s} {'accuracy':>8s} {'TV':>8s} {'seconds':>8s}")
    for fold in folds(arguments.data, set(arguments.folds.split(","))):
        for method, run in methods.items():
            start = time.perf_counter()
            accuracy, variation = score(fold, run(fold))
            seconds = time.perf_counter() - start
            tally.scores.setdefault(method, []).append((accuracy, variation))
            print(f"{fold.name:16s} {method:16s} {accuracy:8.4f} {variation:8.4f} {seconds:8.1f}", flush=True)
        if not arguments.skip_novelty and "->" not in fold.name:
            tally.add_novelty(fold)
    tally.show()


if __name__ == "__main__":
    main()
