"""What an atlas gives away about its reference: membership inference, tried and measured.

    python -m benchmarks.atlas_membership [--data ../shared/data] [--data-sets heart,blood] [--repeats 3]

A cell: the attacker holds the atlas and a cell's counts and label, and asks whether the cell was in the reference. Half
of each lot's cells, drawn at random, make the atlas; the attack tells them from the other half. Four scores: the loss
of the label, the novelty, the distance to the mean of the label's cluster, and the share of the cell's variation that
the atlas's components explain. The last is tried on an atlas of 50 components as well: more than one keeps.

A lot: the attacker holds the atlas and all cells of a lot, and asks whether the lot was in the reference, by how far
the lot's clusters lie from the atlas's means. Every lot is scored by the atlas with it and by the atlas without it.

All lots are in one state (of blood, controls). AUROC .5 is chance. Advantage is the largest true minus false positive
rate: 0 is chance, 1 is certainty.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.special import logsumexp

from benchmarks.mapping_folds import folds_of, in_processes, options, require_data
from shared.atlas.features import library_sizes, log_normalised
from shared.atlas.model import FitParameters, Model, fit_model
from shared.atlas.proportions import shift

MANY_COMPONENTS = 50
SMALLEST_CLUSTER = 5


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
    known = np.isin(labels, [name for name in np.unique(labels) if (labels[member] == name).sum() >= SMALLEST_CLUSTER])
    counts, labels, lots, member = counts[known], labels[known], lots[known], member[known]
    n_clusters = int(labels.max()) + 1
    model, larger = (
        fit_model(counts[member], labels[member], lots[member], parameters, n_clusters=n_clusters, seed=seed)
        for parameters in (FitParameters(), FitParameters(n_dimensions=MANY_COMPONENTS))
    )
    points = model.projection.points(counts)
    logits, novelty = model.judge(counts)
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
    distance = np.linalg.norm((points - model.novelty.means[labels]) / model.novelty.spreads[labels], axis=1)
    scores = {
        "by the loss of its label": loss,
        "by its novelty": novelty,
        "by its distance to its cluster": distance,
        "by the share that the components explain": explained(model, counts),
        f"the last, had {MANY_COMPONENTS} components been kept": explained(larger, counts),
    }
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


def attack(task: tuple[str, int | None], *, data: Path) -> dict[str, tuple[float, float]]:
    """Return AUROC and advantage of the attacks on cells, drawn by a seed, or of the attack on lots (None)."""
    data_set, seed = task
    fold = folds_of(data_set, data)[-2]  # a lot left out, and the reference without it: all lots in one state
    keep = fold.reference | fold.query
    counts = fold.cells.X[keep]
    labels, lots = (np.unique(names[keep], return_inverse=True)[1] for names in (fold.labels, fold.lots))
    if seed is None:
        return {"all cells of a lot": lot_attack(counts, labels, lots)}
    return cell_attacks(counts, labels, lots, seed)


def table(found: Mapping[str, Sequence[Mapping[str, tuple[float, float]]]]) -> list[str]:
    """Return AUROC (advantage) of each attack, one column a data set, means over the repeats."""
    lines = [f"| AUROC (advantage) | {' | '.join(found)} |", f"|{'---|' * (1 + len(found))}"]
    names = dict.fromkeys(name for repeats in found.values() for each in repeats for name in each)
    for name in names:
        means = [np.mean([each[name] for each in repeats if name in each], axis=0) for repeats in found.values()]
        lines.append(f"| {name} | {' | '.join(f'{area:.2f} ({gain:.2f})' for area, gain in means)} |")
    return lines


def main() -> None:
    """Attack atlases of both data sets."""
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    wanted = require_data(arguments)
    tasks = [(data_set, seed) for data_set in wanted for seed in (*range(arguments.repeats), None)]
    found: dict[str, list[dict[str, tuple[float, float]]]] = {data_set: [] for data_set in wanted}
    attacks = in_processes(partial(attack, data=arguments.data), tasks, "attacks", arguments.processes)
    for (data_set, _seed), areas in zip(tasks, attacks, strict=True):
        found[data_set].append(areas)
    print(*table(found), sep="\n")


if __name__ == "__main__":
    main()
