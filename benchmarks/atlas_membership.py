"""What an atlas gives away about its reference: membership inference, tried and measured.

    python benchmarks/atlas_membership.py [--data ../shared/data] [--repeats 3]

A cell: the attacker holds the atlas and a cell's counts and label, and asks whether the cell was in the reference. Half
of each lot's cells, drawn at random, make the atlas; the attack tells them from the other half. Four scores: the loss
of the label, the novelty, the distance to the mean of the label's cluster, and the share of the cell's variation that
the atlas's components explain.

A lot: the attacker holds the atlas and all cells of a lot, and asks whether the lot was in the reference, by how far
the lot's clusters lie from the atlas's means. Every lot is scored by the atlas with it and by the atlas without it.

AUROC .5 is chance. Advantage is the largest true minus false positive rate: 0 is chance, 1 is certainty.
"""

import argparse
import sys
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp
from scipy.special import logsumexp

from shared.atlas.features import library_sizes, log_normalised
from shared.atlas.model import FitParameters, Model, fit_model
from shared.atlas.proportions import shift

ROOT = Path(__file__).resolve().parents[1]


def advantage(member: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Return the AUROC and the advantage of a score, whichever of its directions speaks for members."""
    from sklearn.metrics import roc_auc_score, roc_curve  # noqa: PLC0415 - a second to load

    false, true, _ = roc_curve(member, score)
    area = float(roc_auc_score(member, score))
    return max(area, 1 - area), float(np.abs(true - false).max())


def cell_attacks(
    counts: sp.csr_matrix, labels: np.ndarray, lots: np.ndarray, seed: int
) -> dict[str, tuple[float, float]]:
    """Return AUROC and advantage of each attack on cells."""
    rng = np.random.default_rng(seed)
    member = np.zeros(len(labels), dtype=np.bool_)
    for lot in np.unique(lots):
        rows = rng.permutation(np.flatnonzero(lots == lot))
        member[rows[: len(rows) // 2]] = True
    known = np.isin(labels, [name for name in np.unique(labels) if (labels[member] == name).sum() >= 5])
    counts, labels, lots, member = counts[known], labels[known], lots[known], member[known]
    n_clusters = int(labels.max()) + 1
    model = fit_model(counts[member], labels[member], lots[member], FitParameters(), n_clusters=n_clusters, seed=seed)
    points = model.projection.points(counts)
    logits, novelty = model.judge(counts)
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
    distance = np.linalg.norm((points - model.novelty.means[labels]) / model.novelty.spreads[labels], axis=1)
    scores = {"loss": loss, "novelty": novelty, "distance": distance, "explained": explained(model, counts)}
    return {name: advantage(member, score) for name, score in scores.items()}


def explained(model: Model, counts: sp.csr_matrix) -> np.ndarray:
    """Return the share of each cell's scaled variation that the atlas's components take up: they fit members best."""
    projection = model.projection
    values = log_normalised(counts, library_sizes(counts), projection.target_sum)[:, projection.genes].toarray()
    centred = np.minimum(values, projection.caps) - projection.means
    deviations = (projection.caps - projection.means) / 10
    return np.asarray(
        np.linalg.norm(centred @ projection.weights, axis=1) / np.linalg.norm(centred / deviations, axis=1)
    )


def lot_attack(counts: sp.csr_matrix, labels: np.ndarray, lots: np.ndarray) -> tuple[float, float]:
    """Return AUROC and advantage of the attack on lots."""
    n_clusters = int(labels.max()) + 1

    def fitted(rows: np.ndarray) -> Model:
        return fit_model(counts[rows], labels[rows], lots[rows], FitParameters(), n_clusters=n_clusters, seed=0)

    def closeness(model: Model, rows: np.ndarray) -> float:
        points, own = model.projection.points(counts[rows]), labels[rows]
        cells = np.bincount(own, minlength=n_clusters)
        sums = np.array([points[own == cluster].sum(axis=0) for cluster in range(n_clusters)])
        found = shift(cells, sums, model.novelty.means, model.novelty.spreads)
        return -float(np.nansum(found * cells) / cells.sum())

    everything = fitted(np.ones(len(lots), dtype=np.bool_))
    inside = [closeness(everything, lots == lot) for lot in np.unique(lots)]
    outside = [closeness(fitted(lots != lot), lots == lot) for lot in np.unique(lots)]
    return advantage(np.repeat([True, False], len(inside)), np.array(inside + outside))


def main() -> None:
    """Attack atlases of both data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        sys.exit(f"{arguments.data}: expected the folder of real data; give it with --data")
    for file in ("heart_scf.h5ad", "kang_ifnb.h5ad"):
        cells = anndata.read_h5ad(arguments.data / file)
        keep = (cells.obs["condition"] != "stim").to_numpy()
        counts = sp.csr_matrix(cells.X)[keep]
        labels = np.unique(cells.obs["cell_type"].astype(str)[keep], return_inverse=True)[1]
        lots = np.unique(cells.obs["sample"].astype(str)[keep], return_inverse=True)[1]
        found = [cell_attacks(counts, labels, lots, seed) for seed in range(arguments.repeats)]
        for name in found[0]:
            area, gain = np.mean([attack[name] for attack in found], axis=0)
            print(f"{file:16s} cell, by {name:9s} AUROC {area:.3f}  advantage {gain:.3f}")
        area, gain = lot_attack(counts, labels, lots)
        print(f"{file:16s} lot, by its shift  AUROC {area:.3f}  advantage {gain:.3f}", flush=True)


if __name__ == "__main__":
    main()
